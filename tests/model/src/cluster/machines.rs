//! What happens to pods and claims between passes.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::safety::ClaimDeletion;
use domain::volume::OwnerReference;
use domain::{Intent, Ordinal, Phase, Pod, RetentionRule};

use super::{BAD, Claim, Cluster, is_set};
use crate::Mutant;
use crate::checks::{ClaimView, Violation, s9_claim_is_deleted_for_a_reason};
use crate::random::Random;

impl Cluster {
    /// Something happens to one pod, or time passes.
    pub fn happen(&mut self, random: &mut Random) {
        let pods: Vec<Ordinal> = self.pods.keys().copied().collect();
        let Some(ordinal) = random.pick(&pods) else { return self.advance(random.below(30)) };
        let pod = &self.pods[&ordinal];
        match (random.below(12), pod.terminating, pod.phase) {
            (0..=5, true, _) => self.remove(ordinal),
            (_, _, Phase::Succeeded | Phase::Failed) => {}
            (0..=5, false, _) => self.start(ordinal),
            (6, _, _) => self.observe(ordinal, Phase::Running, false),
            (7, _, _) => self.observe(ordinal, Phase::Failed, false),
            (8, _, _) => self.observe(ordinal, Phase::Succeeded, false),
            (9, _, _) => self.observe(ordinal, Phase::Unknown, false),
            (11, false, _) if random.below(3) == 0 => self.delete_claim(ordinal),
            (10, false, _) => {
                self.log.push(format!("FAULT: somebody deletes pod {ordinal}"));
                self.terminate(ordinal);
            }
            _ => self.advance(random.below(30)),
        }
    }

    /// Somebody deletes the claim of an ordinal. It goes when no pod uses it.
    fn delete_claim(&mut self, ordinal: Ordinal) {
        let claim = self.claims.values_mut().find(|claim| claim.ordinal == ordinal && !claim.stored.deleting);
        let Some(claim) = claim else { return };
        claim.stored.deleting = true;
        claim.stored.version += 1;
        self.log.push(format!("FAULT: somebody deletes claim {}", claim.stored.name));
    }

    /// Everything that is due happens at once; whether anything was.
    pub fn work(&mut self) -> bool {
        let mut busy = false;
        for ordinal in self.pods.keys().copied().collect::<Vec<_>>() {
            let pod = &self.pods[&ordinal];
            let bad = pod.revision.as_ref().is_some_and(|name| self.number(name) == BAD as u8 - b'A');
            match pod.phase {
                _ if pod.terminating => self.remove(ordinal),
                Phase::Running if pod.ready || bad => continue,
                Phase::Succeeded | Phase::Failed => continue,
                Phase::Pending | Phase::Running | Phase::Unknown => self.start(ordinal),
            }
            busy = true;
        }
        busy
    }

    /// A pod is asked to go: at once if it has ended.
    pub(crate) fn terminate(&mut self, ordinal: Ordinal) {
        let Some(pod) = self.pods.get_mut(&ordinal) else { return };
        pod.terminating = true;
        pod.version += 1;
        if pod.phase.terminal() {
            self.remove(ordinal);
        }
    }

    /// A pod is gone.
    pub fn remove(&mut self, ordinal: Ordinal) {
        self.log.push(format!("pod {ordinal} is gone"));
        self.pods.remove(&ordinal);
        // Every third event is missed.
        if !self.log.len().is_multiple_of(3) {
            self.reported.push(ordinal);
        }
        // A scale-up that no pass has seen yet comes too late: the collector acts on what is stored.
        let unseen = self.status.observed_generation < self.generation;
        if unseen || !self.spec.contains(ordinal) {
            let claims = self.claims.values().filter(|claim| claim.ordinal == ordinal);
            self.scaled_away.extend(claims.map(|claim| claim.stored.uid.clone()));
        }
    }

    /// Time passes.
    pub fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// The containers of a pod start; it is ready if its template works.
    pub fn start(&mut self, ordinal: Ordinal) {
        let bad = self.pods[&ordinal].revision.as_ref().is_some_and(|name| self.number(name) == BAD as u8 - b'A');
        self.observe(ordinal, Phase::Running, !bad);
    }

    /// A pod is reported to be in this phase.
    pub fn observe(&mut self, ordinal: Ordinal, phase: Phase, ready: bool) {
        let now = self.now;
        let pod = self.pods.get_mut(&ordinal).expect("reported of an existing pod");
        if pod.ready != ready {
            pod.ready_since = Some(now);
        }
        (pod.phase, pod.ready) = (phase, ready);
        pod.version += 1;
        self.log.push(format!("pod {ordinal} is {phase:?}{}", if ready { ", ready" } else { "" }));
        if self.pods[&ordinal].terminating && phase.terminal() {
            self.remove(ordinal);
        }
    }

    /// The collector: claims whose owners are all gone are asked to go, and go when no pod uses them.
    ///
    /// # Errors
    /// S9: there was no reason for that.
    pub fn collect(&mut self) -> Result<(), Violation> {
        let pods = match self.mutant {
            Some(Mutant::CollectorIsStale) => std::mem::replace(&mut self.pods_before, self.pods.clone()),
            Some(Mutant::UnknownIsGone) => BTreeMap::new(),
            _ => self.pods.clone(),
        };
        let events = std::mem::take(&mut self.reported);
        let told =
            |claim: &Claim| self.mutant != Some(Mutant::CollectorMissesEvents) || events.contains(&claim.ordinal);
        let names: Vec<String> =
            self.claims.iter().filter(|(_, claim)| told(claim)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let claim = &self.claims[&name];
            let used = self.pods.get(&claim.ordinal).is_some_and(|pod| !pod.phase.terminal());
            if self.is_orphaned(claim, &pods) && !claim.stored.deleting && self.may_go(claim, &pods) {
                self.deleted_for_a_reason(claim)?;
                let stored = &mut self.claims.get_mut(&name).expect("it exists").stored;
                stored.deleting = true;
                stored.version += 1;
                self.log.push(format!("the collector deletes claim {name}"));
            }
            if self.claims[&name].stored.deleting && !used {
                self.claims.remove(&name);
            }
        }
        Ok(())
    }

    /// Whether a claim has owners, and all of them are gone.
    pub(crate) fn is_orphaned(&self, claim: &Claim, pods: &BTreeMap<Ordinal, Pod>) -> bool {
        let gone = |owner: &OwnerReference| {
            if is_set(owner) { self.gone } else { pods.get(&claim.ordinal).is_none_or(|pod| pod.uid != owner.uid) }
        };
        !claim.stored.owners.is_empty() && claim.stored.owners.iter().all(gone)
    }

    /// What the collector asks before it deletes a claim; in Kubernetes nothing.
    fn may_go(&self, claim: &Claim, pods: &BTreeMap<Ordinal, Pod>) -> bool {
        let set = (!self.gone).then_some(&self.spec);
        let deletion = ClaimDeletion { ordinal: claim.ordinal, set, has_pod: pods.contains_key(&claim.ordinal) };
        let of_scale_down = claim.stored.owners.iter().any(|owner| !is_set(owner));
        let asks = self.kind.switches.withdraw_claim_references && self.mutant != Some(Mutant::CollectorAsksNobody);
        !asks || !of_scale_down || deletion.s9_claim_delete().is_ok()
    }

    /// S9. In Kubernetes a scale-up comes too late for the claim of a pod that is gone already.
    fn deleted_for_a_reason(&self, claim: &Claim) -> Result<(), Violation> {
        let ordinal = claim.ordinal;
        let too_late = !self.kind.switches.withdraw_claim_references && self.scaled_away.contains(&claim.stored.uid);
        let in_range = !self.gone && self.intent == Intent::Keep && self.spec.contains(ordinal);
        s9_claim_is_deleted_for_a_reason(&ClaimView {
            ordinal: ordinal.0 as usize,
            in_range: in_range && !too_late,
            has_pod: self.pods.contains_key(&ordinal),
            when_scaled_delete: self.kind.retention.when_scaled == RetentionRule::Delete,
            when_deleted_delete: self.kind.retention.when_deleted == RetentionRule::Delete,
            set_gone: self.gone,
        })
    }
}
