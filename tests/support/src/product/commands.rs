//! Commands of the product, as a user types them.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{ADMIN, ORDINARY_UID, Product, User};
use crate::hosts::PEOPLE;
use crate::wait::until;

/// What a command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(128),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Product {
    /// Runs a command of the product to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "").await
    }

    /// Runs a command of the product to its end, with something to read.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the product's binary can be run");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that does not read its input is no failure.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.expect("its output can be read").into()
    }

    /// Runs a command of the product to its end, with a file as what it reads, and tells the most memory that it had
    /// resident, in KiB.
    ///
    /// # Panics
    /// When it cannot be started, or does not tell.
    pub async fn run_measured(&self, arguments: &[&str], input: &Path) -> (Output, u64) {
        let status = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.env("SETKEEPER_TEST_STATUS_FILE", status.path()).kill_on_drop(true);
        command.stdin(File::open(input).expect("its input can be read"));
        let output = Output::from(command.output().await.expect("the product's binary can be run"));
        let peak = peak_memory_kib(status.path()).unwrap_or_else(|| panic!("it did not tell: {output:?}"));
        (output, peak)
    }

    /// Starts a command of the product that goes on by itself, with its outputs to read. Dropping it ends it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn begin(&self, arguments: &[&str]) -> tokio::process::Child {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("the product's binary can be run")
    }

    /// Runs a command that must succeed, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
        output.stdout
    }

    /// Objects as JSON: `get KIND [NAME] -o json`, the items of a list or the one object. None where there is none.
    pub async fn get(&self, arguments: &[&str]) -> Option<Value> {
        let mut all = vec!["get"];
        all.extend(arguments);
        all.extend(["-o", "json"]);
        let output = self.run(&all).await;
        (output.code == 0).then(|| serde_json::from_str(&output.stdout).ok()).flatten()
    }

    /// Returns when pods `names` of the default namespace are all Ready.
    pub async fn ready(&self, names: &[&str]) {
        until(&format!("pods {names:?} are ready"), || async {
            for name in names {
                let pod = self.get(&["pod", name]).await.ok_or_else(|| format!("{name} does not exist"))?;
                if !is_ready(&pod) {
                    let log = self.log_tail();
                    return Err(format!("{name}: {}\nlog: {log}", pod.get("status").unwrap_or(&Value::Null)));
                }
            }
            Ok(())
        })
        .await;
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(self.data.path(), PEOPLE, arguments)
    }

    /// A command whose data directory is `data`, on the host of that name where there are several.
    pub(super) fn command_in(&self, data: &Path, host: &str, arguments: &[&str]) -> Command {
        let mut command = match &self.options.hosts {
            Some(hosts) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &hosts.namespace(host)]).arg(&self.options.binary);
                command
            }
            None => Command::new(&self.options.binary),
        };
        command.args(arguments).arg("--data-dir").arg(data).env("HOME", self.data.path());
        if self.places.of("coordinator").is_some() {
            let files = self.tls_files(ADMIN);
            command.env("SETKEEPER_SERVER", self.target(ADMIN, "coordinator"));
            command.env("SETKEEPER_TLS_CERT", files.certificate).env("SETKEEPER_TLS_KEY", files.key);
            command.env("SETKEEPER_TLS_CA", files.authority);
        }
        if self.options.user == User::Ordinary {
            command.uid(ORDINARY_UID).gid(ORDINARY_UID).current_dir(self.data.path());
        }
        command
    }
}

/// The most memory that a process has had resident, in KiB, by its status file of `/proc`.
pub(super) fn peak_memory_kib(status: &Path) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// Whether a pod's condition Ready is True and it is not on its way out.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    pod.pointer("/metadata/deletionTimestamp").is_none() && ready.any(|condition| condition["status"] == "True")
}
