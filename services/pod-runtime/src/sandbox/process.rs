//! Processes of this machine, told apart from later ones of the same number by their start time.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Variable that marks every process of a pod in the plain-process tier, where nothing else does. It holds the pod's
/// directory, which no other pod of the machine has, whatever other runtimes are there.
pub(crate) const POD_MARK: &str = "SETKEEPER_SANDBOX";

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Number on the machine.
    pub(crate) pid: u32,
    /// Clock ticks from boot to its start.
    pub(crate) start_ticks: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: stat(pid)?.start_ticks })
    }

    /// Whether it has not ended. A zombie has ended: the first process of a pid namespace becomes one only when every
    /// other process of that namespace is gone.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.ended)
    }

    /// Sends SIGKILL, to this process and to no later one of the same number.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let Some(descriptor) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(&descriptor, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended; false if it has not within `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let Some(descriptor) = self.open()? else { return Ok(true) };
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut set = [PollFd::new(std::os::fd::AsFd::as_fd(&descriptor), PollFlags::POLLIN)];
        loop {
            match nix::poll::poll(&mut set, timeout) {
                Ok(ready) => return Ok(ready > 0),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn open(&self) -> io::Result<Option<std::os::fd::OwnedFd>> {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid else { return Ok(None) };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The descriptor now pins the process; only after that does the comparison prove which one it is.
        Ok(self.is_alive().then_some(descriptor))
    }
}

struct Stat {
    ended: bool,
    parent: u32,
    start_ticks: u64,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat")))
}

/// The command name stands in parentheses and may itself hold spaces and parentheses, so fields count from the last.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { ended: matches!(state, "Z" | "X"), parent, start_ticks })
}

/// Identifies this run of the machine: process numbers of an earlier one mean nothing.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Children of a process that have not been reaped.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        return text.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect();
    }
    all().into_iter().filter(|child| stat(*child).is_ok_and(|stat| stat.parent == pid)).collect()
}

/// Every process below `pid`, children before grandchildren.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while next < found.len() {
        let more = children(found[next]);
        found.extend(more.into_iter().filter(|child| *child != pid));
        next += 1;
    }
    found
}

/// SIGKILL to every process below this one, and again to what they started meanwhile, until the caller reaps no more.
pub(crate) fn kill_descendants() {
    for pid in descendants(std::process::id()) {
        // Gone already is what we want; one that may not be signalled shows in the caller's wait.
        let _ = kill(nix_pid(pid), Signal::SIGKILL);
    }
}

/// Processes that carry a pod's mark in the environment they were started with.
pub(crate) fn marked(directory: &Path) -> Vec<ProcessId> {
    let mark = format!("{POD_MARK}={}", directory.display());
    all()
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
        })
        .filter_map(|pid| ProcessId::of(pid).ok())
        .filter(ProcessId::is_alive)
        .collect()
}

fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process number as system calls take it.
pub(crate) fn nix_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_names_with_parentheses_do_not_shift_the_fields() {
        let text = "42 (a b) c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9999 1 1";
        let stat = parse_stat(text).expect("a line of /proc/42/stat");
        assert_eq!((stat.parent, stat.start_ticks, stat.ended), (7, 9999, false));
    }

    #[test]
    fn this_process_is_alive_and_another_start_is_not() {
        let this = ProcessId::of(std::process::id()).expect("own stat");
        assert!(this.is_alive());
        assert!(!ProcessId { start_ticks: this.start_ticks + 1, ..this }.is_alive());
    }
}
