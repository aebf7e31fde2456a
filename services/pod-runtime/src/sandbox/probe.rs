//! What this machine allows, found out by doing the whole chain once in throwaway processes.
//!
//! Nothing less tells: a user namespace may be made and its id map then refused, root may lack a capability or have its
//! calls filtered, `/proc` may be too masked to be mounted again.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use domain::Uid;
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::record::{Isolation, SandboxRecord, VERSION};
use super::wire::InitSpec;
use super::{identity, network, root};
use crate::backend::{ContainerSpec, SandboxSpec};

/// How long the chain may take; it takes some 30 ms on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Text kept of what a failed probe said.
const REASON_MAX: usize = 500;

/// What to try.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// In a user namespace.
    pub(crate) user_namespace: bool,
    /// An empty directory for a container's root.
    pub(crate) root: PathBuf,
    /// Address of the bridge.
    pub(crate) gateway: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub(crate) prefix_length: u8,
}

/// Tries one stage; the reason in words where it fails.
pub(crate) async fn attempt(helper: &Path, stage: &str, trial: &Trial) -> Result<(), String> {
    let argument = serde_json::to_string(trial).map_err(|error| error.to_string())?;
    let output = tokio::process::Command::new(helper)
        .arg(stage)
        .arg(argument)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, output)
        .await
        .map_err(|_| format!("{stage} took longer than {} s", TIMEOUT.as_secs()))?
        .map_err(|error| format!("{}: {error}", helper.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(REASON_MAX).collect();
    Err(if said.is_empty() { format!("{stage}: {}", output.status) } else { said })
}

/// `probe-node`: namespaces, bridge, a pod's link, and then a container's tree among its own processes.
pub(crate) fn node(trial: &str) -> io::Result<()> {
    let trial: Trial = serde_json::from_str(trial)?;
    if trial.user_namespace {
        identity::enter_user_namespace(CloneFlags::CLONE_NEWNET, 0, 0)?;
    } else {
        unshare(CloneFlags::CLONE_NEWNET)?;
    }
    network::run(network::set_up_node(trial.gateway, trial.prefix_length))?;
    network::run(network::set_up_pod(&record(&trial)))?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let argument = serde_json::to_string(&Trial { user_namespace: false, ..trial })?;
    let status = Command::new("/proc/self/exe").arg("probe-tree").arg(argument).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// `probe-tree`: a container's tree with a `/proc` of its own processes.
pub(crate) fn tree(trial: &str) -> io::Result<()> {
    build(trial, true)
}

/// `probe-mounts`: a container's tree among the machine's processes.
pub(crate) fn mounts(trial: &str) -> io::Result<()> {
    build(trial, false)
}

fn build(trial: &str, processes: bool) -> io::Result<()> {
    let trial: Trial = serde_json::from_str(trial)?;
    if trial.user_namespace {
        identity::enter_user_namespace(CloneFlags::CLONE_NEWUTS, 0, 0)?;
    }
    let isolation =
        Isolation { network: processes, processes, mounts: true, own_user_namespace: false, one_uid: false };
    let container = ContainerSpec {
        name: "probe".into(),
        instance: 0,
        command: vec!["probe".into()],
        env: Vec::new(),
        working_dir: None,
        mounts: Vec::new(),
        user: None,
        group: None,
        supplemental_groups: Vec::new(),
        read_only_root: true,
        log_path: PathBuf::from("/dev/null"),
        memory_limit_bytes: None,
        cpu_limit_millis: None,
    };
    let program = std::env::current_exe()?;
    root::enter(&InitSpec { container, isolation, root: trial.root, program, masked: Vec::new() })
}

fn record(trial: &Trial) -> SandboxRecord {
    let uid = Uid("probe".into());
    let [a, b, c, d] = trial.gateway.octets();
    SandboxRecord {
        version: VERSION,
        spec: SandboxSpec { namespace: "probe".into(), name: "probe".into(), uid, hostname: "probe".into() },
        ip: Ipv4Addr::new(a, b, c, d.wrapping_add(1)),
        prefix_length: trial.prefix_length,
        gateway: trial.gateway,
        isolation: Isolation {
            network: true,
            processes: true,
            mounts: true,
            own_user_namespace: false,
            one_uid: false,
        },
        program: PathBuf::new(),
        masked: Vec::new(),
    }
}
