//! The real planners, asked as the coordinator asks them.

use domain::{OrdinalPlan, OrdinalRequest, UpdatePlan, UpdateRequest};

/// What both planners of pods answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The update planner.
    pub update: UpdatePlan,
    /// The ordinal scheduler.
    pub order: OrdinalPlan,
}

/// Asks the update planner, then the ordinal scheduler.
#[must_use]
pub fn ask(request: &UpdateRequest) -> Answer {
    let update = update_planner::plan::plan(request);
    let question = OrdinalRequest { snapshot: request.snapshot.clone(), targets: update.targets.clone() };
    let order = ordinal_scheduler::plan::plan(&question);
    Answer { update, order }
}
