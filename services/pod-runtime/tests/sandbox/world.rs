//! A state directory with a backend on it, and short words for what the cases do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::Uid;
use pod_runtime::backend::{
    BackendError, ContainerInstance, ContainerSpec, ContainerState, ExecOutcome, Exit, Mount, MountSource, PodBackend,
    SandboxSpec, SandboxState,
};
use pod_runtime::sandbox::{Options, Sandboxes, Tier};

/// Anything that takes longer than this on a loaded machine will not happen any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How often a level is looked at that nothing tells of.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct World {
    pub(crate) base: PathBuf,
    pub(crate) tier: Tier,
    pub(crate) backend: Arc<Sandboxes>,
}

pub(crate) fn options(state: &Path, tier: Tier) -> Options {
    Options {
        state_dir: state.to_owned(),
        helper: std::env::current_exe().expect("own path"),
        tier,
        network: "10.77.0.0/16".parse().expect("a network"),
        masked: vec![state.with_file_name("token")],
    }
}

impl World {
    pub(crate) async fn open(base: PathBuf, tier: Tier) -> Result<Self, BackendError> {
        std::fs::create_dir_all(&base).expect("a directory");
        let backend = pod_runtime::sandbox::open(options(&base.join("state"), tier)).await?;
        Ok(Self { base, tier, backend })
    }

    pub(crate) fn namespaced(&self) -> bool {
        self.tier == Tier::Namespaced
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.base.join("state")
    }

    /// A directory outside the state directory, for volumes.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        let path = self.base.join(name);
        std::fs::create_dir_all(&path).expect("a volume");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("permissions");
        path
    }

    pub(crate) async fn sandbox(&self, name: &str) -> SandboxState {
        self.backend.ensure_sandbox(sandbox_spec(name, name)).await.expect("a sandbox")
    }

    pub(crate) fn container(&self, pod: &str, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: "main".into(),
            instance: 0,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into()), ("COLOUR".into(), "blue".into())],
            working_dir: None,
            mounts: Vec::new(),
            user: None,
            group: None,
            supplemental_groups: Vec::new(),
            read_only_root: false,
            log_path: self.log(pod),
            memory_limit_bytes: None,
            cpu_limit_millis: None,
        }
    }

    pub(crate) fn log(&self, pod: &str) -> PathBuf {
        self.base.join("logs").join(pod).join("main.log")
    }

    pub(crate) async fn start(&self, pod: &str, spec: ContainerSpec) -> ContainerInstance {
        self.backend.start_container(&uid(pod), spec).await.expect("a container")
    }

    /// A sandbox with one container that runs a shell script.
    pub(crate) async fn run(&self, pod: &str, script: &str) -> ContainerInstance {
        self.sandbox(pod).await;
        self.start(pod, self.container(pod, &["sh", "-c", script])).await
    }

    pub(crate) async fn state(&self, pod: &str) -> SandboxState {
        self.backend.state(&uid(pod)).await.expect("a state")
    }

    /// Waits for the end of the pod's container.
    pub(crate) async fn exit(&self, pod: &str) -> Exit {
        until("an exit", async || match self.state(pod).await.containers.pop() {
            Some(ContainerInstance { state: ContainerState::Exited(exit), .. }) => Some(exit),
            _ => None,
        })
        .await
    }

    pub(crate) async fn exec(&self, pod: &str, script: &str) -> (i32, String) {
        let command = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        match self.backend.exec(&uid(pod), "main", command, PATIENCE).await.expect("a command") {
            ExecOutcome::Exited { exit_code, output } => (exit_code, output.trim_end().to_owned()),
            ExecOutcome::TimedOut => panic!("timed out: {script}"),
        }
    }

    /// Waits until the log holds a line.
    pub(crate) async fn logged(&self, pod: &str, text: &str) {
        until(text, async || {
            let log = std::fs::read_to_string(self.log(pod)).unwrap_or_default();
            log.lines().any(|line| line.ends_with(text)).then_some(())
        })
        .await;
    }

    /// Removes every pod; nothing of this world may be left running.
    pub(crate) async fn close(self) {
        for sandbox in self.backend.list().await.expect("a list") {
            self.backend.remove(&sandbox.spec.uid).await.expect("a removal");
        }
        self.backend.close().await.expect("the end of the node");
        let mark = self.base.to_str().expect("text").to_owned();
        drop(self.backend);
        until("no process left", async || {
            let left = processes(|line| line.contains(&mark) && !line.contains("suite"));
            left.is_empty().then_some(())
        })
        .await;
    }
}

pub(crate) fn uid(name: &str) -> Uid {
    Uid(name.to_owned())
}

pub(crate) fn sandbox_spec(name: &str, uid: &str) -> SandboxSpec {
    SandboxSpec { namespace: "default".into(), name: name.into(), uid: Uid(uid.into()), hostname: name.into() }
}

pub(crate) fn volume(target: &str, source: &Path, read_only: bool) -> Mount {
    Mount { target: target.into(), source: MountSource::Path(source.to_owned()), read_only }
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Living processes whose command line is as wanted.
pub(crate) fn processes(wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            !line.is_empty() && wanted(&line)
        })
        .collect()
}
