//! Deletions of pods by others that stay within the budget of their set, as evictions do in Kubernetes (StatefulSet rules,
//! section 18). The set's own updates always do: it is the same `maxUnavailable`, over the whole range.

use api::manifest::Kind;
use domain::{Ordinal, Switches, Timestamp, WaitReason, pod_ordinal};
use service_kit::status::StatusBuilder;
use tonic::{Code, Status};

use super::roster::Rosters;
use super::scene::{Glance, Scene};
use crate::error::SERVICE;
use crate::world::{Key, Object, Transaction, World, owners};

/// Refuses the deletion of a pod that its set cannot spare now, and lets the transaction rest on all that says that it can. A
/// pod that no set controls is always spared. One whose machine says nothing may be unavailable.
pub(crate) fn spares(
    world: &World,
    pod: &Object,
    transaction: &mut Transaction,
    (switches, now): (Switches, Timestamp),
) -> Result<(), Status> {
    let Some(key) = set_of(pod) else { return Ok(()) };
    let glance = Glance { draining: false, switches, now, watched_since: now, coming: None };
    let scene = Scene::take(world, &Rosters::default(), &key, glance);
    let scene = scene.map_err(|error| Status::internal(error.to_string()))?;
    let Some(scene) = scene.filter(|scene| pod.controller_uid() == Some(&*scene.set.uid().0)) else { return Ok(()) };
    let Some(ordinal) = pod_ordinal(&key.name, &pod.key.name) else { return Ok(()) };
    let spared = scene.snapshot.spares(ordinal, |ordinal| scene.lost_machine(ordinal).is_some());
    spared.map_err(|reason| refused(&pod.key, &key, &reason))?;
    transaction.unchanged(&scene.set);
    transaction.pods_untouched(&key, Ordinal(Ordinal::MAX.0 + 1), scene.revision);
    Ok(())
}

/// The set that a pod names as its controller.
fn set_of(pod: &Object) -> Option<Key> {
    let uid = pod.controller_uid()?;
    let controller = owners(&pod.value).find(|owner| owner.get("uid").is_some_and(|found| found == uid))?;
    let name = controller.get("name")?.as_str().filter(|_| controller["kind"] == "StatefulSet")?;
    Some(Key::new(Kind::StatefulSet, &pod.key.namespace, name))
}

fn refused(pod: &Key, set: &Key, reason: &WaitReason) -> Status {
    let message = format!(
        "pod {:?} is not deleted: of set {:?} {reason}; wait until they are available, or delete it whatever its budget",
        pod.name, set.name
    );
    let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "BUDGET_SPENT", message.clone());
    status.precondition("BUDGET", &set.name, message).build()
}
