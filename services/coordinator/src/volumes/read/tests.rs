//! Whatever is stored, a question about what does not rest is answered as one about everything.

use api::proto::volume_claim::v1::PlanVolumesRequest;
use domain::volume::{DIRECTORY_PROVISIONER, NO_PROVISIONER, PendingReason, VolumesPlan, VolumesRequest};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use volume_claim::plan_volumes::plan_volumes;

use super::*;
use crate::store::MemoryStore;
use crate::world::{Transaction, World};

/// Claims `c0`, `c1`, ... and as many volumes; one of these has the name of what would be made for the first claim.
const CLAIMS: usize = 4;
const VOLUMES: [&str; CLAIMS] = ["v0", "v1", "v2", "pvc-uid-c0"];
const MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteMany"];
const SIZES: [&str; 2] = ["1Gi", "2Gi"];
const STARTED: &str = "2026-01-01T00:00:00Z";

type Stored = Vec<(Key, Value)>;

/// Mostly what a bond at rest says, else one of the others.
fn mostly<T: Clone + std::fmt::Debug + 'static>(at_rest: T, others: Vec<T>) -> impl Strategy<Value = T> {
    prop_oneof![9 => Just(at_rest), 1 => select(others)]
}

fn metadata(name: &str, uid: &str, deleting: bool, finalizers: &[&str]) -> Value {
    let mut metadata = json!({ "name": name, "uid": uid, "creationTimestamp": STARTED, "finalizers": finalizers });
    if deleting {
        metadata["deletionTimestamp"] = STARTED.into();
    }
    metadata
}

prop_compose! {
    fn any_claim(place: usize)(
        volume in mostly(VOLUMES[place], ["", "gone"].into_iter().chain(VOLUMES).collect()),
        completed in mostly(true, vec![false]),
        phase in mostly("Bound", vec!["Pending", "Lost"]),
        request in mostly(SIZES[0], vec![SIZES[1]]),
        capacity in mostly(Some(SIZES[0]), vec![None]),
        modes in mostly(MODES[0], vec![MODES[1]]),
        deleting in mostly(false, vec![true]),
        fresh in prop::bool::weighted(0.3),
        class in select(vec![None, Some(""), Some("make"), Some("wait"), Some("fixed"), Some("unknown")]),
    ) -> (Key, Value) {
        let (name, uid) = (format!("c{place}"), format!("uid-c{place}"));
        let (volume, completed, phase) = if fresh { ("", false, "Pending") } else { (volume, completed, phase) };
        let mut value = json!({
            "metadata": metadata(&name, &uid, deleting, &[CLAIM_PROTECTION]),
            "spec": { "accessModes": [MODES[0]], "resources": { "requests": { "storage": request } }, "volumeName": volume },
            "status": { "phase": phase, "accessModes": [modes] },
        });
        if completed {
            value["metadata"]["annotations"] = json!({ "pv.kubernetes.io/bind-completed": "yes" });
        }
        if let Some(capacity) = capacity {
            value["status"]["capacity"] = json!({ "storage": capacity });
        }
        if let Some(class) = class {
            value["spec"]["storageClassName"] = class.into();
        }
        (Key::new(Kind::PersistentVolumeClaim, "default", &name), value)
    }
}

prop_compose! {
    fn any_volume(place: usize)(
        claim in mostly(Some(place), (0..CLAIMS).map(Some).chain([None]).collect()),
        uid in mostly("own", vec!["", "gone"]),
        phase in mostly("Bound", vec!["Pending", "Available", "Released", "Failed"]),
        capacity in select(SIZES.to_vec()),
        deleting in mostly(false, vec![true]),
        (policy, made, class) in (select(vec!["Retain", "Delete"]), any::<bool>(), select(vec!["", "make", "wait"])),
    ) -> (Key, Value) {
        let name = VOLUMES[place];
        let finalizers: &[&str] = if made { &[VOLUME_PROTECTION, DIRECTORY_FINALIZER] } else { &[] };
        let mut value = json!({
            "metadata": metadata(name, &format!("uid-{name}"), deleting, finalizers),
            "spec": {
                "capacity": { "storage": capacity },
                "accessModes": [MODES[0]],
                "persistentVolumeReclaimPolicy": policy,
                "storageClassName": class,
                "hostPath": { "path": "/data" },
            },
            "status": { "phase": phase },
        });
        if made {
            value["metadata"]["annotations"] = json!({ "pv.kubernetes.io/provisioned-by": DIRECTORY_PROVISIONER });
        }
        if let Some(claim) = claim {
            let uid = if uid == "own" { format!("uid-c{claim}") } else { uid.to_owned() };
            value["spec"]["claimRef"] = json!({ "namespace": "default", "name": format!("c{claim}"), "uid": uid });
        }
        (Key::new(Kind::PersistentVolume, "", name), value)
    }
}

prop_compose! {
    fn any_pod(name: &'static str)(
        claims in prop::collection::btree_set(0..CLAIMS, 0..3),
        node in select(vec!["", "here"]),
        deleting in mostly(false, vec![true]),
    ) -> (Key, Value) {
        let volumes = claims.iter().map(|claim| json!({ "persistentVolumeClaim": { "claimName": format!("c{claim}") } }));
        let value = json!({
            "metadata": metadata(name, name, deleting, &[]),
            "spec": { "nodeName": node, "volumes": volumes.collect::<Vec<_>>() },
        });
        (Key::new(Kind::Pod, "default", name), value)
    }
}

prop_compose! {
    fn any_objects()(
        claims in [any_claim(0), any_claim(1), any_claim(2), any_claim(3)],
        volumes in [any_volume(0), any_volume(1), any_volume(2), any_volume(3)],
        pods in [any_pod("p0"), any_pod("p1"), any_pod("p2")],
        there in prop::collection::vec(prop::bool::weighted(0.85), 11),
    ) -> Stored {
        let all = claims.into_iter().chain(volumes).chain(pods);
        all.zip(there).filter_map(|(object, there)| there.then_some(object)).collect()
    }
}

fn classes(with_default: bool) -> Stored {
    let class = |name: &str, provisioner: &str, mode: &str, default: bool| {
        let annotations = json!({ "storageclass.kubernetes.io/is-default-class": default.to_string() });
        let metadata = json!({ "name": name, "creationTimestamp": STARTED, "annotations": annotations });
        let value = json!({ "metadata": metadata, "provisioner": provisioner, "volumeBindingMode": mode,
                            "allowVolumeExpansion": true });
        (Key::new(Kind::StorageClass, "", name), value)
    };
    vec![
        class("make", DIRECTORY_PROVISIONER, "Immediate", false),
        class("wait", DIRECTORY_PROVISIONER, "WaitForFirstConsumer", with_default),
        class("fixed", NO_PROVISIONER, "WaitForFirstConsumer", false),
        (Key::new(Kind::Node, "", "here"), json!({ "metadata": { "name": "here" } })),
    ]
}

/// Makes what is stored be these objects.
async fn store(world: &World, objects: Stored) {
    let mut transaction = Transaction::default();
    for kind in [Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::Pod] {
        let gone = world.list(kind, None).into_iter().filter(|old| objects.iter().all(|(key, _)| *key != old.key));
        gone.for_each(|old| transaction.record(old.key.clone(), None));
    }
    objects.into_iter().for_each(|(key, value)| transaction.record(key, Some(value)));
    world.commit(transaction).await.expect("it is stored");
}

fn answer(world: &World, choose: impl Fn(&View<'_>) -> Told) -> (VolumesPlan, usize) {
    let (told, question) = world.view(|view| {
        let told = choose(view);
        let question = told.question(view, Switches::SETKEEPER, Timestamp(0));
        (told, question)
    });
    let request = PlanVolumesRequest::decode(&*question.encode_to_vec()).expect("it is what the service takes");
    (plan_volumes(&VolumesRequest::try_from(request).expect("the service takes it")), told.objects.len())
}

fn loose(world: &World) -> Vec<Key> {
    world.view(|view| view.loose().map(|object| object.key.clone()).collect())
}

/// Claims with why they wait, without what is said of volumes that do not fit.
fn pending(plan: &VolumesPlan) -> Vec<(String, PendingReason)> {
    plan.pending.iter().map(|report| (report.claim.object.name.clone(), report.reason)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_rests_makes_no_difference(before in any_objects(), now in any_objects(), with_default in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let memory = Arc::new(MemoryStore::new());
            let world = World::load(memory.clone()).await.expect("it is empty");
            tokio::spawn(world.clone().follow(CancellationToken::new()));
            store(&world, classes(with_default)).await;
            for objects in [before, now] {
                store(&world, objects).await;
                let ((of_loose, _), (of_all, _)) = (answer(&world, Told::loose), answer(&world, Told::everything));
                prop_assert_eq!(&of_loose.actions, &of_all.actions);
                prop_assert_eq!(&of_loose.events, &of_all.events);
                prop_assert_eq!(pending(&of_loose), pending(&of_all));
                let anew = World::load(memory.clone()).await.expect("it can be read");
                prop_assert_eq!(loose(&world), loose(&anew), "as if read from the store");
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_question_does_not_grow_with_what_rests() {
    let world = World::load(Arc::new(MemoryStore::new())).await.expect("it is empty");
    tokio::spawn(world.clone().follow(CancellationToken::new()));
    let pair = |number: usize, volume: &str| {
        let (name, uid) = (format!("c{number}"), format!("uid-c{number}"));
        let claim = json!({
            "metadata": {
                "name": name, "uid": uid, "creationTimestamp": STARTED,
                "annotations": { "pv.kubernetes.io/bind-completed": "yes" },
            },
            "spec": { "accessModes": [MODES[0]], "resources": { "requests": { "storage": "1Gi" } }, "volumeName": volume },
            "status": { "phase": "Bound", "accessModes": [MODES[0]], "capacity": { "storage": "1Gi" } },
        });
        let volume_value = json!({
            "metadata": { "name": volume, "uid": format!("uid-{volume}") },
            "spec": {
                "capacity": { "storage": "1Gi" }, "accessModes": [MODES[0]],
                "claimRef": { "namespace": "default", "name": name, "uid": uid },
            },
            "status": { "phase": "Bound" },
        });
        let claim_key = Key::new(Kind::PersistentVolumeClaim, "default", &name);
        [(claim_key, claim), (Key::new(Kind::PersistentVolume, "", volume), volume_value)]
    };
    let mut objects: Stored = (0..100).flat_map(|number| pair(number, &format!("v{number}"))).collect();
    store(&world, objects.clone()).await;
    assert_eq!(answer(&world, Told::loose), (VolumesPlan::default(), 0));
    assert_eq!(answer(&world, Told::everything), (VolumesPlan::default(), 200));
    // One claim goes: its volume is released, and nobody else is looked at.
    objects.retain(|(key, _)| key.name != "c7");
    store(&world, objects).await;
    let (plan, told) = answer(&world, Told::loose);
    assert_eq!((plan.actions.len(), told), (1, 1), "{plan:?}");
    assert_eq!(answer(&world, Told::everything).0, plan);
}
