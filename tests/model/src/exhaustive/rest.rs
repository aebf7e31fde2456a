//! What must hold once nothing happens any more: S19, L2 and S21.

use super::desk::Decision;
use super::people::waits_for_deletion;
use super::plans::Plans;
use super::world::{Health, World, letter};
use crate::checks::{Violation, hold};
use crate::planners::Answer;

/// The set is as its spec says, as far as it does not wait for people; its status too; and a further pass writes nothing.
pub(super) fn check(plans: &Plans, world: &World) -> Result<(), Violation> {
    let plan = plans.writes(plans.of(world));
    hold("S19", plan.is_empty(), || format!("a pass over a set at rest writes {plan:?}; at {world}"))?;
    let held = is_held(plans, world);
    let wrong = (0..world.pods.len()).find(|place| !is_right(plans, world, *place, held));
    hold("L2", wrong.is_none(), || {
        let Decision { answer: Answer { update, order }, claims, .. } = plans.desk().ask(world);
        let waits = order.waits.iter().chain(&claims.waits).chain(&update.waits);
        let waits: Vec<String> = waits.map(|wait| wait.reason.to_string()).collect();
        format!("ordinal {} never comes right (waits: {}); at {world}", wrong.unwrap_or_default(), waits.join("; "))
    })?;
    let claim = (0..world.claims.len()).find(|place| !world.claim_is_right(*place, plans.config()));
    hold("L2", claim.is_none(), || format!("claim {} never comes right; at {world}", claim.unwrap_or_default()))?;
    status(world)
}

/// Whether an ordinal that waits for people holds up others: in order, one that is not healthy does.
fn is_held(plans: &Plans, world: &World) -> bool {
    let view = world.view(plans.config());
    let waits = |place| waits_for_deletion(world, place) || world.is_taken(place);
    view.ordered && view.range().any(|place| waits(place) && !view.healthy(place))
}

/// Whether an ordinal needs no more work: its pod is there, healthy and updated, or out of range and gone. One that waits
/// for people may be neither, and where it holds up others those may be missing, outdated, or not gone. In any order, one
/// that is missing because its name is taken uses up the budget of an update.
fn is_right(plans: &Plans, world: &World, place: usize, held: bool) -> bool {
    let view = world.view(plans.config());
    match world.pods[place] {
        None => held || world.is_taken(place) || !view.in_range[place],
        Some(_) if !view.in_range[place] => held,
        Some(pod) => {
            let outdated = view.updatable(place) && pod.image != world.image;
            let starved = world.taken().is_some_and(|taken| view.in_range[usize::from(taken)]);
            held || waits_for_deletion(world, place) || (view.healthy(place) && (!outdated || starved))
        }
    }
}

/// S21: the status counts what there is, and a complete update is promoted.
fn status(world: &World) -> Result<(), Violation> {
    let all = world.pods().count() as u8;
    let ready = world.pods().filter(|(_, pod)| pod.health == Health::Ready).count() as u8;
    let at = |image| world.pods().filter(|(_, pod)| pod.image == image).count() as u8;
    let expected = [all, ready, ready, at(world.status.current), at(world.image)];
    let right = world.status.counts == expected && world.status.update == world.image && world.observed;
    hold("S21", right, || format!("the status of a set at rest is wrong, not {expected:?}; at {world}"))?;
    let updated = |place: u8| world.pods[usize::from(place)].is_some_and(|pod| pod.image == world.image);
    let complete = (0..world.replicas).all(updated) && (all > 0 || world.partition() == 0);
    let promoted = !complete || world.status.current == world.image;
    hold("S21", promoted, || format!("every pod is updated and {} is not current; at {world}", letter(world.image)))
}
