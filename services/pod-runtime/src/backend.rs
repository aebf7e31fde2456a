//! The seam between what a pod should be and what makes it real on a machine.
//!
//! [`PodBackend`] is small and honest: its answers come from the world (locks, records, processes), never from memory,
//! so that a restarted runtime finds every pod again. The kubelet-like half of this crate decides *when* to call it;
//! a backend decides *how*. Tiers: namespaced processes, plain processes; later containers through CRI.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use domain::{Timestamp, Uid};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// What a tier can do, found out by trying the whole chain once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// `namespaced` or `process`.
    pub tier: &'static str,
    /// Why this is not the namespaced tier; empty where it is.
    pub tier_reason: String,
    /// What does not work here, in words for a person.
    pub degraded: Vec<String>,
    /// Whether mounts at arbitrary paths work.
    pub mounts: bool,
    /// Address of the name server that pods reach on port 53; none where there is no such port.
    pub nameserver: Option<IpAddr>,
    /// Address of this machine as pods see it.
    pub host_ip: IpAddr,
    /// User ids that a container may run as; none means any.
    pub only_uid: Option<u32>,
}

/// What a pod's sandbox needs: its own network, hostname and lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
    /// Kernel hostname.
    pub hostname: String,
}

/// A directory, file or tmpfs that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path inside.
    pub target: PathBuf,
    /// What is there.
    pub source: MountSource,
    /// Whether it must not be written.
    pub read_only: bool,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or file of the machine, which exists.
    Path(PathBuf),
    /// Memory, at most so many bytes; none means the kernel's default.
    Memory {
        /// Bound in bytes.
        size_bytes: Option<u64>,
    },
}

/// One run of one container. A restart is a new instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Container name.
    pub name: String,
    /// 0 for the first run, then one more for each restart.
    pub instance: u32,
    /// Program and arguments, expanded; never empty. Looked up in `PATH` of `env`.
    pub command: Vec<String>,
    /// Whole environment, in order, each name once.
    pub env: Vec<(String, String)>,
    /// Working directory inside; none means `/`.
    pub working_dir: Option<PathBuf>,
    /// Mounts, parents before children. Includes `/etc/hosts` and `/etc/resolv.conf`.
    pub mounts: Vec<Mount>,
    /// User id; none means the tier's own.
    pub user: Option<u32>,
    /// Group id; none means the tier's own.
    pub group: Option<u32>,
    /// Further group ids.
    pub supplemental_groups: Vec<u32>,
    /// Whether the root file system must not be written (mounts still may).
    pub read_only_root: bool,
    /// File that the container's stdout and stderr go to, one line each as `<RFC 3339> <stdout|stderr> F <text>`.
    pub log_path: PathBuf,
    /// Memory limit in bytes, where the machine allows one.
    pub memory_limit_bytes: Option<u64>,
    /// CPU limit in thousandths of a core, where the machine allows one.
    pub cpu_limit_millis: Option<u64>,
}

/// How a container instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// It runs.
    Running {
        /// Process id on the machine of the container's first process.
        pid: u32,
        /// Since when.
        started_at: Timestamp,
    },
    /// It has ended; the record is durable.
    Exited(Exit),
}

/// How a container instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n for signal n.
    pub exit_code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// In words; empty where there is nothing to say.
    pub message: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// The last instance of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInstance {
    /// Container name.
    pub name: String,
    /// Which run.
    pub instance: u32,
    /// How it is.
    pub state: ContainerState,
}

/// A sandbox as found in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxState {
    /// What was asked for.
    pub spec: SandboxSpec,
    /// Address of the pod.
    pub ip: IpAddr,
    /// Whether the shim holds the pod's lock. False with instances that were running means they were lost: their
    /// exits say `ContainerStatusUnknown`.
    pub alive: bool,
    /// Last instance of each container that was ever started.
    pub containers: Vec<ContainerInstance>,
    /// Process ids on the machine, shim first.
    pub pids: Vec<u32>,
}

/// What a command inside a container gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutcome {
    /// It ended.
    Exited {
        /// 0 to 255; 128 + n for signal n.
        exit_code: i32,
        /// The first 10 KiB of stdout and stderr together.
        output: String,
    },
    /// It took longer than allowed and was killed.
    TimedOut,
}

/// Why a backend could not do it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No sandbox of that uid.
    #[error("no sandbox of pod {uid}")]
    NoSandbox {
        /// Which.
        uid: Uid,
    },
    /// No such container in the sandbox, or it does not run.
    #[error("container {container:?} of pod {uid} does not run")]
    NotRunning {
        /// Which pod.
        uid: Uid,
        /// Which container.
        container: String,
    },
    /// Another incarnation of the same pod still has live processes or mounts.
    #[error("pod {name} still runs as {uid}")]
    PredecessorAlive {
        /// Pod name.
        name: String,
        /// The incarnation that lives.
        uid: Uid,
    },
    /// The command cannot be run; final for this spec. `reason` as in container statuses.
    #[error("{reason}: {message}")]
    CannotRun {
        /// `RunContainerError`, `CreateContainerError`, `CreateContainerConfigError`.
        reason: &'static str,
        /// In words.
        message: String,
    },
    /// The machine refused; try again later.
    #[error("{operation}")]
    Machine {
        /// What was tried, with names.
        operation: String,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

/// Makes pods real. Every call may be repeated; all state is found in the world.
///
/// # Cancel safety
/// A dropped call either has had no effect or goes on to completion on its own.
pub trait PodBackend: Send + Sync + 'static {
    /// What this tier can do.
    fn capabilities(&self) -> Capabilities;

    /// Every sandbox of which anything is left, running or not.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SandboxState>, BackendError>>;

    /// One sandbox.
    fn state<'a>(&'a self, uid: &'a Uid) -> BoxFuture<'a, Result<SandboxState, BackendError>>;

    /// Brings up the sandbox: its shim, lock, network and address. A sandbox that is alive is left as it is; a dead
    /// one of the same uid is made anew. Fails with `PredecessorAlive` while another uid of the same namespace and
    /// name is not proven dead.
    fn ensure_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<SandboxState, BackendError>>;

    /// Starts a container instance. The instance that already runs or ran is left as it is.
    fn start_container<'a>(
        &'a self,
        uid: &'a Uid,
        spec: ContainerSpec,
    ) -> BoxFuture<'a, Result<ContainerInstance, BackendError>>;

    /// Sends a signal to the container's first process only.
    fn signal<'a>(&'a self, uid: &'a Uid, container: &'a str, signal: i32) -> BoxFuture<'a, Result<(), BackendError>>;

    /// SIGKILL to every process of the container; returns when all are dead and the exit is recorded.
    fn kill<'a>(&'a self, uid: &'a Uid, container: &'a str) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Runs a command inside a running container, with its environment, user and mounts.
    fn exec<'a>(
        &'a self,
        uid: &'a Uid,
        container: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<ExecOutcome, BackendError>>;

    /// Connects to an address as the machine's pods see it, for probes.
    fn connect(
        &self,
        address: SocketAddr,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<tokio::net::TcpStream, BackendError>>;

    /// Ends a sandbox: every process dead (proven), mounts and address released, then its records removed.
    fn remove<'a>(&'a self, uid: &'a Uid) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Returns when any sandbox may have changed since the last call: a container exited, a shim died.
    fn changed(&self) -> BoxFuture<'_, ()>;
}
