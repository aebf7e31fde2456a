//! The way down: preStop, SIGTERM, grace, SIGKILL; regular containers first, then sidecars (pod rules, 8.2).

use std::time::Duration;

use domain::Timestamp;

use super::{Action, Pass};
use crate::kubelet::record::Stop;
use crate::spec::{Container, Role};

/// Time between the stop signal and SIGKILL, even when preStop used up everything.
const SIGNAL_TO_KILL_MIN: Duration = Duration::from_secs(2);

/// When a signal that could not be sent is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Stop {
    pub(super) fn new(why: String, grace_end: Timestamp, hooks: bool) -> Self {
        Self {
            why,
            grace_end,
            hooks,
            hook_busy: false,
            hook_done: false,
            signalled_at: None,
            kill_busy: false,
            kill_told: false,
            retry_at: None,
        }
    }
}

impl<'a> Pass<'a> {
    /// The pod should end: one step.
    pub(super) fn stop(&mut self, grace_end: Timestamp, hooks: bool, keep: bool) {
        let first = self.record.grace_end.is_none();
        let grace_end = self.record.grace_end.map_or(grace_end, |earlier| earlier.min(grace_end));
        self.record.grace_end = Some(grace_end);
        self.stop_containers(grace_end, hooks, first);
        if self.anything_runs() {
            return;
        }
        if !keep {
            let ended_well = |container: &Container| {
                let record = self.record_of(container);
                let exit = record.exit.as_ref().or(record.last_exit.as_ref());
                exit.is_some_and(|exit| exit.exit_code == 0)
            };
            let succeeded = self.view.pod.spec.containers.iter().all(ended_well);
            self.set_outcome(succeeded, "", "");
        }
        self.try_remove();
    }

    /// The pod has an outcome: nothing of it may go on.
    pub(super) fn finish(&mut self) {
        let grace_end = self.now().plus(Duration::from_secs(self.view.pod.grace_seconds()));
        let grace_end = *self.record.grace_end.get_or_insert(grace_end);
        self.stop_containers(grace_end, true, false);
        if !self.anything_runs() {
            self.try_remove();
        }
    }

    fn try_remove(&mut self) {
        if self.record.removed {
            return;
        }
        match self.memory.removal.due() {
            None => {}
            Some(due) if due > self.now() => self.wake(due),
            Some(_) => {
                self.memory.removal.busy = true;
                self.actions.push(Action::RemoveSandbox);
            }
        }
    }

    fn stop_containers(&mut self, grace_end: Timestamp, hooks: bool, first: bool) {
        let pod = self.view.pod;
        let all: Vec<_> = pod.containers().collect();
        let busy = |pass: &Self, container: &Container| {
            pass.record_of(container).running() || pass.memory_of(container).start.busy
        };
        let mut others_gone = !all.iter().any(|(role, container)| *role != Role::Sidecar && busy(self, container));
        for (role, container) in all.iter().rev() {
            let turn = *role != Role::Sidecar || others_gone;
            if self.record_of(container).running() {
                if first {
                    self.tell("Killing", format!("Stopping container {}", container.name));
                }
                let stop = self.entry(&container.name).map(|(_, memory)| {
                    memory.stop.get_or_insert_with(|| Stop::new("the pod ends".to_owned(), grace_end, hooks))
                });
                if let Some(stop) = stop {
                    stop.grace_end = stop.grace_end.min(grace_end);
                    stop.hooks &= hooks;
                }
                self.step_stop(container, turn);
            }
            if *role == Role::Sidecar {
                others_gone &= !busy(self, container);
            }
        }
    }

    /// One step of one container that is on its way to its end. `turn`: whether it may be signalled yet.
    pub(super) fn step_stop(&mut self, container: &Container, turn: bool) {
        let now = self.now();
        let name = container.name.clone();
        let Some((record, memory)) = self.entry(&name) else { return };
        let instance = record.instance.unwrap_or(0);
        let Some(stop) = memory.stop.as_mut() else { return };
        let grace_end = stop.grace_end;
        stop.hook_done |= container.lifecycle.pre_stop.is_none() || !stop.hooks || now >= grace_end;
        if !stop.hook_done {
            if !stop.hook_busy {
                stop.hook_busy = true;
                let timeout = grace_end.since(now);
                self.actions.push(Action::PreStop { container: name, instance, timeout });
            }
            return self.wake(grace_end);
        }
        if let Some(retry_at) = stop.retry_at.filter(|at| *at > now) {
            return self.wake(retry_at);
        }
        stop.retry_at = None;
        let Some(signalled_at) = stop.signalled_at else {
            if !turn && now < grace_end {
                return self.wake(grace_end);
            }
            stop.signalled_at = Some(now);
            let kill_at = grace_end.max(now.plus(SIGNAL_TO_KILL_MIN));
            self.actions.push(Action::Signal { container: name, instance });
            return self.wake(kill_at);
        };
        let kill_at = grace_end.max(signalled_at.plus(SIGNAL_TO_KILL_MIN));
        if stop.kill_busy {
            return;
        }
        if now < kill_at {
            return self.wake(kill_at);
        }
        stop.kill_busy = true;
        let told = std::mem::replace(&mut stop.kill_told, true);
        self.actions.push(Action::Kill { container: name.clone(), instance });
        if !told {
            let hint = "a shell that does not `exec` its program does not pass signals on";
            self.warn("Killing", format!("Container {name} did not stop within grace and was killed; {hint}"));
        }
    }

    pub(super) fn pre_stopped(&mut self, name: &str, instance: u32, failure: Option<&String>) {
        let Some((_, memory)) = self.run_of(name, instance) else { return };
        if let Some(stop) = memory.stop.as_mut() {
            stop.hook_busy = false;
            stop.hook_done = true;
        }
        if let Some(failure) = failure {
            self.warn("FailedPreStopHook", format!("preStop hook of container {name} failed: {failure}"));
        }
    }

    pub(super) fn struck(&mut self, name: &str, instance: u32, kill: bool, failure: Option<&String>) {
        let retry_at = self.now().plus(RETRY);
        let Some((record, memory)) = self.run_of(name, instance) else { return };
        let running = record.running();
        let Some(stop) = memory.stop.as_mut() else { return };
        if kill {
            stop.kill_busy = false;
            // A kill that succeeded shows in the world; until it does, it is tried again.
            stop.retry_at = Some(retry_at);
        }
        if let Some(failure) = failure.filter(|_| running) {
            if !kill {
                stop.signalled_at = None;
            }
            stop.retry_at = Some(retry_at);
            let message = format!("container {name}: {failure}");
            self.warn("FailedKillPod", message);
        }
    }
}
