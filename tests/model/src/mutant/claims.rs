//! What the planner of claims sees and says, with a bug.

use domain::volume::{SetClaimsPlan, SetClaimsRequest};
use domain::{SetSpec, WaitReason};

use super::Mutant;

impl Mutant {
    /// What it sees.
    pub(crate) fn distort_claims_request(self, spec: &SetSpec, request: &mut SetClaimsRequest) {
        request.switches = self.switches(request.switches);
        if self == Self::ClaimRangeIgnoresReserved {
            for ordinal in &mut request.ordinals {
                let place = ordinal.ordinal.0;
                ordinal.in_range = (spec.start.0..spec.start.0 + spec.replicas).contains(&place);
            }
        }
    }

    /// What it says. `request` is what was really the case.
    pub(crate) fn distort_claims_plan(self, request: &SetClaimsRequest, plan: &mut SetClaimsPlan) {
        match self {
            Self::ClaimWaitsIgnored => {
                plan.waits.retain(|wait| !matches!(wait.reason, WaitReason::ClaimTerminating { .. }));
            }
            Self::BootsOnOldClaim => {
                plan.waits.retain(|wait| !matches!(wait.reason, WaitReason::ClaimStale { .. }));
            }
            Self::OwnersNotChanged => plan.owners.clear(),
            Self::MemberStaysDecommissioned => plan.owners.retain(|change| {
                let claim = request.claims.iter().find(|claim| claim.name == change.claim);
                claim.is_none_or(|claim| claim.owners.iter().all(|owner| owner.kind != "Pod"))
            }),
            _ => {}
        }
    }
}
