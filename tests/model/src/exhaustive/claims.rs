//! Claims: one per ordinal, whose data must outlive everything but a scale-down that is meant to lose it.
//!
//! A claim is asked to go by the collector, once all that own it are gone, or by somebody; and goes when no pod uses it.

pub(super) mod question;

use domain::safety::ClaimDeletion;
use domain::{Ordinal, RetentionPolicy, RetentionRule, SetSpec};

use super::Config;
use super::commit::State;
use super::world::{Health, World};
use crate::Mutant;
use crate::checks::{self, ClaimState, ClaimView, Violation, hold};

/// Who owns a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// It stays until somebody deletes it.
    Nobody,
    /// It goes with the set.
    Set,
    /// A scale-down has handed it to the pod of its ordinal, with which it goes.
    Pod,
    /// That pod is gone.
    FormerPod,
}

/// A stored claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Who owns it.
    pub owner: Owner,
    /// Whether its deletion has been requested.
    pub going: bool,
}

/// What the collector does with a claim all of whose owners are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is asked to go.
    Delete,
    /// It stays, and belongs to nobody.
    Release,
}

impl World {
    /// What becomes of claims now.
    #[must_use]
    pub fn retention(&self, config: &Config) -> RetentionPolicy {
        RetentionPolicy { when_scaled: self.when_scaled, ..config.claims.unwrap_or_default() }
    }

    /// Whether a pod has what it needs to start: a claim that is not going, where it has one.
    #[must_use]
    pub fn can_start(&self, place: usize, config: &Config) -> bool {
        config.claims.is_none() || self.claims[place].is_some_and(|claim| !claim.going)
    }

    /// The pod of an ordinal is gone, and its claim is not.
    pub(super) fn claim_outlives_pod(&mut self, place: usize) {
        if let Some(claim) = self.claims[place].as_mut().filter(|claim| claim.owner == Owner::Pod) {
            claim.owner = Owner::FormerPod;
        }
    }

    /// Whether a claim that was asked to go can: a pod that has not started does not use it.
    #[must_use]
    pub fn claim_can_go(&self, place: usize) -> bool {
        let used = self.pods[place].is_some_and(|pod| matches!(pod.health, Health::Ready | Health::Broken));
        self.claims[place].is_some_and(|claim| claim.going) && !used
    }

    /// What the collector does with a claim now; none if it leaves it alone.
    #[must_use]
    pub fn verdict(&self, place: usize, config: &Config) -> Option<Verdict> {
        self.claims[place].filter(|claim| claim.owner == Owner::FormerPod && !claim.going)?;
        let spec = SetSpec { replicas: self.replicas.into(), retention: self.retention(config), ..SetSpec::default() };
        let has_pod = self.pods[place].is_some();
        let deletion = ClaimDeletion { ordinal: Ordinal(place as u32), set: Some(&spec), has_pod };
        let asks = config.mutant != Some(Mutant::CollectorAsksNobody);
        if !asks || deletion.s9_claim_delete().is_ok() {
            return Some(Verdict::Delete);
        }
        (self.when_scaled == RetentionRule::Retain && !has_pod).then_some(Verdict::Release)
    }

    /// S9, when the collector asks a claim to go.
    ///
    /// # Errors
    /// There is no reason for that.
    pub fn claim_goes_for_a_reason(&self, place: usize, config: &Config) -> Result<(), Violation> {
        let RetentionPolicy { when_scaled, when_deleted } = self.retention(config);
        checks::s9_claim_is_deleted_for_a_reason(&ClaimView {
            ordinal: place,
            in_range: place < usize::from(self.replicas),
            has_pod: self.pods[place].is_some(),
            when_scaled_delete: when_scaled == RetentionRule::Delete,
            when_deleted_delete: when_deleted == RetentionRule::Delete,
            set_gone: false,
        })
    }

    /// S9: before a condemned pod goes, its claim is owned as the policy asks for.
    ///
    /// # Errors
    /// It is not.
    pub fn claim_is_handed_over(&self, place: usize) -> Result<(), Violation> {
        let Some(Claim { owner, .. }) = self.claims[place] else { return Ok(()) };
        let (wanted, handed) = (self.when_scaled == RetentionRule::Delete, owner == Owner::Pod);
        hold("S9", handed == wanted && owner != Owner::FormerPod, || {
            format!("pod {place} goes, and its claim is owned by {owner:?}")
        })
    }

    /// S10: a pod is made on a claim that is there and stays. One that somebody has deleted since the plan was made, which
    /// is then `changed`, only keeps the pod from starting.
    ///
    /// # Errors
    /// It does not.
    pub fn claim_is_there(&self, place: usize, changed: bool) -> Result<(), Violation> {
        let claim = self.claims[place];
        let state = ClaimState {
            exists: claim.is_some() || changed,
            deleting: claim.is_some_and(|claim| claim.going) && !changed,
            foreign: false,
            orphaned: claim.is_some_and(|claim| claim.owner == Owner::FormerPod),
        };
        checks::s10_claims_are_there(place, state)
    }

    /// L2: whether a claim is as it should be at rest: that of a member is there and is owned as the policy asks for (StatefulSet
    /// rules, section 11.1); any other is nobody's that is gone, or has been collected.
    #[must_use]
    pub fn claim_is_right(&self, place: usize, config: &Config) -> bool {
        let Some(RetentionPolicy { when_deleted, .. }) = config.claims else { return true };
        let member = place < usize::from(self.replicas);
        let wanted = if when_deleted == RetentionRule::Delete { Owner::Set } else { Owner::Nobody };
        match self.claims[place] {
            None => !member || self.pods[place].is_none(),
            Some(claim) if member => claim.owner == wanted,
            Some(claim) => !claim.going && matches!(claim.owner, Owner::Nobody | Owner::Set),
        }
    }
}

impl State {
    /// The plan in `slot` gives a claim to another owner; its own change is no news to it. The pod that it has seen may be
    /// gone.
    pub(super) fn own(&mut self, place: usize, owner: Owner, slot: usize) {
        let plan = self.plans[slot];
        let lost = owner == Owner::Pod && plan.is_some_and(|plan| plan.has_lost(place));
        let owner = if lost { Owner::FormerPod } else { owner };
        self.change_claim(place, |claim| claim.owner = owner);
        self.plans[slot] = plan;
    }

    /// The plan in `slot` creates a claim; that is no news to it.
    pub(super) fn create_claim(&mut self, place: usize, owner: Owner, slot: usize) {
        let plan = self.plans[slot];
        self.world.claims[place] = Some(Claim { owner, going: false });
        self.claim_touched(place);
        self.plans[slot] = plan;
    }

    /// Somebody deletes a claim, or the collector does.
    pub(super) fn delete_claim(&mut self, place: usize) {
        self.change_claim(place, |claim| claim.going = true);
    }

    /// A claim is gone.
    pub(super) fn remove_claim(&mut self, place: usize) {
        self.world.claims[place] = None;
        self.claim_touched(place);
    }

    /// The collector looks at a claim; whether it does anything.
    ///
    /// # Errors
    /// S9: it deletes it for no reason.
    pub(super) fn collect(&mut self, place: usize, config: &Config) -> Result<bool, Violation> {
        let verdict = self.world.verdict(place, config);
        match verdict {
            Some(Verdict::Delete) => {
                self.world.claim_goes_for_a_reason(place, config)?;
                self.delete_claim(place);
            }
            Some(Verdict::Release) => self.change_claim(place, |claim| claim.owner = Owner::Nobody),
            None => {}
        }
        Ok(verdict.is_some())
    }

    fn change_claim(&mut self, place: usize, change: impl FnOnce(&mut Claim)) {
        if let Some(claim) = &mut self.world.claims[place] {
            change(claim);
        }
        self.claim_touched(place);
    }

    /// Plans under way no longer rest on this claim.
    fn claim_touched(&mut self, place: usize) {
        for plan in self.plans.iter_mut().flatten() {
            plan.claims_changed |= 1 << place;
        }
    }
}
