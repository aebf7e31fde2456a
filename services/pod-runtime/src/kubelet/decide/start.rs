//! The way up: volumes, sandbox, init containers and sidecars, regular containers, restarts (pod rules, 5 and 6).

use std::time::Duration;

use domain::Timestamp;

use super::{Action, Pass, START_ERROR_EXIT_CODE, StartFailure};
use crate::backend::Exit;
use crate::kubelet::record::{ContainerRecord, Stop};
use crate::kubelet::status::back_off_message;
use crate::spec::{Container, Pod, Role};

/// Whether a container that ended so is started again.
pub(crate) fn restarts(pod: &Pod, role: Role, container: &Container, exit_code: i32) -> bool {
    let own = container.restart_policy.as_deref();
    match (role, own.unwrap_or(&pod.spec.restart_policy)) {
        (Role::Sidecar, _) => true,
        (Role::Init, "Never") => false,
        (Role::Init, _) => exit_code != 0,
        (Role::Regular, "Never") => false,
        (Role::Regular, "OnFailure") => exit_code != 0,
        (Role::Regular, _) => true,
    }
}

/// Whether containers after this one in the list may be looked at.
#[derive(PartialEq, Eq)]
enum Step {
    /// Its start or hook is under way.
    Busy,
    /// Nothing of it holds the others back.
    Settled,
}

impl<'a> Pass<'a> {
    pub(super) fn run(&mut self) {
        self.record.removed = false;
        self.record.grace_end = None;
        if self.overdue() {
            self.set_outcome(
                false,
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            );
            return self.finish();
        }
        if !self.view.confirmed {
            // After a start of the machine its store is asked first: it may have been fenced, and others run the pod.
            return;
        }
        if !self.memory.volumes_ready {
            return self.try_volumes();
        }
        if !self.view.sandbox.is_some_and(|sandbox| sandbox.alive) {
            return self.try_sandbox();
        }
        if self.run_init() {
            self.record.initialized = true;
        }
        if self.record.initialized && self.record.outcome.is_none() {
            self.run_regular();
        }
        if self.record.outcome.is_some() {
            self.finish();
        }
    }

    fn overdue(&mut self) -> bool {
        let Some(seconds) = self.view.pod.spec.active_deadline_seconds.and_then(|n| u64::try_from(n).ok()) else {
            return false;
        };
        let end = self.record.started_at.plus(Duration::from_secs(seconds));
        if end > self.now() {
            self.wake(end);
        }
        end <= self.now()
    }

    fn try_volumes(&mut self) {
        match self.memory.volumes.due() {
            None => {}
            Some(due) if due > self.now() => self.wake(due),
            Some(_) => {
                self.memory.volumes.busy = true;
                self.actions.push(Action::PrepareVolumes);
            }
        }
    }

    fn try_sandbox(&mut self) {
        match self.memory.sandbox.due() {
            None => {}
            Some(due) if due > self.now() => self.wake(due),
            Some(_) => {
                self.memory.sandbox.busy = true;
                self.actions.push(Action::EnsureSandbox);
            }
        }
    }

    /// One step through the init containers and sidecars; true when all are past.
    fn run_init(&mut self) -> bool {
        let pod = self.view.pod;
        for (role, container) in pod.containers().filter(|(role, _)| *role != Role::Regular) {
            if role == Role::Sidecar {
                let step = self.advance(role, container);
                let started = self.record_of(container).started_at.is_some();
                if let Some((record, _)) = self.entry(&container.name) {
                    record.done |= started;
                }
                if !self.record_of(container).done || (step == Step::Busy && !self.record.initialized) {
                    return false;
                }
                continue;
            }
            if self.record_of(container).done {
                continue;
            }
            self.advance(role, container);
            let ended = self.record_of(container).exit.as_ref().map(|exit| exit.exit_code);
            if let Some(code) = ended.filter(|code| *code != 0 && !restarts(pod, role, container, *code)) {
                let message = format!("init container {:?} ended with exit code {code}", container.name);
                self.set_outcome(false, "", &message);
            }
            return false;
        }
        true
    }

    fn run_regular(&mut self) {
        let pod = self.view.pod;
        for container in &pod.spec.containers {
            if self.advance(Role::Regular, container) == Step::Busy {
                return;
            }
        }
        let over = |container: &Container| {
            let exit = self.record_of(container).exit.as_ref()?;
            (!restarts(pod, Role::Regular, container, exit.exit_code)).then_some(exit.exit_code)
        };
        let codes: Option<Vec<i32>> = pod.spec.containers.iter().map(over).collect();
        if let Some(codes) = codes.filter(|codes| !codes.is_empty()) {
            self.set_outcome(codes.iter().all(|code| *code == 0), "", "");
        }
    }

    /// One step of one container.
    fn advance(&mut self, role: Role, container: &'a Container) -> Step {
        if self.memory_of(container).start.busy {
            return Step::Busy;
        }
        let record = self.record_of(container);
        if record.running() {
            return self.advance_running(role, container);
        }
        let Some(exit) = record.exit.clone() else {
            return self.try_start(container, record.instance.unwrap_or(0));
        };
        let again = !record.done && role == Role::Init && exit.exit_code == 0; // A new sandbox: all init runs again.
        if !again && !restarts(self.view.pod, role, container, exit.exit_code) {
            return Step::Settled;
        }
        let finished = exit.finished_at;
        let (instance, due) = (record.instance.unwrap_or(0), record.backoff.due(finished));
        if due > self.now() && !again {
            self.rest(container, instance, due);
            return Step::Settled;
        }
        let now = self.now();
        if let Some((record, memory)) = self.entry(&container.name) {
            record.backoff = record.backoff.after_restart(finished, now);
            record.last_exit = record.exit.take();
            record.last_exit_words = std::mem::take(&mut record.last_words);
            memory.start = Default::default();
            memory.post_start_failure = None;
        }
        self.try_start(container, instance.saturating_add(1))
    }

    fn rest(&mut self, container: &Container, instance: u32, due: Timestamp) {
        self.wake(due);
        let delay = self.record_of(container).backoff.delay_seconds;
        let message = back_off_message(self.view.pod, container, delay);
        if let Some((_, memory)) = self.entry(&container.name)
            && memory.backoff_told != Some(instance)
        {
            memory.backoff_told = Some(instance);
            self.warn("BackOff", message);
        }
    }

    fn try_start(&mut self, container: &Container, instance: u32) -> Step {
        let now = self.now();
        let Some((record, memory)) = self.entry(&container.name) else { return Step::Settled };
        record.instance = Some(instance);
        match memory.start.due() {
            None => return Step::Busy,
            Some(due) if due > now => {
                self.wake(due);
                return Step::Settled;
            }
            Some(_) => {}
        }
        record.post_started = false;
        record.started_at = None;
        record.ready = false;
        memory.start.busy = true;
        memory.probes = Default::default();
        memory.stop = None;
        self.actions.push(Action::Start { container: container.name.clone(), instance });
        Step::Busy
    }

    fn advance_running(&mut self, role: Role, container: &'a Container) -> Step {
        if self.memory_of(container).stop.is_some() {
            self.step_stop(container, true);
            return Step::Settled;
        }
        let now = self.now();
        let hook = container.lifecycle.post_start.is_some() && role != Role::Init;
        let Some((record, memory)) = self.entry(&container.name) else { return Step::Settled };
        if !record.post_started && hook {
            if !memory.post_start_busy {
                memory.post_start_busy = true;
                let instance = record.instance.unwrap_or(0);
                self.actions.push(Action::PostStart { container: container.name.clone(), instance });
            }
            return Step::Busy;
        }
        record.post_started = true;
        if record.started_at.is_none() && (container.startup_probe.is_none() || role == Role::Init) {
            record.started_at = Some(now);
        }
        Step::Settled
    }

    pub(super) fn started(&mut self, name: &str, instance: u32, result: &Result<(), StartFailure>) {
        let now = self.now();
        let wall = self.view.now.wall;
        let Some((record, memory)) = self.run_of(name, instance) else { return };
        match result {
            Ok(()) => memory.start = Default::default(),
            Err(StartFailure::Refused { reason, message }) => {
                let repeated = memory.start.failure.as_ref().is_some_and(|failure| failure.message == *message);
                memory.start.fail(reason, message, now);
                if !repeated {
                    self.warn("Failed", format!("container {name}: {message}"));
                }
            }
            Err(StartFailure::Spent { message }) => {
                memory.start = Default::default();
                if record.exit.is_none() {
                    let exit = Exit {
                        exit_code: START_ERROR_EXIT_CODE,
                        signal: None,
                        reason: "StartError".to_owned(),
                        message: message.clone(),
                        started_at: wall,
                        finished_at: wall,
                    };
                    self.end_run(name, exit);
                    self.warn("Failed", format!("container {name}: {message}"));
                }
            }
        }
    }

    pub(super) fn post_started(&mut self, name: &str, instance: u32, failure: Option<&String>) {
        let now = self.now();
        let grace = Duration::from_secs(self.view.pod.grace_seconds());
        let Some((record, memory)) = self.run_of(name, instance).filter(|(record, _)| record.running()) else { return };
        memory.post_start_busy = false;
        let Some(failure) = failure else {
            record.post_started = true;
            return;
        };
        memory.post_start_failure = Some(failure.clone());
        memory.stop.get_or_insert(Stop::new("FailedPostStartHook".to_owned(), now.plus(grace), true));
        self.warn("FailedPostStartHook", format!("postStart hook of container {name} failed: {failure}"));
        self.tell("Killing", format!("Stopping container {name}: FailedPostStartHook"));
    }

    /// Whether the container counts for what the pod needs to be ready.
    pub(crate) fn is_started(record: &ContainerRecord) -> bool {
        record.running() && record.started_at.is_some()
    }
}
