//! The real planners, asked as the coordinator asks them, steady pods in runs, with a mutant between if there is to be one.

use domain::volume::{SetClaimsPlan, SetClaimsRequest};
use domain::{OrdinalPlan, OrdinalRequest, SetSpec, UpdatePlan, UpdateRequest};

use crate::Mutant;

/// What both planners of pods answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The update planner.
    pub update: UpdatePlan,
    /// The ordinal scheduler.
    pub order: OrdinalPlan,
}

/// The planners.
#[derive(Debug, Clone, Copy)]
pub struct Planners {
    mutant: Option<Mutant>,
}

impl Planners {
    /// The real ones, or with a bug.
    #[must_use]
    pub fn new(mutant: Option<Mutant>) -> Self {
        Self { mutant }
    }

    /// Asks the update planner, then the ordinal scheduler.
    #[must_use]
    pub fn ask(&self, request: &UpdateRequest) -> Answer {
        let mut seen = request.clone();
        if let Some(mutant) = self.mutant {
            mutant.distort_update_request(&mut seen);
        }
        let mut update = update(&seen);
        if self.mutant.is_some_and(Mutant::is_about_replacement) {
            update = UpdatePlan { replace: update.replace, ..self::update(request) };
        }
        let mut question = OrdinalRequest { snapshot: request.snapshot.clone(), targets: update.targets.clone() };
        if let Some(mutant) = self.mutant {
            mutant.distort_order_request(&mut question);
        }
        let order = order(&question);
        let mut answer = Answer { update, order };
        if let Some(mutant) = self.mutant {
            mutant.distort_answer(request, &mut answer);
        }
        answer
    }

    /// Asks the volume planner about a set's claims.
    #[must_use]
    pub fn claims(&self, spec: &SetSpec, request: &SetClaimsRequest) -> SetClaimsPlan {
        let mut seen = request.clone();
        if let Some(mutant) = self.mutant {
            mutant.distort_claims_request(spec, &mut seen);
        }
        let mut plan = volume_claim::plan_set::plan_set(&seen);
        if let Some(mutant) = self.mutant {
            mutant.distort_claims_plan(request, &mut plan);
        }
        plan
    }
}

fn update(request: &UpdateRequest) -> UpdatePlan {
    let mut plan =
        update_planner::plan::plan(&UpdateRequest { snapshot: request.snapshot.in_runs(), ..request.clone() });
    request.snapshot.identify(&mut plan.replace);
    plan
}

fn order(request: &OrdinalRequest) -> OrdinalPlan {
    let told = OrdinalRequest { snapshot: request.snapshot.in_runs(), targets: request.targets.clone() };
    let mut plan = ordinal_scheduler::plan::plan(&told);
    request.snapshot.identify(&mut plan.delete);
    plan
}
