//! Processes as the kernel knows them. What really runs is counted here, not read from records.

use std::fs;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// When it began, in clock ticks since boot: with the pid, an identity.
    pub started: u64,
    /// Its arguments.
    pub command: Vec<String>,
}

/// Processes whose environment has every one of `variables`, as `NAME=value`. Zombies have no environment.
#[must_use]
pub fn in_pod(variables: &[&str]) -> Vec<Process> {
    let mut found: Vec<_> = pids().filter_map(|pid| look(pid, variables)).collect();
    found.sort();
    found
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn look(pid: u32, variables: &[&str]) -> Option<Process> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let has = |variable: &&str| environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
    if !variables.iter().all(has) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything; field 22 counts from behind it.
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = command.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    Some(Process { pid, started, command: command.map(|part| String::from_utf8_lossy(part).into_owned()).collect() })
}
