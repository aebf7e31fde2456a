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
/// pod that no set controls is always spared.
pub(crate) fn spares(
    world: &World,
    pod: &Object,
    transaction: &mut Transaction,
    (switches, now): (Switches, Timestamp),
) -> Result<(), Status> {
    let Some((scene, ordinal)) = set_of(world, pod, switches, now) else { return Ok(()) };
    let set = &scene.set.key;
    match scene.snapshot.spares(ordinal) {
        Ok(()) => {
            transaction.unchanged(&scene.set);
            transaction.pods_untouched(set, Ordinal(Ordinal::MAX.0 + 1), scene.revision);
            Ok(())
        }
        Err(reason) => Err(refused(&pod.key, set, &reason)),
    }
}

/// The set that controls a pod, and the pod's ordinal in it.
fn set_of(world: &World, pod: &Object, switches: Switches, now: Timestamp) -> Option<(Scene, Ordinal)> {
    let uid = pod.controller_uid()?;
    let controller = owners(&pod.value).find(|owner| owner.get("uid").is_some_and(|found| found == uid))?;
    let name = controller.get("name")?.as_str().filter(|_| controller["kind"] == "StatefulSet")?;
    let key = Key::new(Kind::StatefulSet, &pod.key.namespace, name);
    let glance = Glance { draining: false, switches, now, watched_since: now, coming: None };
    let scene = Scene::take(world, &Rosters::default(), &key, glance).ok()??;
    let ordinal = pod_ordinal(name, &pod.key.name)?;
    (scene.set.uid().0 == uid).then_some((scene, ordinal))
}

fn refused(pod: &Key, set: &Key, reason: &WaitReason) -> Status {
    let message = format!(
        "pod {:?} is not deleted: of set {:?} {reason}; wait until they are available, raise maxUnavailable, or delete it \
         whatever its budget",
        pod.name, set.name
    );
    let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "BUDGET_SPENT", message.clone());
    status.precondition("BUDGET", &set.name, message).build()
}
