//! The machine, as its runtime meets it.

use std::time::Duration;

use serde_json::Value;

use super::Lab;
use crate::machine::{Life, Running};
use crate::mutant::Mutant;

impl Lab {
    /// Lets processes go on.
    pub fn advance(&self, now: Duration) {
        let inner = &mut *self.inner();
        inner.elapsed = now;
        for line in inner.machine.advance(now, &mut inner.random) {
            inner.note_at(now, &line);
        }
    }

    /// The processes of an incarnation.
    pub fn process(&self, uid: &str) -> Option<Running> {
        self.inner().machine.running.get(uid).cloned()
    }

    /// Incarnations that have processes.
    pub fn process_uids(&self) -> Vec<String> {
        self.inner().machine.running.keys().cloned().collect()
    }

    /// The runtime starts a pod.
    pub fn start_process(&self, pod: &Value, claims: Vec<String>) {
        let inner = &mut *self.inner();
        let now = inner.now();
        inner.machine.start(pod, claims, now, &mut inner.random);
        let line = format!("runtime starts {} uid {}", pod["metadata"]["name"], pod["metadata"]["uid"]);
        inner.note(&line);
        let bound = oracles::s10_claims_are_bound(pod, inner.history.state());
        // What the store says may be newer than what the machine was told; a claim that goes meanwhile is protected.
        let gone = pod["metadata"]["uid"].as_str().is_some_and(|uid| !inner.stored_uid(uid));
        if !gone {
            inner.judge(bound);
            let root = self.directory.join("volumes");
            let judged = oracles::s11_paths_stay_beneath(pod, inner.history.state(), &root.to_string_lossy());
            inner.judge(judged);
        }
        let live: Vec<_> = inner.machine.live().cloned().collect();
        inner.judge(oracles::s1_at_most_one(live.iter()));
    }

    /// The runtime asks a pod to stop.
    pub fn stop_process(&self, uid: &str) {
        let inner = &mut *self.inner();
        let now = inner.now();
        if inner.machine.running.get(uid).is_some_and(|running| !running.stopping) {
            inner.note(&format!("runtime stops uid {uid}"));
        }
        inner.machine.stop(uid, now, &mut inner.random);
    }

    /// The runtime starts a program again.
    pub fn restart_process(&self, uid: &str) {
        let inner = &mut *self.inner();
        let now = inner.now();
        inner.machine.restart(uid, now, &mut inner.random);
    }

    /// The runtime kills what nobody wants any more. That takes a moment too.
    pub fn kill_process(&self, uid: &str, why: &str) {
        let inner = &mut *self.inner();
        let now = inner.now();
        if inner.machine.running.get(uid).is_some_and(|running| !running.stopping && running.life != Life::Ended) {
            inner.note(&format!("runtime kills uid {uid}: {why}"));
            let identity = inner.machine.running[uid].process.identity.clone();
            let judged = oracles::s1_ends_only_on_evidence(&identity, uid, inner.history.state());
            inner.judge(judged);
            inner.machine.stop(uid, now, &mut inner.random);
        }
    }

    /// Forgets processes that have ended and whose pods are not assigned any more.
    pub fn forget_processes(&self, assigned: impl Fn(&str) -> bool) {
        self.inner().machine.running.retain(|uid, running| running.life != Life::Ended || assigned(uid));
    }

    /// The coordinator has taken the word that a pod has stopped.
    pub fn report_taken(&self, uid: &str, name: &str) {
        let inner = &mut *self.inner();
        inner.stopped.insert(name.to_owned());
        inner.note(&format!("uid {uid} is reported stopped"));
    }

    /// Whether a pod of this name was ever reported stopped.
    pub fn has_stopped(&self, name: &str) -> bool {
        self.inner().stopped.contains(name)
    }

    /// Whether the runtime reports what it has reported before, again and again.
    pub fn repeats_reports(&self) -> bool {
        self.inner().repeats_reports
    }

    /// The machine loses what it knew, as a planted bug has it.
    pub fn machine_restarts(&self) {
        let inner = &mut *self.inner();
        if inner.mutant == Some(Mutant::MachineForgets) {
            for (uid, mut running) in std::mem::take(&mut inner.machine.running) {
                // They live on under a name that the runtime does not look for.
                running.process.uid = format!("{uid}/forgotten");
                running.next = Duration::MAX;
                inner.machine.running.insert(running.process.uid.clone(), running);
            }
        }
    }

    /// What the machine was told, for its next life: a cache that nobody cleans.
    pub fn remember(&self, pod: &Value, claims: &[String]) {
        let inner = &mut *self.inner();
        if !inner.remembered.iter().any(|(known, _)| known["metadata"]["uid"] == pod["metadata"]["uid"]) {
            inner.remembered.push((pod.clone(), claims.to_vec()));
        }
    }

    /// What the machine was told in its life before.
    pub fn remembered(&self) -> Vec<(Value, Vec<String>)> {
        self.inner().remembered.clone()
    }
}
