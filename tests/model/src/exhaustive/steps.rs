//! What can happen, by name.

use std::fmt;

use domain::RetentionRule;

use super::strangers::Stranger;
use super::world::{Strategy, letter};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A coordinator looks and decides.
    Decide,
    /// Another coordinator looks and decides, while the plan of the first is under way. A fault.
    DecideBesides,
    /// The next write of a plan is committed alone; the newer plan is 0.
    CommitOne(u8),
    /// All that is left of a plan is committed at once.
    CommitRest(u8),
    /// What is left of a plan is refused: something has changed since it was decided.
    Refuse(u8),
    /// A plan is lost: its coordinator has crashed, or a message has. A fault.
    Lose(u8),
    /// The containers of a pod start.
    Start(u8),
    /// A pod that was asked to go is gone.
    Vanish(u8),
    /// A pod of a good template is ready again.
    Recover(u8),
    /// A pod has no longer the company without which it is not ready.
    Alone(u8),
    /// A silent machine is heard again.
    ComeBack(u8),
    /// A silent machine dies.
    Die(u8),
    /// Somebody who knows that a machine is dead fences it.
    Fence(u8),
    /// A machine ends what it has left of a released pod.
    GhostEnds(u8),
    /// The collector finds that all owners of a claim are gone.
    Collect(u8),
    /// A claim that was asked to go is gone.
    ClaimGone(u8),
    /// Somebody deletes the pod that is no member.
    DeleteStranger,
    /// That pod is gone.
    StrangerGone,
    /// Time passes.
    Wait,
    /// The machine of a pod falls silent. A fault.
    Silence(u8),
    /// A pod stops being ready. A fault.
    Break(u8),
    /// A pod ends. A fault.
    Fail(u8),
    /// Somebody deletes a pod. A fault.
    Delete(u8),
    /// Somebody deletes a claim. A fault.
    DeleteClaim(u8),
    /// A pod turns up that is no member. A fault.
    Appear(Stranger),
    /// Somebody takes the labels off a pod. A fault.
    Relabel(u8),
    /// Somebody changes the template.
    Image(u8),
    /// Somebody scales the set.
    Replicas(u8),
    /// Somebody changes the strategy, or moves its partition.
    Strategy(Strategy),
    /// Somebody changes what becomes of claims after a scale-down.
    WhenScaled(RetentionRule),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = |slot: &u8| if *slot == 0 { "the plan" } else { "the older plan" };
        match self {
            Self::Decide => f.write_str("a coordinator looks and decides"),
            Self::DecideBesides => f.write_str("FAULT: another coordinator decides too"),
            Self::CommitOne(slot) => write!(f, "the next write of {} is committed", plan(slot)),
            Self::CommitRest(slot) => write!(f, "the rest of {} is committed", plan(slot)),
            Self::Refuse(slot) => write!(f, "the rest of {} is refused", plan(slot)),
            Self::Lose(slot) => write!(f, "FAULT: {} is lost", plan(slot)),
            Self::Start(ordinal) => write!(f, "pod {ordinal} starts"),
            Self::Vanish(ordinal) => write!(f, "pod {ordinal} is gone"),
            Self::Recover(ordinal) => write!(f, "pod {ordinal} is ready again"),
            Self::Alone(ordinal) => write!(f, "pod {ordinal} is not ready any more, for want of the others"),
            Self::ComeBack(ordinal) => write!(f, "the machine of pod {ordinal} is heard again"),
            Self::Die(ordinal) => write!(f, "the machine of pod {ordinal} dies"),
            Self::Fence(ordinal) => write!(f, "the machine of pod {ordinal} is fenced"),
            Self::GhostEnds(ordinal) => write!(f, "a machine ends its released pod {ordinal}"),
            Self::Silence(ordinal) => write!(f, "FAULT: the machine of pod {ordinal} falls silent"),
            Self::Collect(ordinal) => write!(f, "the collector looks at claim {ordinal}"),
            Self::ClaimGone(ordinal) => write!(f, "claim {ordinal} is gone"),
            Self::DeleteStranger => f.write_str("somebody deletes the strange pod"),
            Self::StrangerGone => f.write_str("the strange pod is gone"),
            Self::Wait => f.write_str("time passes"),
            Self::Break(ordinal) => write!(f, "FAULT: pod {ordinal} is not ready any more"),
            Self::Fail(ordinal) => write!(f, "FAULT: pod {ordinal} ends"),
            Self::Delete(ordinal) => write!(f, "FAULT: somebody deletes pod {ordinal}"),
            Self::DeleteClaim(ordinal) => write!(f, "FAULT: somebody deletes claim {ordinal}"),
            Self::Appear(stranger) => write!(f, "FAULT: there is {stranger}"),
            Self::Relabel(ordinal) => write!(f, "FAULT: somebody takes the labels off pod {ordinal}"),
            Self::Image(image) => write!(f, "EDIT: template {}", letter(*image)),
            Self::Replicas(number) => write!(f, "EDIT: {number} replicas"),
            Self::Strategy(strategy) => write!(f, "EDIT: {strategy}"),
            Self::WhenScaled(rule) => write!(f, "EDIT: whenScaled {rule:?}"),
        }
    }
}
