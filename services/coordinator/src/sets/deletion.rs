//! The end of a set: by default after its pods have stopped in order.

use std::sync::Arc;

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::{Value, json};

use super::scene::{ORDERED_DELETION, Scene};
use crate::objects::{object_mut, time_text};
use crate::world::{Object, Transaction, World};

/// What becomes of the pods of a set that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cascade {
    /// They stop in order, highest ordinal first; then the set goes. Ours, and the default.
    Ordered,
    /// The set goes at once; its pods are collected in no order.
    Background,
    /// They go on without it.
    Orphan,
}

impl Cascade {
    /// Reads an option of a request; empty means ordered.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "ordered" | "foreground" => Some(Self::Ordered),
            "background" => Some(Self::Background),
            "orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

/// Requests the deletion of a set.
pub(crate) fn request(world: &World, set: &Object, cascade: Cascade, now: Timestamp) -> Transaction {
    let mut transaction = Transaction::default();
    match cascade {
        Cascade::Ordered if set.deleting() => {}
        Cascade::Ordered => {
            let mut value = set.value.clone();
            let metadata = object_mut(&mut value, "metadata");
            metadata.insert("deletionTimestamp".into(), time_text(now).into());
            metadata.insert("finalizers".into(), json!([ORDERED_DELETION]));
            transaction.update(set, value);
        }
        Cascade::Background => transaction.delete(set),
        Cascade::Orphan => {
            for owned in owned(world, set) {
                transaction.update(&owned, without_owner(&owned, &set.uid().0));
            }
            transaction.delete(set);
        }
    }
    transaction
}

/// Removes a set whose pods are gone, with its revisions. Claims are left to their owner references.
pub(super) fn finish(scene: &Scene, world: &World) -> Transaction {
    let mut transaction = Transaction::default();
    for object in owned(world, &scene.set) {
        if object.kind() == Kind::ControllerRevision {
            transaction.delete(&object);
        }
    }
    transaction.delete(&scene.set);
    transaction
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
