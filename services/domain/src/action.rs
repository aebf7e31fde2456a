//! What planners ask the executor to do, and why they do not ask for more.

use serde::{Deserialize, Serialize};

use std::fmt;

use crate::{Cause, Ordinal, RevisionName, Timestamp, Uid};

/// Which stored objects must be unchanged since the snapshot when an action is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Guard {
    /// Only the pod acted on: absent for a creation, the same version for a deletion.
    #[default]
    Pod,
    /// Also every pod of a lower ordinal in range. Ordered creation rests on them.
    Predecessors,
    /// Also every pod of the set. Ordered scale-down and update budgets rest on them.
    AllPods,
}

/// Create the pod of an ordinal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCreation {
    /// Which.
    pub ordinal: Ordinal,
    /// At which revision.
    pub revision: RevisionName,
    /// What must be unchanged.
    pub guard: Guard,
}

/// Delete one incarnation of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDeletion {
    /// Which ordinal.
    pub ordinal: Ordinal,
    /// Which incarnation; empty for a pod of a run (see [`crate::Snapshot::identify`]).
    pub uid: Uid,
    /// Why, in words for a person, such as `updating to web-5d4f`.
    pub why: String,
    /// What must be unchanged.
    pub guard: Guard,
}

/// An ordinal that is not touched now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Which ordinal; none where the whole set waits.
    pub ordinal: Option<Ordinal>,
    /// Why.
    pub reason: WaitReason,
}

/// Why nothing happens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WaitReason {
    /// A predecessor, or the pod itself, has not started all its containers.
    Pending {
        /// Who is pending.
        ordinal: Ordinal,
    },
    /// A pod runs and is not ready.
    NotReady {
        /// Who is not ready.
        ordinal: Ordinal,
    },
    /// A pod is ready, but not yet for `minReadySeconds`.
    NotYetAvailable {
        /// Who is not yet available.
        ordinal: Ordinal,
        /// When it will be, if known.
        at: Option<Timestamp>,
    },
    /// A pod has been asked to stop and is not gone.
    Terminating {
        /// Who is terminating.
        ordinal: Ordinal,
    },
    /// A pod must be created first.
    Missing {
        /// Who is missing.
        ordinal: Ordinal,
    },
    /// A pod has ended and is being replaced first.
    Ended {
        /// Who has ended.
        ordinal: Ordinal,
    },
    /// Pods outside the range are removed before pods are updated.
    ScalingDown {
        /// The highest of them.
        ordinal: Ordinal,
    },
    /// The update's budget is used up.
    BudgetSpent {
        /// Pods that are unavailable.
        unavailable: u32,
        /// How many may be.
        max_unavailable: u32,
    },
    /// The partition leaves this pod on its revision.
    Partition {
        /// Indices below it stay.
        partition: u32,
    },
    /// Under OnDelete a pod is updated when somebody deletes it.
    OnDelete,
    /// Updates of the set stand still.
    Paused,
    /// Pods of this ordinal have ended again and again; the next one waits a while.
    BackOff {
        /// Which.
        ordinal: Ordinal,
        /// When it is created.
        until: Timestamp,
    },
    /// A claim of the ordinal is being deleted; a new one can only be made when it is gone.
    ClaimTerminating {
        /// The claim's name.
        claim: String,
    },
    /// A claim of the ordinal belongs to an earlier pod and waits to be collected.
    ClaimStale {
        /// The claim's name.
        claim: String,
    },
    /// A claim of that name carries the labels of another set.
    ClaimForeign {
        /// The claim's name.
        claim: String,
        /// Who has it.
        owner: String,
    },
    /// A pod that does not belong to the set has the name of the ordinal's.
    NameTaken {
        /// The name.
        pod: String,
        /// Which incarnation has it.
        uid: Uid,
    },
    /// A service that must be asked does not answer.
    ServiceUnavailable {
        /// Which.
        service: String,
        /// What happened.
        error: String,
    },
    /// Something else, said by a later version of a planner.
    Other {
        /// In words.
        message: String,
    },
}

impl WaitReason {
    /// The class of what keeps the pod of `ordinal` from being created; none where the ordinal waits its turn, or for
    /// something that somebody wants.
    #[must_use]
    pub fn hindrance(&self, ordinal: Ordinal) -> Option<Cause> {
        match self {
            Self::ClaimTerminating { .. } | Self::ClaimStale { .. } | Self::ClaimForeign { .. } => Some(Cause::Volume),
            Self::BackOff { .. } => Some(Cause::CrashLoop),
            Self::NameTaken { .. } => Some(Cause::Name),
            Self::Terminating { ordinal: who } => (*who == ordinal).then_some(Cause::Termination),
            Self::Pending { .. }
            | Self::NotReady { .. }
            | Self::NotYetAvailable { .. }
            | Self::Missing { .. }
            | Self::Ended { .. }
            | Self::ScalingDown { .. }
            | Self::BudgetSpent { .. }
            | Self::Partition { .. }
            | Self::OnDelete
            | Self::Paused
            | Self::ServiceUnavailable { .. }
            | Self::Other { .. } => None,
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending { ordinal } => write!(f, "waiting for pod {ordinal} to start its containers"),
            Self::NotReady { ordinal } => write!(f, "waiting for pod {ordinal} to become ready"),
            Self::NotYetAvailable { ordinal, .. } => {
                write!(f, "waiting for pod {ordinal} to stay ready for minReadySeconds")
            }
            Self::Terminating { ordinal } => write!(f, "waiting for pod {ordinal} to terminate"),
            Self::Missing { ordinal } => write!(f, "waiting for pod {ordinal} to be created"),
            Self::Ended { ordinal } => write!(f, "waiting for pod {ordinal}, which has ended, to be replaced"),
            Self::ScalingDown { ordinal } => write!(f, "waiting for scale-down to remove pod {ordinal}"),
            Self::BudgetSpent { unavailable, max_unavailable } => {
                write!(f, "{unavailable} unavailable, at most {max_unavailable} may be")
            }
            Self::Partition { partition } => write!(f, "held back by partition {partition}"),
            Self::OnDelete => f.write_str("strategy OnDelete: delete the pod to update it"),
            Self::Paused => f.write_str("updates are paused: resume the rollout"),
            Self::BackOff { ordinal, .. } => {
                write!(f, "pods of ordinal {ordinal} have ended again and again: waiting before the next one")
            }
            Self::ClaimTerminating { claim } => write!(f, "waiting for claim {claim}, which is being deleted"),
            Self::ClaimStale { claim } => write!(f, "waiting for claim {claim} of an earlier pod to be collected"),
            Self::ClaimForeign { claim, owner } => {
                write!(f, "claim {claim} belongs to {owner}: rename the set or the claim template")
            }
            Self::NameTaken { pod, uid } => {
                write!(f, "pod {pod} with uid {uid} exists and does not belong to this set")
            }
            Self::ServiceUnavailable { service, error } => write!(f, "{service} does not answer: {error}"),
            Self::Other { message } => f.write_str(message),
        }
    }
}
