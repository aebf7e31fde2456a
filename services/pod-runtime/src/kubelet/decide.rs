//! What to do about one pod now. Pure: everything it needs is in the [`View`], everything it wants is in the
//! [`Decision`]. It is asked again after each observation, and its answer does not depend on what it was asked before
//! except through the [`Record`] and the [`Memory`] that it returned then.

mod probe;
mod start;
mod stop;
#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::Timestamp;
use serde_json::Value;

pub(crate) use start::restarts;

use super::probing::{ProbeKind, ProbeOutcome};
use super::record::{ContainerMemory, ContainerRecord, Failure, Memory, Outcome, RECORD_VERSION, Record, Work};
use super::status;
use crate::backend::{ContainerInstance, ContainerState, Exit, SandboxState};
use crate::spec::{Container, Pod, Role};

/// First wait after something failed; doubled up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_secs(1);

/// Longest wait after something failed. A person who repairs a manifest or installs a program should see the effect
/// while still looking.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Exit code of a container that got lost: as if killed.
const LOST_EXIT_CODE: i32 = 137;

/// Exit code of a container that could not begin.
const START_ERROR_EXIT_CODE: i32 = 128;

/// The moment of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For durations and deadlines: never jumps while the runtime lives.
    pub steady: Timestamp,
    /// For what people read.
    pub wall: Timestamp,
}

/// What is wanted of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It should run.
    Run,
    /// It should end.
    Stop {
        /// When its time is over (steady time).
        grace_end: Timestamp,
        /// Whether preStop hooks run.
        hooks: bool,
        /// Whether it comes back when the runtime starts again.
        keep: bool,
    },
}

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What it should be.
    pub pod: &'a Pod,
    /// What is wanted.
    pub intent: Intent,
    /// Whether it is this machine's for certain: it lives, or its store has assigned it since the runtime began.
    pub confirmed: bool,
    /// What there is; none if nothing.
    pub sandbox: Option<&'a SandboxState>,
    /// What was known, durably.
    pub record: &'a Record,
    /// What was known besides.
    pub memory: &'a Memory,
    /// What happened since.
    pub observations: &'a [Observation],
    /// Address of the machine, as text.
    pub host_ip: &'a str,
    /// Restrictions of the manifest that this machine does not enforce, in words.
    pub not_enforced: &'a [String],
    /// When.
    pub now: Now,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// The assignment changed: what was missing may be there now.
    AssignmentChanged,
    /// Volumes are materialised, or why not.
    Volumes(Result<(), String>),
    /// The sandbox is up, or why not.
    Sandbox(Result<(), String>),
    /// The sandbox is gone, or why not.
    Removed(Result<(), String>),
    /// A start was carried out.
    Started {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// How it went.
        result: Result<(), StartFailure>,
    },
    /// postStart is over.
    PostStarted {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// How it went.
        result: Result<(), String>,
    },
    /// preStop is over.
    PreStopped {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// How it went.
        result: Result<(), String>,
    },
    /// A signal or a kill was carried out.
    Struck {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// Whether it was SIGKILL.
        kill: bool,
        /// How it went.
        result: Result<(), String>,
    },
    /// A probe ran.
    Probed {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// Probe.
        kind: ProbeKind,
        /// What it gave.
        outcome: ProbeOutcome,
    },
    /// The last word of a run that ended.
    LastWords {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// What it left.
        text: String,
    },
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// Nothing was started; tried again when something changed, or later.
    Refused {
        /// Waiting reason.
        reason: String,
        /// In words.
        message: String,
    },
    /// The run is spent: it counts as ended.
    Spent {
        /// In words.
        message: String,
    },
}

/// One thing to do. Each is answered by an [`Observation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring volumes to what the assignment wants.
    PrepareVolumes,
    /// Bring up the sandbox.
    EnsureSandbox,
    /// Start a run of a container.
    Start {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
    },
    /// Run postStart.
    PostStart {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
    },
    /// Run preStop.
    PreStop {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// It is cut off after this.
        timeout: Duration,
    },
    /// Tell the container's first process to stop.
    Signal {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
    },
    /// Kill every process of the container.
    Kill {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
    },
    /// Run a probe.
    Probe {
        /// Container.
        container: String,
        /// Run.
        instance: u32,
        /// Probe.
        kind: ProbeKind,
    },
    /// End the sandbox for good.
    RemoveSandbox,
}

/// Something to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether it is a Warning rather than Normal.
    pub warning: bool,
    /// Reason in CamelCase.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// What to do, and what to remember.
#[derive(Debug, Clone)]
pub struct Decision {
    /// In this order; they may run side by side.
    pub actions: Vec<Action>,
    /// What to tell people.
    pub events: Vec<Event>,
    /// To keep before any action begins.
    pub record: Record,
    /// To keep.
    pub memory: Memory,
    /// `PodStatus` to report.
    pub status: Value,
    /// Whether every process is proven dead and every volume released.
    pub stopped: bool,
    /// When to ask again even if nothing happens (steady time).
    pub next_wake: Option<Timestamp>,
}

/// Decides.
#[must_use]
pub fn decide(view: &View<'_>) -> Decision {
    let mut pass = Pass {
        view,
        record: view.record.clone(),
        memory: view.memory.clone(),
        actions: Vec::new(),
        events: Vec::new(),
        next_wake: None,
    };
    pass.begin();
    // A start that went well comes before what it brought about.
    let began = |one: &&Observation| matches!(one, Observation::Started { result: Ok(()), .. });
    view.observations.iter().filter(began).for_each(|observation| pass.absorb(observation));
    pass.absorb_world();
    for observation in view.observations.iter().filter(|one| !began(one)) {
        pass.absorb(observation);
    }
    match view.intent {
        Intent::Run if pass.record.outcome.is_none() => pass.run(),
        Intent::Run => pass.finish(),
        Intent::Stop { grace_end, hooks, keep } => pass.stop(grace_end, hooks, keep),
    }
    pass.probe();
    pass.conclude()
}

struct Pass<'a> {
    view: &'a View<'a>,
    record: Record,
    memory: Memory,
    actions: Vec<Action>,
    events: Vec<Event>,
    next_wake: Option<Timestamp>,
}

impl<'a> Pass<'a> {
    fn now(&self) -> Timestamp {
        self.view.now.steady
    }

    fn begin(&mut self) {
        if self.record.version == 0 && !self.view.not_enforced.is_empty() {
            self.warn("NotEnforced", format!("not enforced on this machine: {}", self.view.not_enforced.join("; ")));
        }
        self.record.version = RECORD_VERSION;
        if self.record.started_at == Timestamp::default() {
            self.record.started_at = self.view.now.wall;
        }
        for (_, container) in self.view.pod.containers() {
            self.record.containers.entry(container.name.clone()).or_default();
            self.memory.containers.entry(container.name.clone()).or_default();
        }
    }

    fn conclude(mut self) -> Decision {
        let status = status::pod_status(self.view, &mut self.record, &self.memory);
        let stopped = self.record.removed && !self.memory.sandbox.busy;
        Decision {
            actions: self.actions,
            events: self.events,
            record: self.record,
            memory: self.memory,
            status,
            stopped,
            next_wake: self.next_wake,
        }
    }

    /// Takes in what the sandbox shows.
    fn absorb_world(&mut self) {
        let Some(sandbox) = self.view.sandbox else { return self.lose_sandbox() };
        for found in &sandbox.containers {
            let Some(record) = self.record.containers.get_mut(&found.name) else { continue };
            if record.instance.is_some_and(|instance| found.instance < instance) {
                continue; // A run that was already taken in.
            }
            if record.instance.is_none_or(|instance| found.instance > instance) {
                record.instance = Some(found.instance);
                record.exit = None;
                record.running_since = None;
            }
            // A start that is under way may still fail, and leave nothing of what can be seen meanwhile.
            let starting = self.memory.containers.get(&found.name).is_some_and(|memory| memory.start.busy);
            match &found.state {
                ContainerState::Running { started_at, .. } if record.exit.is_none() && !starting => {
                    if record.running_since.is_none() {
                        record.running_since = Some(*started_at);
                        self.tell("Started", format!("Started container {}", found.name));
                    }
                }
                ContainerState::Running { .. } => {}
                ContainerState::Exited(exit) => {
                    if record.exit.is_none() {
                        self.end_run(&found.name, exit.clone());
                    }
                }
            }
        }
        // What was seen only while its start was under way, and that start failed, never ran.
        for (name, record) in self.record.containers.iter_mut().filter(|(_, record)| record.running()) {
            let seen = |found: &ContainerInstance| found.name == *name && Some(found.instance) == record.instance;
            if sandbox.alive && !sandbox.containers.iter().any(seen) {
                record.running_since = None;
                record.started_at = None;
                record.ready = false;
            }
        }
        if sandbox.alive {
            self.record.sandbox = true;
            self.record.ip = Some(sandbox.ip);
        } else {
            self.lose_sandbox();
        }
    }

    /// No sandbox: what ran in it is lost, and everything begins again from the first init container.
    fn lose_sandbox(&mut self) {
        let running = self.record.containers.iter().filter(|(_, record)| record.running());
        let running: Vec<_> = running.map(|(name, record)| (name.clone(), record.running_since)).collect();
        for (name, started_at) in running {
            let exit = Exit {
                exit_code: LOST_EXIT_CODE,
                signal: None,
                reason: "ContainerStatusUnknown".to_owned(),
                message: "the container was lost with its sandbox; how it ended is not known".to_owned(),
                started_at: started_at.unwrap_or_default(),
                finished_at: self.view.now.wall,
            };
            self.end_run(&name, exit);
        }
        if self.record.sandbox {
            self.record.sandbox = false;
            self.record.initialized = false;
            self.record.ip = None;
            self.record.containers.values_mut().for_each(|record| record.done = false);
        }
    }

    fn end_run(&mut self, name: &str, mut exit: Exit) {
        // A clock that jumped must not make a container rest for hours.
        exit.finished_at = exit.finished_at.min(self.now().max(self.view.now.wall));
        let init = self.view.pod.container(name).is_some_and(|(role, _)| role == Role::Init);
        let ours = matches!(self.view.intent, Intent::Stop { .. });
        let Some((record, memory)) = self.entry(name) else { return };
        memory.probes = Default::default();
        memory.stop = None;
        memory.post_start_busy = false;
        record.running_since = None;
        record.started_at = None;
        record.ready = false;
        record.last_words = String::new();
        if init && exit.exit_code == 0 {
            record.done = true;
        }
        if ours {
            record.backoff = Default::default(); // It did not fail; it was told to stop.
        }
        record.exit = Some(exit);
    }

    fn absorb(&mut self, observation: &Observation) {
        let now = self.now();
        match observation {
            Observation::AssignmentChanged => self.assignment_changed(),
            Observation::Volumes(result) => {
                self.memory.volumes_ready |= result.is_ok();
                self.memory.volumes.finish("FailedMount", result, now);
                if let Err(message) = result {
                    self.warn("FailedMount", message.clone());
                }
            }
            Observation::Sandbox(result) => {
                let repeated = self.memory.sandbox.same_failure(result);
                self.memory.sandbox.finish("FailedCreatePodSandBox", result, now);
                if let (Err(message), false) = (result, repeated) {
                    self.warn("FailedCreatePodSandBox", message.clone());
                }
            }
            Observation::Removed(result) => {
                let repeated = self.memory.removal.same_failure(result);
                self.memory.removal.finish("FailedKillPod", result, now);
                match result {
                    Ok(()) => {
                        self.record.removed = true;
                        self.record.sandbox = false;
                    }
                    Err(message) if !repeated => self.warn("FailedKillPod", message.clone()),
                    Err(_) => {}
                }
            }
            Observation::Started { container, instance, result } => self.started(container, *instance, result),
            Observation::PostStarted { container, instance, result } => {
                self.post_started(container, *instance, result.as_ref().err());
            }
            Observation::PreStopped { container, instance, result } => {
                self.pre_stopped(container, *instance, result.as_ref().err());
            }
            Observation::Struck { container, instance, kill, result } => {
                self.struck(container, *instance, *kill, result.as_ref().err());
            }
            Observation::Probed { container, instance, kind, outcome } => {
                self.probed(container, *instance, *kind, outcome);
            }
            Observation::LastWords { container, instance, text } => {
                if let Some((record, _)) = self.run_of(container, *instance) {
                    record.last_words = text.clone();
                }
            }
        }
    }

    fn assignment_changed(&mut self) {
        let due_now = |work: &mut Work| {
            work.failures = 0;
            if let Some(failure) = &mut work.failure {
                failure.retry_at = Timestamp::default();
            }
        };
        due_now(&mut self.memory.volumes);
        due_now(&mut self.memory.sandbox);
        self.memory.containers.values_mut().for_each(|memory| due_now(&mut memory.start));
        if self.memory.volumes_ready && !self.memory.volumes.busy && self.view.intent == Intent::Run {
            self.memory.volumes.busy = true;
            self.actions.push(Action::PrepareVolumes);
        }
    }

    fn entry(&mut self, name: &str) -> Option<(&mut ContainerRecord, &mut ContainerMemory)> {
        Some((self.record.containers.get_mut(name)?, self.memory.containers.get_mut(name)?))
    }

    /// The container if its last begun run is `instance`: what is said about another run is too late.
    fn run_of(&mut self, name: &str, instance: u32) -> Option<(&mut ContainerRecord, &mut ContainerMemory)> {
        self.entry(name).filter(|(record, _)| record.instance == Some(instance))
    }

    fn record_of(&self, container: &Container) -> &ContainerRecord {
        &self.record.containers[&container.name]
    }

    fn memory_of(&self, container: &Container) -> &ContainerMemory {
        &self.memory.containers[&container.name]
    }

    fn wake(&mut self, at: Timestamp) {
        self.next_wake = Some(self.next_wake.map_or(at, |earlier| earlier.min(at)));
    }

    fn tell(&mut self, reason: &'static str, message: String) {
        self.events.push(Event { warning: false, reason, message });
    }

    fn warn(&mut self, reason: &'static str, message: String) {
        self.events.push(Event { warning: true, reason, message });
    }

    /// Whether any process may still be there or come.
    fn anything_runs(&self) -> bool {
        let starting = self.memory.containers.values().any(|memory| memory.start.busy);
        starting || self.memory.sandbox.busy || self.record.containers.values().any(ContainerRecord::running)
    }

    fn set_outcome(&mut self, succeeded: bool, reason: &str, message: &str) {
        let outcome = Outcome { succeeded, reason: reason.to_owned(), message: message.to_owned() };
        self.record.outcome.get_or_insert(outcome);
    }
}

impl Work {
    /// Takes the result; a failure is tried again after a growing wait.
    fn finish(&mut self, reason: &str, result: &Result<(), String>, now: Timestamp) {
        self.busy = false;
        match result {
            Ok(()) => *self = Self::default(),
            Err(message) => self.fail(reason, message, now),
        }
    }

    fn fail(&mut self, reason: &str, message: &str, now: Timestamp) {
        self.busy = false;
        let wait = RETRY_INITIAL.saturating_mul(1 << self.failures.min(8)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        let retry_at = now.plus(wait);
        self.failure = Some(Failure { reason: reason.to_owned(), message: message.to_owned(), retry_at });
    }

    fn same_failure(&self, result: &Result<(), String>) -> bool {
        self.failure.as_ref().map(|failure| &failure.message) == result.as_ref().err()
    }

    /// When it may be tried; none while it is under way.
    fn due(&self) -> Option<Timestamp> {
        if self.busy { None } else { Some(self.failure.as_ref().map_or(Timestamp::default(), |f| f.retry_at)) }
    }
}
