//! A container instance, from its record to its exit.

use std::io;

use domain::Timestamp;

use super::{Job, Kind};
use crate::backend::{ContainerSpec, Exit};
use crate::sandbox::clock;
use crate::sandbox::init::Placement;
use crate::sandbox::log::Log;
use crate::sandbox::process::{self, POD_MARK, ProcessId};
use crate::sandbox::record::{PodDir, SandboxRecord, StartedRecord};
use crate::sandbox::wire::{InitOrder, InitSpec, ShimReply};

/// A container instance.
#[derive(Debug)]
pub(crate) struct ContainerJob {
    /// What was asked for.
    pub(crate) spec: ContainerSpec,
    /// Whether the program has been executed.
    pub(crate) running: bool,
    /// Who waits for that.
    pub(crate) start_waiters: Vec<u64>,
    /// Who waits for its recorded end.
    pub(crate) kill_waiters: Vec<u64>,
    /// An end that could not be written down yet.
    pub(crate) unrecorded: Option<Exit>,
    started: StartedRecord,
    /// What the program's own end was, as its first process told.
    pub(super) exited: Option<(i32, Option<i32>)>,
    pub(super) log: Log,
}

impl ContainerJob {
    /// Records that the instance begins, then begins it.
    pub(crate) fn start(
        directory: &PodDir,
        sandbox: &SandboxRecord,
        mut spec: ContainerSpec,
        client: u64,
    ) -> io::Result<Job> {
        if !sandbox.isolation.processes {
            spec.env.push((POD_MARK.into(), directory.path().display().to_string()));
        }
        let started = StartedRecord { started_at: clock::now(), boot_id: process::boot_id(), init: None, main: None };
        directory.write_started(&spec.name, spec.instance, &started)?;
        directory.prune(&spec.name, spec.instance.saturating_sub(1));
        let order = InitOrder::Run(Box::new(InitSpec {
            container: spec.clone(),
            isolation: sandbox.isolation,
            root: directory.root(),
            program: sandbox.program.clone(),
            masked: sandbox.masked.clone(),
        }));
        let placement = if sandbox.isolation.processes { Placement::New } else { Placement::Plain };
        let log = Log::open(&spec.log_path);
        let (name, instance) = (spec.name.clone(), spec.instance);
        let kind = Kind::Container(Box::new(Self {
            spec,
            running: false,
            start_waiters: vec![client],
            kill_waiters: Vec::new(),
            unrecorded: None,
            started,
            exited: None,
            log,
        }));
        Job::launch(placement, &order, kind).inspect_err(|_| {
            // Nothing ran; the caller may try the same instance again.
            let _ = directory.forget_started(&name, instance);
        })
    }

    /// Writes down where the processes are. Not forced to disk: after a power loss the numbers mean nothing.
    pub(super) fn note_processes(&mut self, directory: &PodDir, init: u32) {
        self.started.init = ProcessId::of(init).ok();
        self.started.main = process::children(init).first().and_then(|main| ProcessId::of(*main).ok());
        if let Err(error) = directory.write_started(&self.spec.name, self.spec.instance, &self.started) {
            eprintln!("container {}: record of its processes: {error}", self.spec.name);
        }
    }

    /// Writes down the end of an instance whose processes are gone; gives what callers must be told. None where the
    /// end could not be written.
    pub(super) fn finish(
        &mut self,
        ended: (i32, Option<i32>),
        failure: Option<(String, String)>,
        directory: &PodDir,
    ) -> Option<Vec<(u64, ShimReply)>> {
        self.log.finish();
        if let (Some((reason, message)), false) = (failure, self.running) {
            // It never ran: the instance may be tried again.
            if let Err(error) = directory.forget_started(&self.spec.name, self.spec.instance) {
                eprintln!("container {}: {error}", self.spec.name);
            }
            let reply = ShimReply::CannotRun { reason, message };
            return Some(self.waiters().map(|waiter| (waiter, reply.clone())).collect());
        }
        let exit = match self.unrecorded.take() {
            Some(exit) => exit,
            None => self.exit(self.exited.unwrap_or(ended), clock::now()),
        };
        if let Err(error) = directory.write_exit(&self.spec.name, self.spec.instance, &exit) {
            eprintln!("container {}: record of its exit: {error}", self.spec.name);
            self.unrecorded = Some(exit);
            return None;
        }
        Some(self.waiters().map(|waiter| (waiter, ShimReply::Done)).collect())
    }

    fn exit(&self, status: (i32, Option<i32>), now: Timestamp) -> Exit {
        let (exit_code, signal) = status;
        Exit {
            exit_code,
            signal,
            reason: if exit_code == 0 { "Completed".into() } else { "Error".into() },
            message: String::new(),
            started_at: self.started.started_at,
            finished_at: now,
        }
    }

    fn waiters(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(&mut self.start_waiters).into_iter().chain(std::mem::take(&mut self.kill_waiters))
    }
}
