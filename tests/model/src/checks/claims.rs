//! S9, S10, S22: claims, and objects of others.

use super::{Violation, hold};

/// A claim that is about to be deleted, and what is known of its ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimView {
    /// Its ordinal.
    pub ordinal: usize,
    /// Whether the set should have that ordinal.
    pub in_range: bool,
    /// Whether the ordinal has a pod.
    pub has_pod: bool,
    /// Whether claims go after a scale-down.
    pub when_scaled_delete: bool,
    /// Whether claims go with the set.
    pub when_deleted_delete: bool,
    /// Whether the set is gone.
    pub set_gone: bool,
}

/// S9: a claim is deleted only after a scale-down whose policy says so, when its pod is gone; or with its set, if the
/// policy says so.
pub fn s9_claim_is_deleted_for_a_reason(claim: &ClaimView) -> Result<(), Violation> {
    let scaled = claim.when_scaled_delete && !claim.in_range && !claim.has_pod;
    let deleted = claim.when_deleted_delete && claim.set_gone;
    hold("S9", scaled || deleted, || {
        format!("the claim of ordinal {} is deleted for no reason: {claim:?}", claim.ordinal)
    })
}

/// The claim of a pod that is about to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimState {
    /// Whether it exists.
    pub exists: bool,
    /// Whether its deletion was requested.
    pub deleting: bool,
    /// Whether it was made for another set.
    pub foreign: bool,
    /// Whether all that own it are gone, so that it will be deleted.
    pub orphaned: bool,
}

/// S10: a pod is created only when its claim exists, is not going and will not go, and was made for this set.
pub fn s10_claims_are_there(ordinal: usize, claim: ClaimState) -> Result<(), Violation> {
    let fit = claim.exists && !claim.deleting && !claim.foreign && !claim.orphaned;
    hold("S10", fit, || format!("pod {ordinal} is created on {claim:?}"))
}

/// S22: no action of a set changes an object of another.
pub fn s22_only_our_own(ours: bool, object: &str) -> Result<(), Violation> {
    hold("S22", ours, || format!("{object} belongs to another set and is changed"))
}
