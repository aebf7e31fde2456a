//! The end of a set: at once, after its pods, or after its pods have stopped in order.

use std::sync::Arc;

use api::manifest::Kind;
use domain::{Switches, Timestamp, Wait, WaitReason};
use serde_json::{Value, json};
use service_kit::status::StatusBuilder;
use tonic::{Code, Status};

use super::owner_sets;
use super::scene::{ORDERED_DELETION, REVISION_LABEL, Scene};
use crate::error::SERVICE;
use crate::objects::{api_group, object_mut, time_text};
use crate::pods::lifecycle;
use crate::store::BATCH_BYTES_MAX;
use crate::world::{Change, Key, Object, Transaction, View, World, owners};

/// Finalizer of a set that goes after all that it owns, and whose pods stop in no order; as in Kubernetes.
const FOREGROUND_DELETION: &str = "foregroundDeletion";

/// Finalizer of a set that goes as soon as it has let go of all that it owns; as in Kubernetes.
const ORPHAN_DEPENDENTS: &str = "orphan";

/// What one commit asks to stop, or lets go.
const OBJECTS_AT_ONCE_MAX: usize = 512;

/// Bytes of that commit, roughly: half of what the store takes at once.
const BYTES_AT_ONCE_MAX: usize = BATCH_BYTES_MAX / 2;

/// Kinds of what a set owns that goes with it.
const DEPENDENTS: [Kind; 3] = [Kind::Pod, Kind::PersistentVolumeClaim, Kind::ControllerRevision];

/// What becomes of the pods of a set that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cascade {
    /// They stop in order, highest ordinal first; then the set goes. Ours.
    Ordered,
    /// The set goes at once; its pods are collected in no order.
    Background,
    /// They are all asked to stop at once; the set goes after the last of them, its revisions and its claims.
    Foreground,
    /// They go on without it.
    Orphan,
}

impl Cascade {
    /// Reads an option of a request; empty means ordered, or background as in Kubernetes without the switch
    /// `delete_in_order`.
    pub(crate) fn parse(text: &str, switches: Switches) -> Option<Self> {
        match text {
            "" if !switches.delete_in_order => Some(Self::Background),
            "" | "ordered" => Some(Self::Ordered),
            "background" => Some(Self::Background),
            "foreground" => Some(Self::Foreground),
            "orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

/// Requests the deletion of a set.
pub(crate) fn request(world: &World, set: &Object, cascade: Cascade, now: Timestamp) -> Transaction {
    let mut transaction = Transaction::default();
    match cascade {
        // Some of it may be free already: nobody can take that back.
        _ if lets_go(set) => return let_go(world, set, now),
        Cascade::Orphan => return let_go(world, set, now),
        Cascade::Ordered => mark(set, ORDERED_DELETION, now, &mut transaction),
        Cascade::Foreground => {
            mark(set, FOREGROUND_DELETION, now, &mut transaction);
            let pods: Vec<_> = world.view(|view| view.controlled_by(&set.uid().0, Kind::Pod).cloned().collect());
            for pod in &pods {
                // The collector asks the rest.
                if is_full(&transaction) {
                    break;
                }
                lifecycle::delete(&mut transaction, pod, None, now);
            }
        }
        Cascade::Background => transaction.delete(set),
    }
    transaction
}

/// Lets go of what a set owns, as much as one commit takes, and of a set that is marked then of itself. It is not marked
/// before: a pass under way may still commit what the set is to own, and only its next one is sure to see that.
pub(super) fn let_go(world: &World, set: &Object, now: Timestamp) -> Transaction {
    let mut transaction = Transaction::default();
    mark(set, ORPHAN_DEPENDENTS, now, &mut transaction);
    for owned in owned(world, set) {
        if is_full(&transaction) {
            return transaction;
        }
        transaction.update(&owned, without_owner(&owned, &set.uid().0));
    }
    if lets_go(set) {
        transaction.delete(set);
    }
    transaction
}

/// Whether a set was asked to go without what it owns, and has not let go of all of it.
pub(super) fn lets_go(set: &Object) -> bool {
    is_held_by(set, ORPHAN_DEPENDENTS)
}

fn is_full(transaction: &Transaction) -> bool {
    transaction.len() >= OBJECTS_AT_ONCE_MAX || transaction.bytes() >= BYTES_AT_ONCE_MAX
}

/// Keeps a set that goes until what it waits for is gone. From then on none of its pods is replaced. One that stops its
/// pods in order can still be asked to go after all that it owns, and either to go without it.
fn mark(set: &Object, finalizer: &str, now: Timestamp, transaction: &mut Transaction) {
    let asked = match finalizer {
        ORPHAN_DEPENDENTS => lets_go(set),
        FOREGROUND_DELETION => goes_last(set),
        _ => set.deleting(),
    };
    if asked {
        return;
    }
    let mut value = set.value.clone();
    let metadata = object_mut(&mut value, "metadata");
    metadata.entry("deletionTimestamp").or_insert_with(|| time_text(now).into());
    metadata.insert("finalizers".into(), json!([finalizer]));
    transaction.update(set, value);
}

/// Makes sure that no set needs a revision that somebody wants to delete (StatefulSet rules, section 5.3), now and when
/// the transaction is committed.
///
/// # Errors
/// `REVISION_IN_USE`, with who uses it and what to do instead.
pub(crate) fn unused_revision(world: &World, revision: &Object, transaction: &mut Transaction) -> Result<(), Status> {
    let name = revision.key.name.as_str();
    let sets = world.list(Kind::StatefulSet, Some(&revision.key.namespace));
    let Some(set) = sets.iter().find(|set| revision.controller_uid() == Some(set.uid().0.as_str())) else {
        return Ok(());
    };
    transaction.unchanged(set);
    let carried = |object: &Arc<Object>| object.kind() == Kind::Pod && object.label(REVISION_LABEL) == Some(name);
    let pod = owned(world, set).into_iter().find(carried);
    let user = if set.text("/status/currentRevision") == name {
        format!("it is the current revision of statefulset {:?}", set.key.name)
    } else if set.text("/status/updateRevision") == name {
        format!("it is the update revision of statefulset {:?}", set.key.name)
    } else if let Some(pod) = pod {
        format!("pod {:?} runs it", pod.key.name)
    } else {
        return Ok(());
    };
    let message = format!(
        "controllerrevision {name:?} cannot be deleted: {user}; roll the set out to another revision first, or leave old \
         revisions to spec.revisionHistoryLimit"
    );
    let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "REVISION_IN_USE", message.clone());
    Err(status.precondition("REVISION", name, message).build())
}

/// Removes a set whose pods are gone, with its revisions; none where it has to wait for what it owns. Claims are left to
/// their owner references.
pub(super) fn finish(scene: &Scene, world: &World) -> Option<Transaction> {
    let mut transaction = Transaction::default();
    if goes_last(&scene.set) {
        if world.view(|view| blocking(view, &scene.set).next().is_some()) {
            return None;
        }
    } else {
        for object in owned(world, &scene.set) {
            if object.kind() == Kind::ControllerRevision {
                transaction.delete(&object);
            }
        }
    }
    transaction.delete(&scene.set);
    Some(transaction)
}

/// Whether a set goes last and has no members any more. What it waits for then is not made again.
pub(super) fn only_waits(scene: &Scene) -> bool {
    goes_last(&scene.set) && scene.members.is_empty()
}

/// Why a set that only waits is still there.
pub(super) fn wait(scene: &Scene, world: &World) -> Option<Wait> {
    let dependent = world.view(|view| blocking(view, &scene.set).next().cloned())?;
    let (kind, name) = (dependent.kind(), dependent.key.name.clone());
    let reason = if kind == Kind::PersistentVolumeClaim && dependent.deleting() {
        WaitReason::ClaimTerminating { claim: name }
    } else {
        WaitReason::Other { message: format!("waiting for {} {name}, which the set owns, to be deleted", kind.name()) }
    };
    Some(Wait { ordinal: None, reason })
}

/// Whether a set was asked to go after all that it owns.
fn goes_last(set: &Object) -> bool {
    is_held_by(set, FOREGROUND_DELETION)
}

fn is_held_by(set: &Object, finalizer: &str) -> bool {
    set.kind() == Kind::StatefulSet && set.deleting() && set.finalizers().any(|held| held == finalizer)
}

/// Whether a set goes after all that it owns, and has no pods any more. Then the rest of that is to go.
pub(crate) fn has_stopped(view: &View<'_>, set: &Object) -> bool {
    goes_last(set)
        && !view.owned(&set.uid().0, Kind::Pod).any(|pod| owners(&pod.value).any(|owner| names(pod, owner, set)))
}

/// Whether an owner of an object is this set, wholly named: what only has its uid does not go with it, and cannot keep it.
fn names(object: &Object, owner: &Value, set: &Object) -> bool {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, uid) = (text("apiVersion"), text("uid"));
    let known = set.kind().api_versions().iter().any(|known| api_group(known) == api_group(version));
    let here = object.key.namespace == set.key.namespace && text("name") == set.key.name;
    known && here && text("kind") == set.kind().name() && uid == set.uid().0
}

/// Whether an object is to go because a set that owns it goes after it: pods first, the rest after the last of them.
pub(crate) fn takes_along(view: &View<'_>, set: &Object, owned: &Object) -> bool {
    match owned.kind() {
        Kind::Pod => goes_last(set),
        kind => DEPENDENTS.contains(&kind) && has_stopped(view, set),
    }
}

/// What a set that goes last waits for: all that it owns and that says so, as all does that it has made.
fn blocking<'a>(view: &'a View<'_>, set: &Object) -> impl Iterator<Item = &'a Arc<Object>> {
    let blocks = |object: &Object, owner: &Value| {
        owner.get("blockOwnerDeletion") == Some(&true.into()) && names(object, owner, set)
    };
    let owned = DEPENDENTS.into_iter().flat_map(|kind| view.owned(&set.uid().0, kind));
    owned.filter(move |object| owners(&object.value).any(|owner| blocks(object, owner)))
}

/// What is to go because this change asked a set to go after it, or took the last pod from such a set.
pub(crate) fn condemned(world: &World, change: &Change) -> Vec<Key> {
    let asked = |set: &&Arc<Object>| goes_last(set) && !change.old.as_deref().is_some_and(goes_last);
    let of_set = change.new.iter().filter(asked).cloned();
    let pod = change.old.iter().filter(|old| old.kind() == Kind::Pod);
    let sets: Vec<_> = of_set.chain(pod.flat_map(|pod| owner_sets(pod)).filter_map(|key| world.get(&key))).collect();
    world.view(|view| {
        let owned = |set: &Arc<Object>| DEPENDENTS.map(|kind| view.owned(&set.uid().0, kind)).into_iter().flatten();
        let stopped = sets.iter().filter(|set| change.key == set.key || has_stopped(view, set));
        stopped.flat_map(owned).map(|owned| owned.key.clone()).collect()
    })
}

/// The sets that go last and that this change left without anything to wait for.
pub(super) fn freed(world: &World, change: &Change) -> Vec<Key> {
    let owned = change.old.as_ref().filter(|old| DEPENDENTS.contains(&old.kind()));
    let sets = owned.into_iter().flat_map(|owned| owner_sets(owned)).filter_map(|key| world.get(&key));
    let mut sets: Vec<_> = sets.filter(|set| goes_last(set)).collect();
    world.view(|view| sets.retain(|set| blocking(view, set).next().is_none()));
    sets.iter().map(|set| set.key.clone()).collect()
}

/// Everything a set owns that outlives a change of hands; its decisions do not.
fn owned(world: &World, set: &Object) -> Vec<Arc<Object>> {
    let owned = world.owned_by(&set.uid().0);
    owned.into_iter().filter(|object| object.kind() != Kind::Decision).collect()
}

pub(super) fn without_owner(object: &Object, uid: &str) -> Value {
    let mut value = object.value.clone();
    let metadata = object_mut(&mut value, "metadata");
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        owners.retain(|owner| owner.get("uid").is_none_or(|owner| owner != uid));
        if owners.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
    value
}
