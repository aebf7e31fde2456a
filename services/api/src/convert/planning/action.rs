//! Actions and wait reasons.

use domain::{Guard, Ordinal, PodCreation, PodDeletion, RevisionName, Uid, Wait, WaitReason};

use super::{filled, ordinal};
use crate::convert::{Violations, to_timestamp};
use crate::proto::planning::v1 as proto;
use crate::proto::planning::v1::wait::Reason;

/// What is said of a reason that only a later version can read.
const UNKNOWN_REASON: &str = "for a reason that this version does not know";

impl From<Guard> for proto::Guard {
    fn from(guard: Guard) -> Self {
        match guard {
            Guard::Pod => Self::Pod,
            Guard::Predecessors => Self::Predecessors,
            Guard::AllPods => Self::AllPods,
        }
    }
}

impl TryFrom<proto::Guard> for Guard {
    type Error = Violations;

    fn try_from(guard: proto::Guard) -> Result<Self, Violations> {
        match guard {
            proto::Guard::Unspecified => Err(Violations::of("", "is required")),
            proto::Guard::Pod => Ok(Self::Pod),
            proto::Guard::Predecessors => Ok(Self::Predecessors),
            proto::Guard::AllPods => Ok(Self::AllPods),
        }
    }
}

impl From<PodCreation> for proto::PodCreation {
    fn from(creation: PodCreation) -> Self {
        Self {
            ordinal: creation.ordinal.0,
            revision: creation.revision.to_string(),
            guard: proto::Guard::from(creation.guard).into(),
        }
    }
}

impl TryFrom<proto::PodCreation> for PodCreation {
    type Error = Violations;

    fn try_from(creation: proto::PodCreation) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", creation.ordinal);
        let revision = RevisionName(filled(&mut violations, "revision", creation.revision).into());
        let guard = violations.enumeration::<proto::Guard, _>("guard", creation.guard);
        violations.finish(guard.map(|guard| Self { ordinal, revision, guard }))
    }
}

impl From<PodDeletion> for proto::PodDeletion {
    fn from(deletion: PodDeletion) -> Self {
        Self {
            ordinal: deletion.ordinal.0,
            uid: deletion.uid.0,
            why: deletion.why,
            guard: proto::Guard::from(deletion.guard).into(),
        }
    }
}

impl TryFrom<proto::PodDeletion> for PodDeletion {
    type Error = Violations;

    /// Without a uid where its pod was in a run of steady ones: [`domain::Snapshot::identify`] has it.
    fn try_from(deletion: proto::PodDeletion) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", deletion.ordinal);
        let uid = Uid(deletion.uid);
        let guard = violations.enumeration::<proto::Guard, _>("guard", deletion.guard);
        violations.finish(guard.map(|guard| Self { ordinal, uid, why: deletion.why, guard }))
    }
}

impl From<Wait> for proto::Wait {
    fn from(wait: Wait) -> Self {
        Self { ordinal: wait.ordinal.map(|ordinal| ordinal.0), reason: Some(wait.reason.into()) }
    }
}

impl TryFrom<proto::Wait> for Wait {
    type Error = Violations;

    /// A reason that only a later version knows becomes [`WaitReason::Other`].
    fn try_from(wait: proto::Wait) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let place = wait.ordinal.map(|number| ordinal(&mut violations, "ordinal", number));
        let unknown = || WaitReason::Other { message: UNKNOWN_REASON.to_owned() };
        let reason = wait.reason.map_or_else(|| Ok(unknown()), WaitReason::try_from);
        let reason = reason.map_err(|inner| violations.0.extend(inner.0)).ok();
        violations.finish(reason.map(|reason| Self { ordinal: place, reason }))
    }
}

impl From<WaitReason> for Reason {
    fn from(reason: WaitReason) -> Self {
        let who = |ordinal: Ordinal| proto::OrdinalReason { ordinal: ordinal.0 };
        match reason {
            WaitReason::Pending { ordinal } => Self::Pending(who(ordinal)),
            WaitReason::NotReady { ordinal } => Self::NotReady(who(ordinal)),
            WaitReason::NotYetAvailable { ordinal, at } => {
                Self::NotYetAvailable(proto::NotYetAvailable { ordinal: ordinal.0, at: at.map(to_timestamp) })
            }
            WaitReason::Terminating { ordinal } => Self::Terminating(who(ordinal)),
            WaitReason::Missing { ordinal } => Self::Missing(who(ordinal)),
            WaitReason::Ended { ordinal } => Self::Ended(who(ordinal)),
            WaitReason::ScalingDown { ordinal } => Self::ScalingDown(who(ordinal)),
            WaitReason::BudgetSpent { unavailable, max_unavailable } => {
                Self::BudgetSpent(proto::BudgetSpent { unavailable, max_unavailable })
            }
            WaitReason::Partition { partition } => Self::Partition(partition),
            WaitReason::OnDelete => Self::OnDelete(true),
            WaitReason::Paused => Self::Paused(true),
            WaitReason::BackOff { ordinal, until } => {
                Self::BackOff(proto::BackOff { ordinal: ordinal.0, until: Some(to_timestamp(until)) })
            }
            WaitReason::ClaimTerminating { claim } => Self::ClaimTerminating(claim),
            WaitReason::ClaimStale { claim } => Self::ClaimStale(claim),
            WaitReason::ClaimForeign { claim, owner } => Self::ClaimForeign(proto::ClaimForeign { claim, owner }),
            WaitReason::NameTaken { pod, uid } => Self::NameTaken(proto::NameTaken { pod, uid: uid.0 }),
            WaitReason::ServiceUnavailable { service, error } => {
                Self::ServiceUnavailable(proto::ServiceUnavailable { service, error })
            }
            WaitReason::Other { message } => Self::Other(message),
        }
    }
}

impl TryFrom<Reason> for WaitReason {
    type Error = Violations;

    fn try_from(reason: Reason) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let mut who = |field: &str, number: u32| ordinal(&mut violations, &format!("{field}.ordinal"), number);
        let reason = match reason {
            Reason::Pending(of) => Self::Pending { ordinal: who("pending", of.ordinal) },
            Reason::NotReady(of) => Self::NotReady { ordinal: who("not_ready", of.ordinal) },
            Reason::NotYetAvailable(of) => Self::NotYetAvailable {
                ordinal: who("not_yet_available", of.ordinal),
                at: violations.timestamp("not_yet_available.at", of.at),
            },
            Reason::Terminating(of) => Self::Terminating { ordinal: who("terminating", of.ordinal) },
            Reason::Missing(of) => Self::Missing { ordinal: who("missing", of.ordinal) },
            Reason::Ended(of) => Self::Ended { ordinal: who("ended", of.ordinal) },
            Reason::ScalingDown(of) => Self::ScalingDown { ordinal: who("scaling_down", of.ordinal) },
            Reason::BudgetSpent(of) => {
                Self::BudgetSpent { unavailable: of.unavailable, max_unavailable: of.max_unavailable }
            }
            Reason::Partition(partition) => Self::Partition { partition },
            Reason::OnDelete(_) => Self::OnDelete,
            Reason::Paused(_) => Self::Paused,
            Reason::BackOff(of) => Self::BackOff {
                ordinal: who("back_off", of.ordinal),
                until: violations.timestamp("back_off.until", of.until).unwrap_or_default(),
            },
            Reason::ClaimTerminating(claim) => Self::ClaimTerminating { claim },
            Reason::ClaimStale(claim) => Self::ClaimStale { claim },
            Reason::ClaimForeign(of) => Self::ClaimForeign { claim: of.claim, owner: of.owner },
            Reason::NameTaken(of) => Self::NameTaken { pod: of.pod, uid: Uid(of.uid) },
            Reason::ServiceUnavailable(of) => Self::ServiceUnavailable { service: of.service, error: of.error },
            Reason::Other(message) => Self::Other { message },
        };
        violations.finish(Some(reason))
    }
}
