//! What this process has used so far.

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Processor time of all threads, of the user and of the system.
pub(crate) fn processor() -> anyhow::Result<Duration> {
    used_by(UsageWho::RUSAGE_SELF)
}

/// Processor time of this thread, of the user and of the system.
pub(crate) fn of_thread() -> anyhow::Result<Duration> {
    used_by(UsageWho::RUSAGE_THREAD)
}

fn used_by(who: UsageWho) -> anyhow::Result<Duration> {
    let usage = getrusage(who).context("the kernel tells no usage")?;
    let time = |value: TimeVal| {
        let micros = value.tv_sec().saturating_mul(1_000_000).saturating_add(value.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
