//! What a pass writes, in the executor's order, call by call. Every call is checked against the rules before it is
//! made, and may fail: then the pass ends there, as after a crash.

use domain::safety::Plans;
use domain::volume::{ClaimCreation, OwnerChange, SET_ANNOTATION, SetClaim};
use domain::{Failures, Intent, Ordinal, Pod, PodCreation, PodDeletion, PodRun, RevisionChange, SetStatus, Snapshot};

use super::{Claim, Cluster, Decision, counted};
use crate::checks::{self, Cause, Violation, hold};

/// Kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A new object.
    Create,
    /// A changed one.
    Update,
    /// One that goes.
    Delete,
}

/// The n-th call of a kind fails, once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outage {
    /// Which call, counted from 1.
    pub failing: Option<(Call, u32)>,
    counts: [u32; 3],
}

impl Outage {
    /// The `nth` call of this kind fails.
    #[must_use]
    pub fn of(call: Call, nth: u32) -> Self {
        Self { failing: Some((call, nth)), ..Self::default() }
    }
}

impl Cluster {
    /// Writes a decision, until a call fails.
    pub(super) fn write(&mut self, snapshot: &Snapshot, decision: &Decision) -> Result<(), Violation> {
        // The predicates that the product's executor asks.
        let plans = Plans { snapshot, update: &decision.update, order: &decision.order };
        plans.check().map_err(|breach| Violation { rule: breach.predicate, how: breach.why })?;
        let _cut_short = self.write_all(snapshot, decision)?;
        Ok(())
    }

    /// Whether every call succeeded.
    fn write_all(&mut self, snapshot: &Snapshot, decision: &Decision) -> Result<bool, Violation> {
        let Decision { update, order, claims } = decision;
        for change in &update.revisions {
            if !self.change_revision(change)? {
                return Ok(false);
            }
        }
        for change in &claims.owners {
            if !self.change_owners(change)? {
                return Ok(false);
            }
        }
        for creation in &claims.create {
            if !self.create_claim(creation) {
                return Ok(false);
            }
        }
        let mut company = 0;
        for creation in &order.create {
            if !self.create_pod(creation, company)? {
                return Ok(false);
            }
            company |= 1 << creation.ordinal.0;
        }
        let mut deleted: Vec<Ordinal> = Vec::new();
        let by_order = order.delete.iter().map(|deletion| {
            let ended = snapshot.spec.contains(deletion.ordinal) && snapshot.intent == Intent::Keep;
            (deletion, if ended { Cause::Ended } else { Cause::ScaleDown })
        });
        for (deletion, cause) in by_order.chain(update.replace.iter().map(|deletion| (deletion, Cause::Update))) {
            if deleted.contains(&deletion.ordinal) {
                continue;
            }
            deleted.push(deletion.ordinal);
            if !self.delete_pod(deletion, cause)? {
                return Ok(false);
            }
        }
        self.write_status(snapshot, decision)
    }

    /// Counts a call; false if it fails.
    fn call(&mut self, call: Call) -> bool {
        let count = &mut self.outage.counts[call as usize];
        *count += 1;
        let fails = self.outage.failing == Some((call, *count));
        if fails {
            self.log.push(format!("FAULT: {call:?} number {count} fails"));
        }
        !fails
    }

    fn change_revision(&mut self, change: &RevisionChange) -> Result<bool, Violation> {
        let highest = self.revisions.iter().map(|revision| revision.number).max().unwrap_or(0);
        match change {
            RevisionChange::Create(revision) => {
                if !self.call(Call::Create) {
                    return Ok(false);
                }
                let twin = self.revisions.iter().any(|old| old.name == revision.name || old.data == revision.data);
                hold("S20", !twin, || format!("{} is stored already", revision.name))?;
                hold("S20", revision.number > highest, || format!("{} is not the newest", revision.name))?;
                self.revisions.push(revision.clone());
            }
            RevisionChange::Renumber { name, number } => {
                if !self.call(Call::Update) {
                    return Ok(false);
                }
                hold("S20", *number > highest, || format!("{name} does not become the newest"))?;
                let stored = self.revisions.iter_mut().find(|revision| revision.name == *name);
                let Some(stored) = stored else { return hold("S20", false, || format!("no {name}")).map(|()| true) };
                stored.number = *number;
            }
            RevisionChange::Prune { name } => {
                if !self.call(Call::Delete) {
                    return Ok(false);
                }
                checks::s20_live_revisions_stay(&self.view(), self.number(name))?;
                self.revisions.retain(|revision| revision.name != *name);
            }
        }
        Ok(true)
    }

    fn change_owners(&mut self, change: &OwnerChange) -> Result<bool, Violation> {
        if !self.call(Call::Update) {
            return Ok(false);
        }
        let Some(claim) = self.claims.get_mut(&change.claim) else { return Ok(true) };
        checks::s22_only_our_own(is_ours(&claim.stored), &change.claim)?;
        let same = claim.stored.uid == change.uid && claim.stored.version == change.version;
        checks::s22_only_our_own(same, &change.claim)?;
        claim.stored.owners.clone_from(&change.owners);
        claim.stored.version += 1;
        Ok(true)
    }

    fn create_claim(&mut self, creation: &ClaimCreation) -> bool {
        if !self.call(Call::Create) {
            return false;
        }
        let uid = self.uid("claim");
        let stored = SetClaim {
            name: creation.name.clone(),
            uid,
            version: 1,
            labels: creation.labels.clone(),
            made_for: creation.annotations.get(SET_ANNOTATION).cloned().unwrap_or_default(),
            owners: creation.owners.clone(),
            ..SetClaim::default()
        };
        self.claims.insert(creation.name.clone(), Claim { ordinal: creation.ordinal, stored });
        true
    }

    fn create_pod(&mut self, creation: &PodCreation, company: u8) -> Result<bool, Violation> {
        if !self.call(Call::Create) {
            return Ok(false);
        }
        let view = checks::View { company, ..self.view() };
        let ordinal = creation.ordinal.0 as usize;
        checks::creation(&view, ordinal, self.number(&creation.revision))?;
        let claim = self.claims.get(&domain::claim_name(super::TEMPLATE, super::SET, creation.ordinal));
        let is = |what: &dyn Fn(&Claim) -> bool| claim.is_some_and(what);
        let state = checks::ClaimState {
            exists: claim.is_some(),
            deleting: is(&|claim| claim.stored.deleting),
            foreign: is(&|claim| !is_ours(&claim.stored)),
            orphaned: is(&|claim| self.is_orphaned(claim, &self.pods)),
        };
        checks::s10_claims_are_there(ordinal, state)?;
        self.has_backed_off(creation.ordinal)?;
        let pod = Pod {
            ordinal: creation.ordinal,
            uid: self.uid("pod"),
            version: 1,
            revision: Some(creation.revision.clone()),
            created_at: self.now,
            ..Pod::default()
        };
        self.pods.insert(creation.ordinal, pod);
        Ok(true)
    }

    fn delete_pod(&mut self, deletion: &PodDeletion, cause: Cause) -> Result<bool, Violation> {
        if !self.call(Call::Delete) {
            return Ok(false);
        }
        let ordinal = deletion.ordinal.0 as usize;
        let Some(pod) = self.pods.get(&deletion.ordinal) else { return Ok(true) };
        checks::s13_only_the_observed_pod(ordinal, pod.uid != deletion.uid)?;
        checks::deletion(&self.view(), ordinal, cause)?;
        self.claims_are_handed_over(deletion.ordinal, cause)?;
        if cause == Cause::Ended {
            self.count_end(deletion.ordinal);
        }
        self.terminate(deletion.ordinal);
        Ok(true)
    }

    /// S24: pods of one ordinal that end again and again are not made again at once. What the planner remembers is lost
    /// where a call fails, so this is asked only where none does.
    fn has_backed_off(&self, ordinal: Ordinal) -> Result<(), Violation> {
        let ends = self.ends.get(&ordinal).filter(|_| self.kind.switches.back_off_failed_pods);
        let early = ends.filter(|ends| self.outage.failing.is_none() && ends.retry_at() > self.now);
        hold("S24", early.is_none(), || format!("pod {ordinal} is made again too early after {early:?}"))
    }

    /// From now on every end counts; those before were perhaps not remembered.
    pub fn forget_ends(&mut self) {
        self.ends.clear();
    }

    fn count_end(&mut self, ordinal: Ordinal) {
        let now = self.now;
        let ends = self.ends.entry(ordinal).or_insert(Failures { ordinal, count: 0, last_at: now });
        ends.count = if ends.remembered(now) { ends.count + 1 } else { 1 };
        ends.last_at = now;
    }

    /// S9: before a condemned pod goes, its claims' owners are those that the policy asks for.
    fn claims_are_handed_over(&self, ordinal: Ordinal, cause: Cause) -> Result<(), Violation> {
        if cause != Cause::ScaleDown || self.intent != Intent::Keep {
            return Ok(());
        }
        let claim = self.claims.get(&domain::claim_name(super::TEMPLATE, super::SET, ordinal));
        let Some(claim) = claim.filter(|claim| is_ours(&claim.stored)) else { return Ok(()) };
        let wanted = self.spec.retention.when_scaled == domain::RetentionRule::Delete;
        let handed = claim.stored.owners.iter().any(|owner| owner.kind == "Pod");
        hold("S9", handed == wanted, || {
            format!("pod {ordinal} goes, and its claim's owners are {:?}", super::kinds(&claim.stored.owners))
        })
    }

    fn write_status(&mut self, snapshot: &Snapshot, decision: &Decision) -> Result<bool, Violation> {
        let computed = &decision.update.status;
        let formed = snapshot.formed_by_now();
        let Decision { order, update, .. } = decision;
        let paused = snapshot.spec.paused;
        let before = (&self.status, &self.failures, &self.outages, self.formed, self.cold_start);
        let pause = (self.was_paused, self.resumed_at) == (paused, snapshot.resumed_at);
        if pause && before == (computed, &order.failures, &update.outages, formed, order.cold_start) {
            return Ok(true);
        }
        self.status_is_earned(snapshot, computed)?;
        if !self.call(Call::Update) {
            return Ok(false);
        }
        self.log.push("      the status is written".to_owned());
        self.status = computed.clone();
        self.failures.clone_from(&order.failures);
        self.outages.clone_from(&update.outages);
        (self.formed, self.cold_start) = (formed, order.cold_start);
        (self.was_paused, self.resumed_at) = (paused, snapshot.resumed_at);
        Ok(true)
    }

    fn status_is_earned(&self, snapshot: &Snapshot, computed: &SetStatus) -> Result<(), Violation> {
        // Against the pods that it was computed from.
        let mut seen = self.clone();
        seen.pods = snapshot.pods.iter().flat_map(PodRun::pods).map(|pod| (pod.ordinal, pod)).collect();
        hold("S12", computed.observed_generation <= self.generation, || "a generation that is not yet".to_owned())?;
        hold("S12", computed.observed_generation >= self.status.observed_generation, || "it falls".to_owned())?;
        if snapshot.intent != Intent::Keep {
            return checks::s21_counts_fit(&counted(self, computed));
        }
        checks::status(&seen.view(), &counted(self, computed), &counted(self, &self.status))
    }
}

/// Whether a claim was made for this set. Kubernetes leaves no mark.
fn is_ours(claim: &SetClaim) -> bool {
    claim.made_for.is_empty() || claim.made_for == super::SET
}
