//! The binary as a shell sees it, without a server.

use std::path::Path;

use assert_cmd::Command;

fn setkeeper(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setkeeper"));
    command.env_clear().env("HOME", data).env("SETKEEPER_DATA_DIR", data);
    command
}

fn failed(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("runs");
    (output.status.code().expect("no signal"), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn without_a_server_every_client_command_says_how_to_start_one() {
    let data = tempfile::tempdir().expect("a directory");
    let manifest = data.path().join("web.yaml");
    std::fs::write(&manifest, "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n").expect("a file");
    let manifest = manifest.to_str().expect("text");
    for arguments in [
        &["get", "sts"][..],
        &["get", "pod", "web-0", "-o", "json"],
        &["describe", "sts", "web"],
        &["apply", "-f", manifest],
        &["delete", "-f", manifest],
        &["scale", "sts/web", "--replicas=1"],
        &["logs", "web-0"],
        &["rollout", "status", "sts/web"],
        &["rollout", "history", "sts/web"],
        &["rollout", "undo", "sts/web"],
        &["rollout", "pause", "sts/web"],
        &["rollout", "resume", "sts/web"],
        &["rollout", "restart", "sts/web"],
        &["backup", "/nonexistent/backup"],
        &["version"],
        &["down"],
    ] {
        let (code, text) = failed(setkeeper(data.path()).args(arguments));
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(text.contains("setkeeper up") && text.contains("not running"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_named_server_that_does_not_answer_is_named() {
    let data = tempfile::tempdir().expect("a directory");
    let (code, text) = failed(setkeeper(data.path()).args(["--server", "127.0.0.1:1", "get", "pods"]));
    assert_eq!(code, 1);
    assert!(text.contains("127.0.0.1:1"), "{text}");
    let (code, text) = failed(setkeeper(data.path()).args(["--server", "nonsense", "get", "pods"]));
    assert_eq!(code, 2);
    assert!(text.contains("host:port"), "{text}");
}

#[test]
fn what_is_not_understood_is_explained() {
    let data = tempfile::tempdir().expect("a directory");
    for (arguments, code, part) in [
        (&["get"][..], 2, "KIND"),
        (&["gett", "pods"], 2, "get"),
        (&["get", "deployments"], 1, "statefulsets (sts)"),
        (&["scale", "pod/web-0", "--replicas=1"], 1, "only sets can"),
        (&["scale", "sts/web", "--replicas=-1"], 2, "--replicas"),
        (&["delete", "pods"], 1, "--all"),
        (&["logs", "svc/web"], 1, "services have no log"),
        (&["apply", "-f", "/nonexistent.yaml"], 1, "/nonexistent.yaml"),
        (&["up", "-f", "/nonexistent.yaml"], 1, "/nonexistent.yaml"),
        (&["rollout", "status", "sts/web", "--timeout=soon"], 2, "90s"),
        (&["rollout", "restart", "pod/web-0"], 1, "pods have no rollouts; only sets have"),
        (&["rollout", "undo", "sts"], 1, "name one object"),
        (&["rollout", "history", "sts/web", "--revision=-1"], 2, "--revision"),
        (&["up", "--profile=best"], 2, "kubernetes"),
        (&["get", "statefullset"], 1, "did you mean statefulset?"),
        (&["get", "pods", "-l", "app in (web"], 1, "--selector"),
        (&["delete", "pods", "-l", "=x"], 1, "--selector"),
        (&["check"], 1, "there is no state store"),
        (&["restore", "/nonexistent.backup"], 1, "No such file"),
        (&["restore", "/etc/passwd"], 1, "is damaged and nothing of it is used"),
    ] {
        let (actual, text) = failed(setkeeper(data.path()).args(arguments));
        assert_eq!(actual, code, "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn manifests_are_looked_at_before_anybody_is_asked() {
    let data = tempfile::tempdir().expect("a directory");
    let path = |name: &str| data.path().join(name).to_str().expect("text").to_owned();
    std::fs::write(path("empty.yaml"), "---\n# nothing\n").expect("a file");
    std::fs::write(path("a.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: db}\n")
        .expect("a file");
    std::fs::write(path("broken.yaml"), "a: [b\n").expect("a file");
    std::fs::create_dir(path("all")).expect("a directory");
    std::fs::copy(path("a.yaml"), path("all/a.yaml")).expect("a copy");
    std::fs::copy(path("broken.yaml"), path("all/b.yaml")).expect("a copy");
    for (arguments, part) in [
        (["apply", "-f", &path("empty.yaml"), "-n", "web"], "empty.yaml holds no object"),
        (["apply", "-f", &path("a.yaml"), "-n", "web"], "--namespace=db"),
        (["delete", "-f", &path("a.yaml"), "-n", "web"], "--namespace=db"),
        (["delete", "-f", &path("all"), "-n", "db"], "all/b.yaml:1: "),
    ] {
        let (code, text) = failed(setkeeper(data.path()).args(arguments));
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(text.contains(part) && !text.contains("not running"), "{arguments:?}: {text}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    let data = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let output = setkeeper(data.path()).args(["completion", shell]).output().expect("runs");
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(script.contains("rollout") && !script.is_empty(), "{shell}");
    }
}

#[test]
fn the_demo_workload_counts_its_starts_and_ends_on_sigterm() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::process::Stdio;
    let data = tempfile::tempdir().expect("a directory");
    for starts in 1..=2 {
        // A port that was free a moment ago: the workload has to be told one.
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_setkeeper"))
            .arg("demo-workload")
            .env_clear()
            .envs([("POD_NAME", "web-1"), ("POD_IP", "127.0.0.1"), ("REVISION", "web-a")])
            .env("PORT", port.to_string())
            .env("DATA_DIR", data.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, format!("web-1 listens on 127.0.0.1:{port}, start {starts}\n"));
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("listens");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.rsplit("\r\n\r\n").next().expect("a body");
        let expected = format!("{{\"ordinal\":1,\"pod\":\"web-1\",\"revision\":\"web-a\",\"starts\":{starts}}}\n");
        assert_eq!(body, expected);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("own child");
        assert!(child.wait().expect("ends").success());
        line.clear();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, "web-1 stops\n");
    }
}
