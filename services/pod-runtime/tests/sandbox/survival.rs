//! What happens when runtime, anchor or shim are killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pod_runtime::backend::{BackendError, ContainerState, PodBackend};
use pod_runtime::sandbox::Tier;

use crate::world::{World, options, processes, sandbox_spec, uid, until, volume};

/// A runtime in a process of its own, with one pod; it waits to be killed.
pub(crate) fn agent(base: &Path, tier: Tier) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let world = World::open(base.to_owned(), tier).await.expect("a backend");
        world.sandbox("web-0").await;
        let go = world.volume("volume").join("go");
        let script = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 7", go.display());
        let mut spec = world.container("web-0", &["sh", "-c", &script]);
        if world.backend.capabilities().mounts {
            let path = world.volume("volume");
            spec.mounts.push(volume(path.to_str().expect("text"), &path, false));
        }
        world.start("web-0", spec).await;
        println!("ready");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// Starts an agent on a directory beside the world's own, and kills it once its pod runs.
fn killed_agent(world: &World) -> std::path::PathBuf {
    let base = world.base.join("agent");
    let tier = if world.namespaced() { "namespaced" } else { "process" };
    let mut child: Child = Command::new(std::env::current_exe().expect("own path"))
        .args(crate::words(&["agent", base.to_str().expect("text"), tier]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("an agent");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "ready");
    child.kill().expect("a kill");
    child.wait().expect("an end");
    base
}

pub(crate) async fn pods_outlive_the_runtime(world: &World) {
    let base = killed_agent(world);
    let next = World::open(base, world.tier).await.expect("a backend");
    let state = next.state("web-0").await;
    assert!(state.alive);
    let ContainerState::Running { pid, .. } = state.containers[0].state else { panic!("{state:?}") };
    assert!(Path::new(&format!("/proc/{pid}/cmdline")).exists());
    assert_eq!(next.exec("web-0", "echo still").await.1, "still");
    // What happens from now on is told.
    let told = async {
        while !matches!(next.state("web-0").await.containers[0].state, ContainerState::Exited(_)) {
            next.backend.changed().await;
        }
    };
    std::fs::write(next.volume("volume").join("go"), "").expect("a file");
    tokio::time::timeout(crate::world::PATIENCE, told).await.expect("told in time");
    assert_eq!(next.exit("web-0").await.exit_code, 7);
    next.close().await;
}

pub(crate) async fn an_exit_without_a_runtime_is_recorded(world: &World) {
    let base = killed_agent(world);
    std::fs::write(base.join("volume/go"), "").expect("a file");
    let record = base.join("state/pods/web-0/containers/main/0.exit.json");
    until("a record", async || record.exists().then_some(())).await;
    let next = World::open(base, world.tier).await.expect("a backend");
    let exit = next.exit("web-0").await;
    assert_eq!((exit.exit_code, exit.reason.as_str()), (7, "Error"));
    next.close().await;
}

pub(crate) async fn a_killed_shim_takes_its_pod_along(world: &World) {
    let number = format!("{}.77", 2000 + std::process::id());
    world.run("web-0", &format!("(setsid sleep {number} &); sleep {number}")).await;
    let sleepers = || processes(|line| line.trim_end() == format!("sleep {number}")).len();
    until("two sleepers", async || (sleepers() == 2).then_some(())).await;
    let before = world.state("web-0").await;
    kill_hard(before.pids[0]);
    let lost = until("the shim's death", async || Some(world.state("web-0").await).filter(|state| !state.alive)).await;
    let ContainerState::Exited(exit) = &lost.containers[0].state else { panic!("{lost:?}") };
    assert_eq!((exit.exit_code, exit.reason.as_str()), (137, "ContainerStatusUnknown"));
    assert_eq!(sleepers(), 0);
    // Said once, and the same from then on.
    assert_eq!(world.state("web-0").await.containers, lost.containers);
    let again = world.sandbox("web-0").await;
    assert!(again.alive && again.ip == before.ip);
    let mut spec = world.container("web-0", &["sh", "-c", "exit 0"]);
    spec.instance = 1;
    world.start("web-0", spec).await;
    until("a clean end", async || match &world.state("web-0").await.containers[0].state {
        ContainerState::Exited(exit) => (exit.exit_code == 0).then_some(()),
        ContainerState::Running { .. } => None,
    })
    .await;
    // A successor of another uid needs no removal of a predecessor that is proven dead.
    let shim = world.state("web-0").await.pids[0];
    kill_hard(shim);
    until("a successor", async || world.backend.ensure_sandbox(sandbox_spec("web-0", "next")).await.ok()).await;
}

pub(crate) async fn a_second_runtime_is_refused(world: &World) {
    let second = pod_runtime::sandbox::open(options(&world.state_dir(), world.tier)).await;
    assert!(matches!(second, Err(BackendError::Machine { .. })), "two runtimes on one directory");
}

pub(crate) async fn a_new_anchor_joins_the_node_of_living_pods(world: &World) {
    if !world.namespaced() {
        return;
    }
    let mut pods = Vec::new();
    for name in ["web-0", "web-1"] {
        pods.push(world.sandbox(name).await);
        listen(world, name, "0.0.0.0:80").await;
        let anchor =
            processes(|line| line.contains("node-anchor") && line.contains(world.state_dir().to_str().expect("text")));
        assert_eq!(anchor.len(), 1, "one anchor per state directory");
        kill_hard(anchor[0]);
        until("the anchor's death", async || {
            processes(|line| line.contains("node-anchor") && line.contains(world.state_dir().to_str().expect("text")))
                .is_empty()
                .then_some(())
        })
        .await;
    }
    for pod in &pods {
        let answer = crate::isolation::call(world, (pod.ip, 80).into()).await;
        assert!(answer.starts_with(&pod.spec.name), "{answer}");
    }
    // And between a pod of the first anchor and one of the second.
    let script = format!("exec 3<>/dev/tcp/{}/80; cat <&3", pods[1].ip);
    let command = vec!["bash".to_owned(), "-c".to_owned(), script];
    let outcome = world.backend.exec(&uid("web-0"), "main", command, crate::world::PATIENCE).await;
    assert!(format!("{outcome:?}").contains(&format!("web-1 {}", pods[0].ip)), "{outcome:?}");
}

pub(crate) async fn listen(world: &World, pod: &str, address: &str) {
    let program = std::env::current_exe().expect("own path");
    let path = program.to_str().expect("text").to_owned();
    let mut spec = world.container(pod, &["/fixture", "fixture", "listen", address]);
    if world.backend.capabilities().mounts {
        spec.mounts.push(volume("/fixture", &program, true));
    } else {
        spec.command[0] = path;
    }
    world.start(pod, spec).await;
    world.logged(pod, "stdout F listening").await;
}

fn kill_hard(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a process number")), Signal::SIGKILL).expect("a kill");
}
