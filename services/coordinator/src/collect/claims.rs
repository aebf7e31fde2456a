//! Claims whose owners are gone. Deleting one is the only way in which data is lost without anybody's hand, so it rests on
//! all that makes it right: that nobody has taken the place of the owners, and the set as it is (S9).

use std::sync::Arc;

use api::manifest::{self, Kind};
use domain::safety::ClaimDeletion;
use domain::{Ordinal, RetentionRule, Timestamp, pod_name, pod_ordinal};
use serde_json::Value;

use crate::events::{self, Event};
use crate::objects::object_mut;
use crate::sets::deletion;
use crate::sets::templates::{claim_names_of, claim_ordinal};
use crate::world::{Change, Key, Object, Transaction, View, World};

/// Who says so, in events.
const COMPONENT: &str = "garbage-collector";

/// What becomes of a claim whose owners are all gone.
pub(super) struct Verdict {
    sentence: Sentence,
    /// Keys that must hold nothing when that is committed.
    absent: Vec<Key>,
    /// Objects that must be unchanged.
    unchanged: Vec<Arc<Object>>,
    /// Why, in words for a person.
    why: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sentence {
    /// It goes.
    Delete,
    /// It stays, and nobody has it. Either the policy kept it, and a later change of the policy does not reach what is left
    /// over (StatefulSet rules, section 11.3); or it serves a pod of another set, whose policy decides from now on.
    Release,
}

impl Verdict {
    /// Carries it out, if all that it was made from is as it was then. `tells`: whether an event says so.
    pub(super) fn carry_out(&self, world: &World, claim: &Object, now: Timestamp, tells: bool) -> Transaction {
        let mut transaction = Transaction::default();
        self.absent.iter().for_each(|key| transaction.absent(key.clone()));
        self.unchanged.iter().for_each(|object| transaction.unchanged(object));
        match self.sentence {
            Sentence::Delete => {
                super::delete(&mut transaction, claim, now);
                let message = format!("Delete Claim {}: {}", claim.key.name, self.why.join("; "));
                let event = Event::normal("SuccessfulDelete", message);
                if tells {
                    let uid = claim.uid().0;
                    events::record(&mut transaction, world, (&claim.key, &uid), COMPONENT, &event, now);
                }
            }
            Sentence::Release => {
                let mut value = claim.value.clone();
                object_mut(&mut value, "metadata").remove("ownerReferences");
                transaction.update(claim, value);
            }
        }
        transaction
    }
}

/// What becomes of a claim whose owners are all gone; none where it stays as it is. In Kubernetes it always goes:
/// `asks_set` is the switch `withdraw_claim_references`.
pub(super) fn judge(view: &View<'_>, claim: &Object, asks_set: bool) -> Option<Verdict> {
    let (absent, unchanged, why) = (Vec::new(), Vec::new(), Vec::new());
    let mut verdict = Verdict { sentence: Sentence::Delete, absent, unchanged, why };
    let mut sentences = Vec::new();
    for owner in owners(claim) {
        let key = owner.key(claim)?;
        match view.get(&key) {
            Some(other) => verdict.unchanged.push(other),
            None => verdict.absent.push(key),
        }
        sentences.push(if asks_set { sentence_of(view, claim, &owner, &mut verdict)? } else { Sentence::Delete });
        verdict.why.push(owner.gone());
    }
    verdict.sentence = *sentences.first()?;
    // Where owners disagree, nobody can tell.
    sentences.iter().all(|sentence| *sentence == verdict.sentence).then_some(verdict)
}

/// Whether another set has the name of the set that owned the claim, and a pod that the claim serves (StatefulSet rules,
/// S-145). What that pod writes is its set's, and it may not even have started (S10).
fn serves_successor(view: &View<'_>, claim: &Object, owner: &Owner<'_>) -> bool {
    if owner.kind != Kind::StatefulSet.name() {
        return false;
    }
    // That the set is unchanged is part of the verdict, and no set gets a pod without a change of its status.
    let Some(set) = owner.key(claim).and_then(|key| view.get(&key)) else { return false };
    let Some(ordinal) = claim_ordinal(&set.value, &claim.key.name) else { return false };
    let pod = Key::new(Kind::Pod, &claim.key.namespace, &pod_name(owner.name, ordinal));
    view.get(&pod).is_some_and(|pod| pod.controller_uid() == Some(&*set.uid().0))
}

/// What the end of this owner means for the claim; none where it has to stay, or where nobody can tell.
fn sentence_of(view: &View<'_>, claim: &Object, owner: &Owner<'_>, verdict: &mut Verdict) -> Option<Sentence> {
    let Some((set, ordinal)) = owner.member() else {
        return Some(if serves_successor(view, claim, owner) { Sentence::Release } else { Sentence::Delete });
    };
    let key = Key::new(Kind::StatefulSet, &claim.key.namespace, set);
    let set = view.get(&key);
    let spec = match &set {
        // A claim of another kind, such as one that a pod brings along: it goes with its pod.
        Some(set) if claim_ordinal(&set.value, &claim.key.name) != Some(ordinal) => None,
        Some(set) if deletion::has_stopped(view, set) => None,
        Some(set) => Some(manifest::set_spec(&set.value).ok()?),
        None => None,
    };
    let has_pod = spec.is_some() && view.get(&owner.key(claim)?).is_some();
    let deletion = ClaimDeletion { ordinal, set: spec.as_ref(), has_pod };
    let retained = spec.as_ref().is_some_and(|spec| spec.retention.when_scaled == RetentionRule::Retain);
    let sentence = match deletion.s9_claim_delete() {
        Ok(()) => Sentence::Delete,
        Err(_) if retained && !has_pod => Sentence::Release,
        Err(breach) => {
            tracing::debug!(claim = claim.key.name, reason = breach.why, "claim stays");
            return None;
        }
    };
    match set {
        Some(set) => verdict.unchanged.push(set),
        None => verdict.absent.push(key),
    }
    Some(sentence)
}

/// Claims that a change may allow to go although none of their owners ended with it: when the spec of their set changed,
/// and when the pod that had taken the place of the owner is gone.
pub(super) fn freed(world: &World, change: &Change) -> Vec<Key> {
    let namespace = &change.key.namespace;
    match (change.key.kind, &change.old, &change.new) {
        (Kind::StatefulSet, Some(old), new) => {
            let generation = |set: &Object| set.value.pointer("/metadata/generation").cloned();
            if new.as_ref().is_some_and(|new| new.is(old) && generation(new) == generation(old)) {
                return Vec::new();
            }
            let mut claims = world.list(Kind::PersistentVolumeClaim, Some(namespace));
            claims.retain(|claim| is_handed(claim) && claim_ordinal(&old.value, &claim.key.name).is_some());
            claims.iter().map(|claim| claim.key.clone()).collect()
        }
        (Kind::Pod, Some(old), None) => {
            let Some((set, ordinal)) = member(&old.key.name) else { return Vec::new() };
            let Some(set) = world.get(&Key::new(Kind::StatefulSet, namespace, set)) else { return Vec::new() };
            let names = claim_names_of(&set.value, ordinal);
            let claims = names.filter_map(|name| world.get(&Key::new(Kind::PersistentVolumeClaim, namespace, &name)));
            claims.filter(|claim| is_handed(claim)).map(|claim| claim.key.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// An owner as a claim names it.
struct Owner<'a> {
    kind: &'a str,
    name: &'a str,
}

impl<'a> Owner<'a> {
    /// Where it would be stored; none where this version does not know its kind.
    fn key(&self, claim: &Object) -> Option<Key> {
        Some(Key::new(Kind::from_text(self.kind)?, &claim.key.namespace, self.name))
    }

    /// The set and the ordinal whose pod it was.
    fn member(&self) -> Option<(&'a str, Ordinal)> {
        if self.kind == "Pod" { member(self.name) } else { None }
    }

    fn gone(&self) -> String {
        match self.kind {
            "Pod" => format!("pod {} is gone, to which a scale-down had handed it", self.name),
            "StatefulSet" => {
                format!("statefulset {} is deleted, and its retention policy deletes its claims", self.name)
            }
            kind => format!("its owner {kind} {} is gone", self.name),
        }
    }
}

fn owners(claim: &Object) -> impl Iterator<Item = Owner<'_>> {
    crate::world::owners(&claim.value).map(|owner| {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        Owner { kind: text("kind"), name: text("name") }
    })
}

/// Whether a scale-down has handed a claim to a pod.
fn is_handed(claim: &Object) -> bool {
    owners(claim).any(|owner| owner.kind == "Pod")
}

/// The name of the set, and the ordinal, that a pod of this name would have.
fn member(pod: &str) -> Option<(&str, Ordinal)> {
    let (set, _) = pod.rsplit_once('-')?;
    Some((set, pod_ordinal(set, pod)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use service_kit::CancellationToken;

    use super::*;
    use crate::sets::tests::set;
    use crate::store::MemoryStore;

    async fn world(objects: Vec<(Kind, &str, Value)>) -> Arc<World> {
        let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
        tokio::spawn(world.clone().follow(CancellationToken::new()));
        for (kind, name, value) in objects {
            let mut transaction = Transaction::default();
            transaction.create(Key::new(kind, "default", name), value);
            world.commit(transaction).await.unwrap();
        }
        world
    }

    fn owned(uid: &str, owner: &str) -> Value {
        let owners = json!([{ "kind": "StatefulSet", "name": "web", "uid": owner, "controller": true }]);
        json!({ "metadata": { "namespace": "default", "uid": uid, "ownerReferences": owners } })
    }

    #[tokio::test]
    async fn s_145_a_claim_of_a_former_set_is_its_successors_once_a_pod_of_that_has_it() {
        let sentence = async |others: Vec<(Kind, &str, Value)>| {
            let claim = (Kind::PersistentVolumeClaim, "data-web-0", owned("claim", "former"));
            let world = world([others, vec![claim]].concat()).await;
            let claim = world.get(&Key::new(Kind::PersistentVolumeClaim, "default", "data-web-0")).unwrap();
            world.view(|view| judge(view, &claim, true)).map(|verdict| verdict.sentence)
        };
        let successor = || {
            let mut set = set("next");
            set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" } }]);
            (Kind::StatefulSet, "web", set)
        };
        let pod = |owner| (Kind::Pod, "web-0", owned("pod", owner));
        assert_eq!(sentence(vec![]).await, Some(Sentence::Delete), "nobody has taken the owner's place");
        assert_eq!(sentence(vec![successor()]).await, Some(Sentence::Delete), "no pod has the claim");
        assert_eq!(sentence(vec![successor(), pod("next")]).await, Some(Sentence::Release));
        assert_eq!(sentence(vec![successor(), pod("former")]).await, Some(Sentence::Delete), "its pod goes too");
    }
}
