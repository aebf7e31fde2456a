//! What is true of a pod, by its directory, its lock and the machine's processes.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::clock;
use super::process::{self, ProcessId};
use super::record::{PodDir, SandboxRecord, StartedRecord};
use crate::backend::{ContainerInstance, ContainerState, Exit, SandboxState};

/// How long a killed process may take to be gone; longer means that it hangs in the kernel.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// How a sandbox is. A dead one is first proven dead: leftovers are killed and waited for, and what was lost with the
/// shim is recorded as lost. None if nothing is left of it.
pub(crate) fn examine(pod: &PodDir) -> io::Result<Option<SandboxState>> {
    let record = match pod.sandbox() {
        Ok(record) => record,
        // Not written yet, or removed: no process of it has ever run, or none does any more.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let alive = !bury(pod, &record)?;
    state(pod, record, alive).map(Some)
}

/// True if the pod is dead and everything about its end is recorded; false if its shim lives.
fn bury(pod: &PodDir, record: &SandboxRecord) -> io::Result<bool> {
    let lock = match File::options().append(true).open(pod.lock()) {
        Ok(lock) => lock,
        // No shim has ever run.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    // Held while this is written, so that no new shim starts what would be taken for a leftover.
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(false),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let boot = process::boot_id();
    let mut leftovers = Vec::new();
    let mut lost = Vec::new();
    for name in pod.container_names()? {
        let Some((instance, started)) = pod.last(&name)? else { continue };
        if started.boot_id == boot {
            leftovers.extend(started.init);
            leftovers.extend(started.main.filter(|_| !record.isolation.processes));
        }
        if pod.exit(&name, instance)?.is_none() {
            lost.push((name, instance, started));
        }
    }
    if !record.isolation.processes && !lost.is_empty() {
        leftovers.extend(process::marked(pod.path()));
    }
    for leftover in leftovers {
        end(&leftover)?;
    }
    for (name, instance, started) in lost {
        pod.write_exit(&name, instance, &lost_exit(&started))?;
    }
    Ok(true)
}

fn end(leftover: &ProcessId) -> io::Result<()> {
    leftover.kill()?;
    if leftover.wait(DEATH_PATIENCE)? {
        return Ok(());
    }
    let message = format!("process {} of a lost pod does not die", leftover.pid);
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
}

fn lost_exit(started: &StartedRecord) -> Exit {
    Exit {
        exit_code: 137,
        signal: None,
        reason: "ContainerStatusUnknown".into(),
        message: "the container's supervisor ended without recording how the container did".into(),
        started_at: started.started_at,
        finished_at: clock::now(),
    }
}

fn state(pod: &PodDir, record: SandboxRecord, alive: bool) -> io::Result<SandboxState> {
    let mut pids = Vec::new();
    if alive {
        pids.extend(pod.shim()?.map(|shim| shim.pid));
    }
    let mut containers: Vec<ContainerInstance> = Vec::new();
    for name in pod.container_names()? {
        let Some((instance, started)) = pod.last(&name)? else { continue };
        let Some(container) = pod.instance(&name, instance)? else { continue };
        if alive && matches!(container.state, ContainerState::Running { .. }) {
            pids.extend(started.init.into_iter().chain(started.main).map(|process| process.pid));
        }
        containers.push(container);
    }
    Ok(SandboxState { spec: record.spec, ip: IpAddr::V4(record.ip), alive, containers, pids })
}

/// Ends a shim that does not end by itself, and all of its pod with it.
pub(crate) fn force_end(pod: &PodDir) -> io::Result<()> {
    match pod.shim()? {
        Some(shim) if pod.is_locked()? => end(&shim),
        _ => Ok(()),
    }
}

/// Waits for the end of a shim that has said that it ends.
pub(crate) fn wait_for_end(pod: &PodDir) -> io::Result<()> {
    let Some(shim) = pod.shim()? else { return Ok(()) };
    if shim.wait(DEATH_PATIENCE)? { Ok(()) } else { force_end(pod) }
}
