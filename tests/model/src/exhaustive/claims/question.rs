//! What the planner of claims is asked, as the coordinator asks it, and what it answers.

use domain::volume::{ClaimOrdinal, ClaimTemplate, OwnerReference, SetClaim, SetClaimsPlan, SetClaimsRequest};
use domain::{Ordinal, OrdinalPlan, PodManagementPolicy, Snapshot, Uid, claim_name, pod_name};

use super::Owner;
use crate::exhaustive::Config;
use crate::exhaustive::decision::Write;
use crate::exhaustive::desk::{SET, pod_uid, set_ref};
use crate::exhaustive::world::World;

/// Name of the claim template.
const TEMPLATE: &str = "data";

/// About every ordinal that has a pod or is to get one.
pub(in crate::exhaustive) fn of(
    world: &World,
    config: &Config,
    snapshot: &Snapshot,
    order: &OrdinalPlan,
) -> SetClaimsRequest {
    let existing = snapshot.pods.iter().map(|pod| ClaimOrdinal::of(&snapshot.spec, pod));
    let coming = order.create.iter().map(ClaimOrdinal::to_create);
    let mut ordinals: Vec<_> = existing.chain(coming).collect();
    ordinals.sort_by_key(|ordinal| ordinal.ordinal);
    let claims = ordinals.iter().filter_map(|asked| stored(world, asked.ordinal)).collect();
    let parallel = snapshot.spec.policy == PodManagementPolicy::Parallel;
    SetClaimsRequest {
        set: set_ref(),
        retention: world.retention(config),
        templates: vec![ClaimTemplate { name: TEMPLATE.to_owned(), ..ClaimTemplate::default() }],
        ordinals,
        scaling_down: parallel || snapshot.first_unhealthy().is_none(),
        abandoned: snapshot.abandoned(),
        claims,
        switches: config.switches,
        ..SetClaimsRequest::default()
    }
}

/// The claim of an ordinal, as its planner sees it.
fn stored(world: &World, ordinal: Ordinal) -> Option<SetClaim> {
    let claim = world.claims[ordinal.0 as usize]?;
    let owner = |api_version: &str, kind: &str, name: String, uid: Uid| {
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        OwnerReference { api_version, kind, name, uid, controller: true, block_owner_deletion: true }
    };
    let pod = |uid: Uid| owner("v1", "Pod", pod_name(SET, ordinal), uid);
    let owners = match claim.owner {
        Owner::Nobody => Vec::new(),
        Owner::Set => vec![owner("apps/v1", "StatefulSet", SET.to_owned(), set_ref().uid)],
        Owner::Pod => vec![pod(pod_uid(ordinal))],
        Owner::FormerPod => vec![pod(Uid(format!("former-{ordinal}")))],
    };
    Some(SetClaim {
        name: claim_name(TEMPLATE, SET, ordinal),
        uid: Uid(format!("claim-{ordinal}")),
        version: 1,
        deleting: claim.going,
        made_for: SET.to_owned(),
        owners,
        ..SetClaim::default()
    })
}

/// The writes of a plan, in the executor's order.
pub(in crate::exhaustive) fn writes(plan: &SetClaimsPlan) -> impl Iterator<Item = Write> + '_ {
    let owned = plan.owners.iter().map(|change| {
        let (ordinal, owner) = (change.ordinal.0 as u8, owner_among(&change.owners));
        Write::Own { ordinal, owner }
    });
    owned.chain(plan.create.iter().map(|creation| {
        let (ordinal, owner) = (creation.ordinal.0 as u8, owner_among(&creation.owners));
        Write::CreateClaim { ordinal, owner }
    }))
}

fn owner_among(owners: &[OwnerReference]) -> Owner {
    match owners.first().map(|owner| owner.kind.as_str()) {
        None => Owner::Nobody,
        Some("Pod") => Owner::Pod,
        Some(_) => Owner::Set,
    }
}
