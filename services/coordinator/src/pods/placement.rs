//! Which machine a pod runs on, and since when it may: its claims must be bound first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use api::manifest::Kind;
use domain::Timestamp;
use serde_json::Value;

use super::read::claim_names;
use crate::driver::{Controller, Outcome};
use crate::machines::{self, fence};
use crate::objects::{condition, object_mut, set_condition, time};
use crate::store::CommitError;
use crate::volumes::read;
use crate::world::{Change, Key, Object, Transaction, View, World};

/// Pods placed in one commit. More only delays the first of them.
const PLACED_AT_ONCE_MAX: usize = 256;

/// Gives pods their machine.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) world: Arc<World>,
    pub(crate) context: service_kit::Context,
    /// Pods that have no machine yet, or whose placement is not recorded: what a pass looks at, instead of all.
    pub(crate) unplaced: Mutex<BTreeSet<Key>>,
}

/// Why a pod cannot be placed now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unplaceable {
    /// No machine has registered.
    #[error("no machine has registered yet")]
    NoNode,
    /// Nothing runs on the machine any more.
    #[error("machine {node:?} is fenced: {evidence}; start its runtime again, or register another machine")]
    Fenced {
        /// Which.
        node: String,
        /// How that is known.
        evidence: String,
    },
    /// Its spec names a machine that is not there.
    #[error("machine {0:?} has not registered")]
    UnknownNode(String),
    /// A claim does not exist.
    #[error("persistentvolumeclaim {0:?} not found")]
    ClaimMissing(String),
    /// A claim is being deleted.
    #[error("persistentvolumeclaim {0:?} is being deleted")]
    ClaimDeleting(String),
    /// A claim has lost its volume.
    #[error("persistentvolumeclaim {0:?} has lost its volume: the record of its data is gone; restore the volume")]
    ClaimLost(String),
    /// A claim is not bound.
    #[error("persistentvolumeclaim {claim:?} is not bound{why}")]
    ClaimUnbound {
        /// Which.
        claim: String,
        /// Why not, if the claim says.
        why: String,
    },
    /// The volume of a claim is on another machine.
    #[error(
        "volume node affinity conflict: volume {volume:?} of persistentvolumeclaim {claim:?} cannot be reached from \
         node {node:?}"
    )]
    Unreachable {
        /// Which.
        claim: String,
        /// Its volume.
        volume: String,
        /// The machine.
        node: String,
    },
    /// A claim that only one pod may use is used by another.
    #[error("persistentvolumeclaim {claim:?} is ReadWriteOncePod and in use by pod {by:?}")]
    ClaimTaken {
        /// Which.
        claim: String,
        /// Who has it.
        by: String,
    },
}

/// The machine for a pod, the first that reaches its volumes, with its claims as the objects they rest on.
pub(crate) fn place(view: &View<'_>, pod: &Value, namespace: &str) -> Result<(String, Vec<Arc<Object>>), Unplaceable> {
    let wanted = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    let nodes = view.list(Kind::Node, None);
    if !wanted.is_empty() {
        let node = nodes.iter().find(|node| node.key.name == wanted);
        return place_on(node.ok_or_else(|| Unplaceable::UnknownNode(wanted.to_owned()))?, view, pod, namespace);
    }
    let mut usable = machines::usable(&nodes);
    let first = usable.next().or(nodes.first()).ok_or(Unplaceable::NoNode)?;
    place_on(first, view, pod, namespace).or_else(|why| match why {
        Unplaceable::Unreachable { .. } => usable.find_map(|node| place_on(node, view, pod, namespace).ok()).ok_or(why),
        why => Err(why),
    })
}

fn place_on(
    node: &Object,
    view: &View<'_>,
    pod: &Value,
    namespace: &str,
) -> Result<(String, Vec<Arc<Object>>), Unplaceable> {
    if fence::is_fenced(node) {
        let (node, evidence) = (node.key.name.clone(), fence::evidence(node).to_owned());
        return Err(Unplaceable::Fenced { node, evidence });
    }
    let claims = claim_names(pod).map(|name| usable_claim(view, pod, (namespace, name), node));
    Ok((node.key.name.clone(), claims.collect::<Result<_, _>>()?))
}

fn usable_claim(
    view: &View<'_>,
    pod: &Value,
    (namespace, name): (&str, &str),
    node: &Object,
) -> Result<Arc<Object>, Unplaceable> {
    let key = Key::new(Kind::PersistentVolumeClaim, namespace, name);
    let claim = view.get(&key).ok_or_else(|| Unplaceable::ClaimMissing(name.to_owned()))?;
    if claim.deleting() {
        return Err(Unplaceable::ClaimDeleting(name.to_owned()));
    }
    match claim.text("/status/phase") {
        "Bound" => {}
        "Lost" => return Err(Unplaceable::ClaimLost(name.to_owned())),
        _ => {
            let why = condition(&claim.value, "Bound").and_then(|condition| condition.get("message")?.as_str());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            return Err(Unplaceable::ClaimUnbound { claim: name.to_owned(), why });
        }
    }
    let volume = view.get(&Key::new(Kind::PersistentVolume, "", claim.text("/spec/volumeName")));
    if let Some(volume) = volume.filter(|volume| !read::reachable(volume, node)) {
        let (claim, volume, node) = (name.to_owned(), volume.key.name.clone(), node.key.name.clone());
        return Err(Unplaceable::Unreachable { claim, volume, node });
    }
    if read::single_user(&claim)
        && let Some(by) = other_user(view, pod, &key)
    {
        return Err(Unplaceable::ClaimTaken { claim: name.to_owned(), by });
    }
    Ok(claim)
}

fn other_user(view: &View<'_>, pod: &Value, claim: &Key) -> Option<String> {
    let uid = pod.pointer("/metadata/uid").and_then(Value::as_str);
    let placed = |other: &&Arc<Object>| !other.text("/spec/nodeName").is_empty() && Some(other.uid().0.as_str()) != uid;
    view.users(claim).find(placed).map(|user| user.key.name.clone())
}

/// The pod placed on `node`.
pub(crate) fn placed(pod: &Value, node: &str, now: Timestamp) -> Value {
    let mut pod = pod.clone();
    object_mut(&mut pod, "spec").insert("nodeName".into(), node.into());
    set_condition(object_mut(&mut pod, "status"), "PodScheduled", "True", ("", ""), now);
    pod
}

/// Whether a version of a pod is the one before it, [placed], and nothing else.
pub(crate) fn merely_placed(before: &Object, after: &Object) -> bool {
    let node = after.text("/spec/nodeName");
    if node.is_empty() || !before.text("/spec/nodeName").is_empty() {
        return false;
    }
    let scheduled = condition(&after.value, "PodScheduled");
    let since = scheduled.and_then(|scheduled| time(scheduled.get("lastTransitionTime")?.as_str()?));
    let Some(mut expected) = since.map(|since| placed(&before.value, node, since)) else { return false };
    object_mut(&mut expected, "metadata").insert("resourceVersion".into(), after.version.to_string().into());
    expected == after.value
}

/// The pod with the reason for which it has no machine yet.
pub(crate) fn unplaceable(pod: &Value, why: &Unplaceable, now: Timestamp) -> Value {
    let mut pod = pod.clone();
    let status = object_mut(&mut pod, "status");
    set_condition(status, "PodScheduled", "False", ("Unschedulable", &why.to_string()), now);
    pod
}

impl Controller for Placement {
    type Key = ();
    const NAME: &'static str = "placement";

    fn keys(&self, world: &World) -> Vec<()> {
        let pods = world.list(Kind::Pod, None);
        let found = pods.iter().filter(|pod| unplaced(pod)).map(|pod| pod.key.clone());
        // Added, not replaced: a change that was told already may be newer than this list.
        self.unplaced.lock().expect("no holder of this lock panics").extend(found);
        vec![()]
    }

    fn affected(&self, _: &World, change: &Change) -> Vec<()> {
        if let Some(new) = change.new.as_ref().filter(|new| new.kind() == Kind::Pod && unplaced(new)) {
            self.unplaced.lock().expect("no holder of this lock panics").insert(new.key.clone());
        }
        let concerns = match change.key.kind {
            Kind::Pod => change.new.as_ref().is_none_or(|pod| unplaced(pod)),
            Kind::PersistentVolumeClaim => true,
            Kind::Node => machines::comes_or_goes(change),
            _ => false,
        };
        if concerns { vec![()] } else { Vec::new() }
    }

    async fn pass(self: Arc<Self>, (): ()) -> Outcome {
        let now = self.context.clock.now();
        let (transaction, more) = self.world.view(|view| {
            let mut unplaced = self.unplaced.lock().expect("no holder of this lock panics");
            plan(view, &mut unplaced, now)
        });
        match self.world.commit(transaction).await {
            Ok(_) if more => Outcome::Stale,
            Ok(_) => Outcome::Settled,
            Err(CommitError::Conflict { .. }) => Outcome::Stale,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

/// Whether a pod was given to its machine: one whose template names it may have to wait all the same.
pub(crate) fn was_placed(pod: &Object) -> bool {
    condition(&pod.value, "PodScheduled").is_some_and(|placed| placed.get("status").is_some_and(|it| it == "True"))
}

/// Whether a pod still needs its machine.
fn unplaced(pod: &Object) -> bool {
    (pod.text("/spec/nodeName").is_empty() || !was_placed(pod)) && !pod.deleting()
}

/// Places what can be placed, and says of the rest why not. True if there is more than one commit should hold.
fn plan(view: &View<'_>, unplaced_keys: &mut BTreeSet<Key>, now: Timestamp) -> (Transaction, bool) {
    let mut transaction = Transaction::default();
    // Claims for one pod only that this transaction gives away: the view does not show it yet.
    let mut given: BTreeMap<Key, String> = BTreeMap::new();
    unplaced_keys.retain(|key| view.get(key).is_some_and(|pod| unplaced(&pod)));
    for pod in unplaced_keys.iter().filter_map(|key| view.get(key)) {
        if transaction.len() >= PLACED_AT_ONCE_MAX {
            return (transaction, true);
        }
        let place = place(view, &pod.value, &pod.key.namespace).and_then(|(node, claims)| {
            let taken = claims.iter().find_map(|claim| Some((claim, given.get(&claim.key)?)));
            match taken {
                Some((claim, by)) => Err(Unplaceable::ClaimTaken { claim: claim.key.name.clone(), by: by.clone() }),
                None => Ok((node, claims)),
            }
        });
        match place {
            Ok((node, claims)) => {
                for claim in &claims {
                    transaction.unchanged(claim);
                    if read::single_user(claim) {
                        given.insert(claim.key.clone(), pod.key.name.clone());
                    }
                }
                transaction.update(&pod, placed(&pod.value, &node, now));
            }
            Err(why) => {
                let value = unplaceable(&pod.value, &why, now);
                if value != pod.value {
                    transaction.update(&pod, value);
                }
            }
        }
    }
    (transaction, false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use service_kit::CancellationToken;

    use super::*;
    use crate::store::{MemoryStore, StoreRevision};

    async fn world(objects: &[Value]) -> Arc<World> {
        let world = World::load(Arc::new(MemoryStore::default())).await.unwrap();
        // Ends with the runtime of the test.
        tokio::spawn(world.clone().follow(CancellationToken::new()));
        let mut transaction = Transaction::default();
        for object in objects {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let kind = Kind::from_text(text("/kind")).unwrap();
            transaction.create(Key::new(kind, "default", text("/metadata/name")), object.clone());
        }
        world.commit(transaction).await.unwrap();
        world
    }

    fn node() -> Value {
        node_of("here")
    }

    fn node_of(name: &str) -> Value {
        let labels = json!({ "kubernetes.io/hostname": name });
        json!({ "kind": "Node", "metadata": { "name": name, "labels": labels } })
    }

    fn claim(mode: &str) -> Value {
        json!({
            "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "uid": "c" },
            "spec": { "accessModes": [mode], "volumeName": "pv" }, "status": { "phase": "Bound" },
        })
    }

    fn volume(host: &str) -> Value {
        let term = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [host] });
        let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [term] }] } });
        json!({ "kind": "PersistentVolume", "metadata": { "name": "pv" }, "spec": { "nodeAffinity": affinity } })
    }

    fn pod(name: &str) -> Value {
        let volume = json!({ "name": "v", "persistentVolumeClaim": { "claimName": "data" } });
        json!({ "kind": "Pod", "metadata": { "name": name, "uid": name }, "spec": { "volumes": [volume] } })
    }

    /// Machine of each of the pods `a` and `b`, or what their condition says.
    async fn outcome(objects: &[Value]) -> Vec<String> {
        let world = world(objects).await;
        let mut unplaced: BTreeSet<Key> = world.list(Kind::Pod, None).iter().map(|pod| pod.key.clone()).collect();
        let (transaction, more) = world.view(|view| plan(view, &mut unplaced, Timestamp(0)));
        assert!(!more);
        let one = |name: &str| {
            let pod = transaction.pending(&Key::new(Kind::Pod, "default", name))?;
            let node = pod.pointer("/spec/nodeName").and_then(Value::as_str);
            let why = condition(pod, "PodScheduled").and_then(|condition| condition.get("message")?.as_str());
            Some(node.or(why)?.to_owned())
        };
        ["a", "b"].into_iter().filter_map(one).collect()
    }

    #[tokio::test]
    async fn v_52_one_pod_gets_a_claim_for_one_also_within_one_transaction() {
        let all = [node(), claim("ReadWriteOncePod"), volume("here"), pod("a"), pod("b")];
        let taken = "persistentvolumeclaim \"data\" is ReadWriteOncePod and in use by pod \"a\"";
        assert_eq!(outcome(&all).await, ["here", taken]);
        let shared = [node(), claim("ReadWriteOnce"), volume("here"), pod("a"), pod("b")];
        assert_eq!(outcome(&shared).await, ["here", "here"]);
    }

    #[test]
    fn a_placement_is_told_from_every_other_change() {
        let version = |value: Value, at| Object::new(Key::new(Kind::Pod, "default", "a"), value, StoreRevision(at));
        let waits = unplaceable(&pod("a"), &Unplaceable::NoNode, Timestamp(1_000));
        let here = placed(&waits, "here", Timestamp(2_000));
        let mut labelled = here.clone();
        labelled["metadata"]["labels"] = json!({ "app": "a" });
        let mut runs = here.clone();
        runs["status"]["phase"] = "Running".into();
        let before = version(waits.clone(), 1);
        for (after, merely) in [(&here, true), (&labelled, false), (&runs, false), (&waits, false)] {
            assert_eq!(merely_placed(&before, &version(after.clone(), 2)), merely, "{after}");
        }
        assert!(!merely_placed(&version(here.clone(), 2), &version(here, 3)), "it had its machine");
    }

    #[tokio::test]
    async fn v_32_a_volume_of_another_machine_keeps_its_pod_waiting() {
        let found = outcome(&[node(), claim("ReadWriteOnce"), volume("elsewhere"), pod("a")]).await;
        assert!(found[0].starts_with("volume node affinity conflict"), "{found:?}");
        // The machine that has it takes the pod, whichever comes first by name.
        let both = [node(), node_of("there"), claim("ReadWriteOnce"), volume("there"), pod("a")];
        assert_eq!(outcome(&both).await, ["there"]);
        let mut fenced = node_of("there");
        fenced["spec"]["taints"] = json!([{ "key": "node.kubernetes.io/out-of-service" }]);
        let lost = [node(), fenced.clone(), claim("ReadWriteOnce"), volume("there"), pod("a")];
        assert!(outcome(&lost).await[0].contains("cannot be reached from node \"here\""));
        assert!(outcome(&[fenced, pod("a")]).await[0].starts_with("machine \"there\" is fenced: "));
    }
}
