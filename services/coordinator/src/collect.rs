//! Collection: objects whose owners are gone go too, and records that only inform are kept within bounds.
//!
//! Unknown is never gone. An owner counts as gone only when its key is read from the complete state and holds nothing,
//! or another incarnation.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::Value;
use service_kit::Context;

use crate::driver::{Controller, Outcome};
use crate::events::last_seen;
use crate::objects::{object_mut, time_text};
use crate::pods::lifecycle;
use crate::pods::read::phase;
use crate::store::CommitError;
use crate::world::{Change, Key, Object, Transaction, View, World};

/// Events kept per namespace: those of the last rollouts of a busy machine.
const EVENTS_PER_NAMESPACE_MAX: usize = 1000;

/// Events beyond the bound that may pile up before they are removed, so that not every event costs a removal.
const EVENTS_SLACK: usize = 100;

/// Kinds that have owners, or finalizers of ours that somebody else may release last.
const COLLECTED: [Kind; 5] =
    [Kind::Decision, Kind::ControllerRevision, Kind::Pod, Kind::PersistentVolumeClaim, Kind::PersistentVolume];

/// Objects collected in one commit.
const COLLECTED_AT_ONCE_MAX: usize = 256;

/// Collects.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) world: Arc<World>,
    pub(crate) context: Context,
}

impl Controller for Collector {
    type Key = ();
    const NAME: &'static str = "collector";

    fn keys(&self, _: &World) -> Vec<()> {
        vec![()]
    }

    fn affected(&self, _: &World, change: &Change) -> Vec<()> {
        let gone = change.new.is_none() && change.key.kind != Kind::Event && change.key.kind != Kind::Decision;
        let owned = change.old.is_none() && change.new.as_ref().is_some_and(|new| new.owner_uids().next().is_some());
        let deleting = change.new.as_ref().is_some_and(|new| new.deleting());
        let event = change.key.kind == Kind::Event && change.old.is_none();
        if gone || owned || deleting || event { vec![()] } else { Vec::new() }
    }

    async fn pass(self: Arc<Self>, (): ()) -> Outcome {
        let now = self.context.clock.now();
        let transaction = self.world.view(|view| plan(view, now));
        let more = transaction.len() >= COLLECTED_AT_ONCE_MAX;
        match self.world.commit(transaction).await {
            Ok(_) if more => Outcome::Stale,
            Ok(_) => Outcome::Settled,
            Err(CommitError::Conflict { .. }) => Outcome::Stale,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

/// What to remove, or ask to go, now.
fn plan(view: &View<'_>, now: Timestamp) -> Transaction {
    let mut transaction = Transaction::default();
    for kind in COLLECTED {
        for object in view.list(kind, None) {
            if transaction.len() >= COLLECTED_AT_ONCE_MAX {
                return transaction;
            }
            if !object.deleting() && orphaned(view, &object) {
                delete(&mut transaction, &object, now);
            } else if finished(&object) {
                transaction.delete(&object);
            }
        }
    }
    namespaces(view, &mut transaction, now);
    events(view, &mut transaction);
    transaction
}

/// Whether every owner of an object that has any is gone.
fn orphaned(view: &View<'_>, object: &Object) -> bool {
    let owners = object.value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owners = owners.map(Vec::as_slice).unwrap_or_default();
    let gone = |owner: &Value| {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        // A kind that this version does not know cannot be proven gone.
        let Some(kind) = Kind::from_text(text("kind")) else { return false };
        let stored = view.get(&Key::new(kind, &object.key.namespace, text("name")));
        stored.is_none_or(|stored| stored.uid().0 != text("uid"))
    };
    !owners.is_empty() && owners.iter().all(gone)
}

/// Whether nothing holds an object that was asked to go. Machines remove their pods themselves.
fn finished(object: &Object) -> bool {
    let held_by_machine =
        object.kind() == Kind::Pod && !object.text("/spec/nodeName").is_empty() && !phase(object).terminal();
    object.deleting() && object.finalizers().next().is_none() && !held_by_machine
}

/// Asks an object to go: pods in their grace period, others once their finalizers are released.
pub(crate) fn delete(transaction: &mut Transaction, object: &Object, now: Timestamp) {
    if object.kind() == Kind::Pod {
        lifecycle::delete(transaction, object, None, now);
    } else if object.finalizers().next().is_none() {
        transaction.delete(object);
    } else if !object.deleting() {
        let mut value = object.value.clone();
        object_mut(&mut value, "metadata").insert("deletionTimestamp".into(), time_text(now).into());
        transaction.update(object, value);
    }
}

/// A namespace that was asked to go takes everything in it along, and goes last.
fn namespaces(view: &View<'_>, transaction: &mut Transaction, now: Timestamp) {
    for namespace in view.list(Kind::Namespace, None).iter().filter(|namespace| namespace.deleting()) {
        let inside = Kind::all().filter(|kind| kind.namespaced());
        let inside: Vec<_> = inside.flat_map(|kind| view.list(kind, Some(&namespace.key.name))).collect();
        if inside.is_empty() {
            transaction.delete(namespace);
        }
        let room = COLLECTED_AT_ONCE_MAX.saturating_sub(transaction.len());
        for object in inside.into_iter().filter(|object| !object.deleting()).take(room) {
            delete(transaction, &object, now);
        }
    }
}

/// Removes the oldest events of a namespace that has too many.
fn events(view: &View<'_>, transaction: &mut Transaction) {
    let mut by_namespace: BTreeMap<String, Vec<Arc<Object>>> = BTreeMap::new();
    for event in view.list(Kind::Event, None) {
        by_namespace.entry(event.key.namespace.clone()).or_default().push(event);
    }
    for (namespace, mut events) in by_namespace {
        let room = COLLECTED_AT_ONCE_MAX.saturating_sub(transaction.len());
        if view.get(&Key::new(Kind::Namespace, "", &namespace)).is_none() {
            // Said of an object after its namespace went: nobody would ever remove it.
            events.iter().take(room).for_each(|event| transaction.record(event.key.clone(), None));
        } else if events.len() > EVENTS_PER_NAMESPACE_MAX + EVENTS_SLACK {
            events.sort_by(|a, b| last_seen(&a.value).cmp(last_seen(&b.value)));
            let excess = events.len() - EVENTS_PER_NAMESPACE_MAX;
            events.iter().take(excess.min(room)).for_each(|event| transaction.record(event.key.clone(), None));
        }
    }
}
