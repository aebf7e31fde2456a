//! The safety rules S1 to S22, one function each, with the number in its name.
//!
//! They are asked about one write at the moment it is committed, of the world as it then is: not of what the planner
//! saw. The exhaustive model and the random clusters ask the same functions.

mod claims;
mod creation;
mod deletion;
mod status;

use std::fmt;

use domain::Switches;

pub use claims::{ClaimState, ClaimView, s9_claim_is_deleted_for_a_reason, s10_claims_are_there, s22_only_our_own};
pub use creation::{
    s1_at_most_one, s1_predecessor_has_ended, s2_members_are_ours, s2_no_name_twice, s3_predecessors_are_available,
    s6_revision_follows_the_partition,
};
pub use deletion::{
    Cause, s4_scale_down_in_order, s5_update_in_order, s7_held_updates_touch_nobody, s7_members_stay_until_they_end,
    s8_within_the_budget, s13_only_the_observed_pod,
};
pub use status::{Counted, s20_live_revisions_stay, s21_counts_are_observed, s21_counts_fit, s21_promotion_is_earned};

/// The most ordinals that a view holds.
pub const ORDINALS_MAX: usize = 12;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which, such as `S3`.
    pub rule: &'static str,
    /// How.
    pub how: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken: {}", self.rule, self.how)
    }
}

/// Breaks the rule unless it holds.
pub(crate) fn hold(rule: &'static str, holds: bool, how: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, how: how() }) }
}

/// A pod as the rules see it. Revisions are numbers, which the caller gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodView {
    /// Its revision.
    pub revision: u8,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is ready and has been so for long enough; says nothing about termination.
    pub available: bool,
    /// Whether it lives and has not been ready for a while.
    pub stalled: bool,
    /// Whether it was asked to go.
    pub terminating: bool,
    /// Whether it will never run again.
    pub ended: bool,
}

impl PodView {
    /// Available and not terminating.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.available && self.ready && !self.terminating
    }
}

/// A set as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whether pods are handled one after another.
    pub ordered: bool,
    /// Whether pods are updated only when somebody deletes them.
    pub on_delete: bool,
    /// Whether updates stand still.
    pub paused: bool,
    /// Whether it is stopping.
    pub stopping: bool,
    /// Up to which ordinal every pod was available at one time: those know each other.
    pub formed: Option<usize>,
    /// Pods that the same plan has just created, as bits: they do not end an outage.
    pub company: u8,
    /// Which ordinals it should have.
    pub in_range: [bool; ORDINALS_MAX],
    /// How many of the lowest stay at the current revision.
    pub partition: u32,
    /// How many may be unavailable for an update's sake.
    pub max_unavailable: u32,
    /// Where it comes from.
    pub current: u8,
    /// Whether the status says so. Before there is one, the planner has to guess, from pods that may go meanwhile.
    pub current_recorded: bool,
    /// Where it goes.
    pub update: u8,
    /// Its pods.
    pub pods: [Option<PodView>; ORDINALS_MAX],
    /// Which mends apply.
    pub switches: Switches,
}

impl View {
    /// An empty set.
    #[must_use]
    pub fn new(switches: Switches) -> Self {
        Self {
            ordered: true,
            on_delete: false,
            paused: false,
            stopping: false,
            formed: None,
            company: 0,
            in_range: [false; ORDINALS_MAX],
            partition: 0,
            max_unavailable: 1,
            current: 0,
            current_recorded: true,
            update: 0,
            pods: [None; ORDINALS_MAX],
            switches,
        }
    }

    /// Ordinals it should have, ascending.
    pub fn range(&self) -> impl DoubleEndedIterator<Item = usize> {
        (0..ORDINALS_MAX).filter(|ordinal| self.in_range[*ordinal])
    }

    /// Whether the pod of an ordinal exists and is healthy.
    #[must_use]
    pub fn healthy(&self, ordinal: usize) -> bool {
        self.pods[ordinal].is_some_and(|pod| pod.healthy())
    }

    /// Whether the lowest ordinal that is not healthy has a pod that makes no headway.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let lowest = self.range().find(|ordinal| !self.healthy(*ordinal));
        lowest.and_then(|lowest| self.pods[lowest]).is_some_and(|pod| pod.stalled)
    }

    /// Position in the range.
    #[must_use]
    pub fn index(&self, ordinal: usize) -> u32 {
        self.range().filter(|other| *other < ordinal).count() as u32
    }

    /// Whether an update may touch the ordinal.
    #[must_use]
    pub fn updatable(&self, ordinal: usize) -> bool {
        self.in_range[ordinal] && self.index(ordinal) >= self.partition
    }

    /// Ordinals in range that are missing or not healthy.
    #[must_use]
    pub fn unavailable(&self) -> u32 {
        self.range().filter(|ordinal| !self.healthy(*ordinal)).count() as u32
    }
}

/// Every rule about the creation of a pod.
///
/// # Errors
/// The first that is broken.
pub fn creation(view: &View, ordinal: usize, revision: u8) -> Result<(), Violation> {
    s1_at_most_one(view, ordinal)?;
    s3_predecessors_are_available(view, ordinal)?;
    s6_revision_follows_the_partition(view, ordinal, revision)
}

/// Every rule about the deletion of a pod.
///
/// # Errors
/// The first that is broken.
pub fn deletion(view: &View, ordinal: usize, cause: Cause) -> Result<(), Violation> {
    match cause {
        Cause::Ended => s7_members_stay_until_they_end(view, ordinal),
        Cause::ScaleDown => s4_scale_down_in_order(view, ordinal),
        Cause::Update => {
            s7_held_updates_touch_nobody(view, ordinal)?;
            s5_update_in_order(view, ordinal)?;
            s8_within_the_budget(view, ordinal)
        }
    }
}

/// Every rule about a status, against the pods it was computed from and the status before.
///
/// # Errors
/// The first that is broken.
pub fn status(view: &View, computed: &Counted, before: &Counted) -> Result<(), Violation> {
    s21_counts_fit(computed)?;
    s21_counts_are_observed(view, computed)?;
    s21_promotion_is_earned(view, computed, before)
}
