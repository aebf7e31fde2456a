//! A command inside a container.

use std::io;
use std::time::Duration;

use super::{Job, Kind};
use crate::backend::ContainerSpec;
use crate::sandbox::clock;
use crate::sandbox::init::Placement;
use crate::sandbox::record::SandboxRecord;
use crate::sandbox::wire::{ProgramSpec, ShimReply};

/// Bytes of a command's output that are kept: the first 10 KiB, as kubelets keep of a probe's.
const EXEC_OUTPUT_MAX: usize = 10 * 1024;

/// A command.
#[derive(Debug)]
pub(crate) struct ExecJob {
    /// Who asked.
    pub(crate) client: u64,
    /// When it is killed, on the shim's monotonic clock.
    pub(crate) deadline: Duration,
    /// Whether it was.
    pub(crate) timed_out: bool,
    output: Vec<u8>,
}

impl ExecJob {
    /// Begins a command in a container whose first process is `init`.
    pub(crate) fn start(
        sandbox: &SandboxRecord,
        target: &ContainerSpec,
        init: u32,
        client: u64,
        command: Vec<String>,
        timeout_ms: u64,
    ) -> io::Result<Job> {
        let order = ProgramSpec {
            command,
            env: target.env.clone(),
            working_dir: target.working_dir.clone().unwrap_or_else(|| "/".into()),
            user: target.user,
            group: target.group,
            supplemental_groups: target.supplemental_groups.clone(),
            one_uid: sandbox.isolation.one_uid,
            join_mounts_of: sandbox.isolation.mounts.then_some(init),
        };
        let placement = if sandbox.isolation.processes { Placement::Join(init) } else { Placement::PlainCommand };
        let deadline = clock::monotonic().saturating_add(Duration::from_millis(timeout_ms));
        let kind = Kind::Exec(Self { client, deadline, timed_out: false, output: Vec::new() });
        Job::launch(placement, &order, kind)
    }

    /// Keeps the beginning of what the command writes.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let room = EXEC_OUTPUT_MAX.saturating_sub(self.output.len()).min(bytes.len());
        self.output.extend_from_slice(&bytes[..room]);
    }

    /// What the caller must be told of a command that ended with `exit_code`.
    pub(super) fn finish(&self, exit_code: i32, failure: Option<(String, String)>) -> (u64, ShimReply) {
        let reply = if self.timed_out {
            ShimReply::TimedOut
        } else if let Some((reason, message)) = failure {
            ShimReply::CannotRun { reason, message }
        } else {
            ShimReply::Executed { exit_code, output: String::from_utf8_lossy(&self.output).into_owned() }
        };
        (self.client, reply)
    }
}
