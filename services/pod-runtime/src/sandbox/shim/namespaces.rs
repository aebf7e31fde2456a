//! What a shim makes of itself before it serves: signals as programs expect them, and the pod's namespaces.

use std::fs::{self, File};
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use tokio::signal::unix::SignalKind;

use crate::sandbox::record::SandboxRecord;
use crate::sandbox::{identity, network};

/// Lets programs begin with every signal at its default, also where the runtime was started by a shell that ignores
/// some for what it puts in the background. What is ignored stays so across execution; what is caught does not, so
/// each is caught. All are blocked from here on: nothing ever runs by it.
pub(super) fn stop_ignoring_signals() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default();
    let wanted = Signal::iterator().filter(|signal| {
        let bit = 1 << (*signal as u32 - 1);
        // The standard library ignores this one for us and restores it in whatever it spawns.
        ignored & bit != 0 && *signal != Signal::SIGPIPE
    });
    let wanted: Vec<Signal> = wanted.collect();
    if wanted.is_empty() {
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for signal in wanted {
            tokio::signal::unix::signal(SignalKind::from_raw(signal as i32)).map(drop)?;
        }
        Ok(())
    })
}

/// Moves into the pod's own namespaces; gives what is needed to find the node's again.
pub(super) fn enter_sandbox(record: &SandboxRecord) -> io::Result<Vec<File>> {
    let mut node = Vec::new();
    if record.isolation.network {
        node.push(File::open("/proc/self/ns/net")?);
        if record.isolation.one_uid {
            node.push(File::open("/proc/self/ns/user")?);
        }
        network::run(network::set_up_pod(record))?;
        nix::unistd::sethostname(&record.spec.hostname)?;
        return Ok(node);
    }
    if record.isolation.own_user_namespace {
        identity::enter_user_namespace(CloneFlags::CLONE_NEWUTS, 0, 0)?;
    } else if record.isolation.mounts {
        unshare(CloneFlags::CLONE_NEWUTS)?;
    }
    if record.isolation.mounts {
        nix::unistd::sethostname(&record.spec.hostname)?;
    }
    Ok(node)
}
