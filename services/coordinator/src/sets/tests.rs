//! What a pass rests on: whatever changed since it looked undoes all of it, so that the next one looks again.

use api::manifest::{self, Kind};
use api::proto::update_planner::v1::PlanRequest;
use domain::volume::SetClaimsRequest;
use domain::{
    Generation, Guard, Ordinal, OrdinalPlan, PodCreation, PodDeletion, PodIdentity, Profile, Revision, RevisionChange,
    RevisionName, SetStatus, Timestamp, Uid, UpdatePlan, Wait, WaitReason,
};
use prost::Message as _;
use serde_json::{Value, json};
use service_kit::{CancellationToken, Channel};

use super::settled::About;
use super::*;
use crate::pods::placement::{self, Unplaceable};
use crate::store::{MemoryStore, StateStore, StoreRevision};
use crate::world::{Object, Transaction, controller_reference};

pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);

pub(super) fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, "default", name)
}

/// A world with the set `web`.
pub(super) async fn world() -> Arc<World> {
    world_on(MemoryStore::new()).await
}

/// The same on that store.
pub(super) async fn world_on(store: impl StateStore) -> Arc<World> {
    let world = World::load(Arc::new(store)).await.unwrap();
    tokio::spawn(world.clone().follow(CancellationToken::new()));
    create(&world, Kind::StatefulSet, "web", set("first")).await;
    world
}

/// The set `web` with two replicas.
pub(crate) fn set(uid: &str) -> Value {
    let manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "web" },
        "spec": {
            "serviceName": "web",
            "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
            },
        },
    });
    let documents = manifest::parse_values(vec![manifest]).unwrap();
    let mut set =
        manifest::admit_all(documents, "default", Profile::Setkeeper.switches()).unwrap().objects.remove(0).value;
    set["metadata"]["uid"] = uid.into();
    set["metadata"]["generation"] = 1.into();
    set["status"] = json!({ "observedGeneration": 1 });
    set
}

pub(super) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": { "app": "web" } },
        "spec": { "nodeName": "here" },
        "status": { "phase": "Running" },
    })
}

pub(super) async fn create(world: &World, kind: Kind, name: &str, value: Value) {
    let mut transaction = Transaction::default();
    transaction.create(key(kind, name), value);
    world.commit(transaction).await.unwrap();
}

pub(super) async fn change(world: &World, kind: Kind, name: &str, change: impl Fn(&mut Value)) {
    let old = world.get(&key(kind, name)).unwrap();
    let mut value = old.value.clone();
    change(&mut value);
    let mut transaction = Transaction::default();
    transaction.update(&old, value);
    world.commit(transaction).await.unwrap();
}

/// Keeps the sets of a world; nobody answers it.
pub(super) fn sets_of(world: &Arc<World>) -> Sets {
    sets_with(world, nobody(), Patience::default())
}

pub(super) fn nobody() -> Channel {
    service_kit::connect(&"127.0.0.1:1".parse().unwrap(), None)
}

pub(super) fn sets_with(world: &Arc<World>, channel: Channel, patience: Patience) -> Sets {
    let planners = Planners {
        ordinal_scheduler: channel.clone(),
        update_planner: channel.clone(),
        volume_claim: channel.clone(),
        identity_dns: channel,
    };
    Sets::new(world.clone(), planners, Profile::Setkeeper.switches(), patience, Context::default())
}

fn scene(world: &World) -> Scene {
    scene_as(Profile::Setkeeper, world)
}

fn scene_as(profile: Profile, world: &World) -> Scene {
    let switches = profile.switches();
    let glance = Glance { draining: false, switches, now: NOW, watched_since: NOW, coming: None };
    Scene::take(world, &Rosters::default(), &key(Kind::StatefulSet, "web"), glance).unwrap().expect("the set is there")
}

#[tokio::test]
async fn s_121_b11_a_revision_that_a_later_version_would_write_otherwise_is_the_same() {
    let world = world().await;
    let owner = controller_reference(&world.get(&key(Kind::StatefulSet, "web")).unwrap());
    let containers = json!([{ "name": "main", "image": "busybox" }]);
    let old = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": containers } });
    let now = manifest::redefault_template(old.clone());
    change(&world, Kind::StatefulSet, "web", |set| set["spec"]["template"] = now.clone()).await;
    let revision = |name: &str, number: i64, template: &Value| {
        let mut template = template.clone();
        template["$patch"] = "replace".into();
        json!({
            "metadata": { "name": name, "namespace": "default", "uid": name, "ownerReferences": [owner] },
            "revision": number,
            "data": { "spec": { "template": template } },
        })
    };
    let asked = || {
        let scene = scene(&world);
        let question = scene.update_question(&scene.encoded(&scene.told)).encode_to_vec();
        PlanRequest::decode(&*question).unwrap().equal_after_defaulting
    };
    create(&world, Kind::ControllerRevision, "web-old", revision("web-old", 1, &old)).await;
    assert_eq!(asked(), "web-old");
    // Only the newest counts, and one that is equal to the byte needs no help.
    let mut other = old.clone();
    other["spec"]["containers"][0]["image"] = "other".into();
    create(&world, Kind::ControllerRevision, "web-other", revision("web-other", 2, &other)).await;
    assert_eq!(asked(), "");
    create(&world, Kind::ControllerRevision, "web-now", revision("web-now", 3, &now)).await;
    assert_eq!(asked(), "");
}

#[tokio::test]
async fn a_set_is_woken_by_what_it_waits_for() {
    let world = world().await;
    let owner = controller_reference(&world.get(&key(Kind::StatefulSet, "web")).unwrap());
    let mut waits = placement::unplaceable(&pod("web-0"), &Unplaceable::NoNode, NOW);
    waits["spec"].as_object_mut().unwrap().remove("nodeName");
    waits["metadata"]["ownerReferences"] = json!([owner]);
    let placed = placement::placed(&waits, "here", NOW);
    let mut runs = placed.clone();
    runs["status"]["phase"] = "Pending".into();
    let claim = |phase: &str, owners: Value| json!({ "metadata": { "name": "data-web-0", "ownerReferences": owners }, "status": { "phase": phase } });
    let sets = sets_of(&world);
    let wakes = |kind, name: &str, old: &Value, new: &Value| {
        let version =
            |value: &Value, at| Some(Arc::new(Object::new(key(kind, name), value.clone(), StoreRevision(at))));
        let change = Change { key: key(kind, name), old: version(old, 1), new: version(new, 2) };
        !sets.affected(&world, &change).is_empty()
    };
    assert!(wakes(Kind::Pod, "web-0", &waits, &runs), "it has become something else");
    assert!(!wakes(Kind::Pod, "web-0", &waits, &placed), "it has got its machine");
    change(&world, Kind::StatefulSet, "web", |set| {
        set["status"]["conditions"] = json!([{ "type": "Stuck", "status": "True" }]);
        set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" } }]);
    })
    .await;
    assert!(wakes(Kind::Pod, "web-0", &waits, &placed), "it was stuck for want of one");
    let bound = claim("Bound", json!([]));
    assert!(!wakes(Kind::PersistentVolumeClaim, "data-web-0", &claim("Pending", json!([])), &bound));
    assert!(wakes(Kind::PersistentVolumeClaim, "data-web-0", &claim("Bound", json!([owner])), &bound));
}

/// A new revision, and its status.
fn update(scene: &Scene) -> UpdatePlan {
    let name = RevisionName("web-a".into());
    let data = manifest::template_revision_data(scene.set.value.pointer("/spec/template").unwrap());
    let revision = Revision { name: name.clone(), number: 1, data, created_at: NOW };
    let Generation(observed_generation) = scene.snapshot.generation;
    let status = SetStatus { observed_generation, replicas: 7, update_revision: name, ..SetStatus::default() };
    UpdatePlan { revisions: vec![RevisionChange::Create(revision)], status, ..UpdatePlan::default() }
}

/// Creates web-0.
pub(super) fn creation(scene: &Scene) -> Decision {
    let identity = PodIdentity { name: "web-0".into(), hostname: "web-0".into(), ..PodIdentity::default() };
    let create = PodCreation { ordinal: Ordinal(0), revision: RevisionName("web-a".into()), guard: Guard::Pod };
    Decision {
        update: update(scene),
        order: OrdinalPlan { create: vec![create], ..OrdinalPlan::default() },
        identities: vec![identity],
        ..Decision::default()
    }
}

/// Deletes web-1 in an update.
fn replacement(scene: &Scene) -> Decision {
    let update = UpdatePlan { replace: replacement_of(&scene.pod(Ordinal(1)).unwrap().uid().0), ..update(scene) };
    Decision { update, ..Decision::default() }
}

fn replacement_of(uid: &str) -> Vec<PodDeletion> {
    vec![PodDeletion { ordinal: Ordinal(1), uid: Uid(uid.into()), why: "update".into(), guard: Guard::AllPods }]
}

/// Commits a decision; whether it held.
async fn commit(world: &World, scene: &Scene, decision: &Decision) -> bool {
    let execution = execute::transactions(world, scene, decision, NOW).unwrap();
    let [transaction] = <[_; 1]>::try_from(execution.transactions).expect("a small decision is one commit");
    held(world, transaction).await
}

async fn held(world: &World, transaction: Transaction) -> bool {
    match world.commit(transaction).await {
        Ok(_) => true,
        Err(CommitError::Conflict { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Every object of the world but what was changed on purpose.
pub(super) fn versions(world: &World) -> Vec<(Key, StoreRevision)> {
    let kinds = [Kind::StatefulSet, Kind::Pod, Kind::ControllerRevision, Kind::PersistentVolumeClaim, Kind::Event];
    let objects = kinds.into_iter().flat_map(|kind| world.list(kind, None));
    objects.map(|object| (object.key.clone(), object.version)).collect()
}

/// The owned pod `name`.
pub(super) async fn member(world: &World, name: &str) {
    let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
    let mut member = pod(name);
    member["metadata"]["ownerReferences"] = json!([controller_reference(&set)]);
    create(world, Kind::Pod, name, member).await;
}

#[tokio::test]
async fn s_198_a_pass_that_missed_a_pod_makes_no_second_one_and_nothing_else() {
    let world = world().await;
    let stale = scene(&world);
    member(&world, "web-0").await;
    let before = versions(&world);
    assert!(!commit(&world, &stale, &creation(&stale)).await);
    assert_eq!(versions(&world), before);
    assert_eq!(world.get(&key(Kind::Pod, "web-0")).unwrap().uid().0, "uid-web-0");
}

#[tokio::test]
async fn s_199_a_pass_over_an_old_template_does_nothing_and_no_status_goes_back() {
    let world = world().await;
    let stale = scene(&world);
    change(&world, Kind::StatefulSet, "web", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2".into();
        set["metadata"]["generation"] = 2.into();
        set["status"]["observedGeneration"] = 2.into();
    })
    .await;
    let before = versions(&world);
    assert!(!commit(&world, &stale, &creation(&stale)).await);
    assert_eq!(versions(&world), before);
    let fresh = scene(&world);
    assert!(commit(&world, &fresh, &creation(&fresh)).await);
    let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
    assert_eq!(set.value["status"]["observedGeneration"], 2);
}

#[tokio::test]
async fn s_200_s_203_a_deletion_and_its_status_are_written_together_or_not_at_all() {
    let world = world().await;
    member(&world, "web-0").await;
    member(&world, "web-1").await;
    let stale = scene(&world);
    change(&world, Kind::StatefulSet, "web", |set| set["metadata"]["labels"] = json!({ "touched": "yes" })).await;
    let before = versions(&world);
    assert!(!commit(&world, &stale, &replacement(&stale)).await);
    assert_eq!(versions(&world), before);
    let fresh = scene(&world);
    assert!(commit(&world, &fresh, &replacement(&fresh)).await);
    let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
    let pod = world.get(&key(Kind::Pod, "web-1")).unwrap();
    assert!(pod.deleting());
    assert_eq!((set.version, &set.value["status"]["replicas"]), (pod.version, &json!(7)));
    assert_eq!(set.value["metadata"]["labels"]["touched"], "yes");
}

#[tokio::test]
async fn a_pod_that_has_ended_and_is_outdated_is_told_deleted_by_each_planner_only_in_kubernetes() {
    for (profile, told) in [(Profile::Kubernetes, 2), (Profile::Setkeeper, 1)] {
        let world = world().await;
        member(&world, "web-1").await;
        change(&world, Kind::Pod, "web-1", |pod| pod["status"]["phase"] = "Failed".into()).await;
        let scene = scene_as(profile, &world);
        let order = OrdinalPlan { delete: replacement_of("uid-web-1"), ..OrdinalPlan::default() };
        let decision = Decision { order, ..replacement(&scene) };
        let steps = execute::transactions(&world, &scene, &decision, NOW).unwrap().steps;
        assert_eq!(steps.iter().filter(|step| step.action == "delete Pod").count(), told);
        assert!(commit(&world, &scene, &decision).await);
        assert_eq!(
            world.get(&key(Kind::Pod, "web-1")).map(|pod| pod.deleting()),
            None,
            "one that has ended goes at once"
        );
        let events = world.list(Kind::Event, None);
        let counts: Vec<_> = events.iter().map(|event| (event.text("/reason"), event.value["count"].clone())).collect();
        assert_eq!(counts, [("SuccessfulDelete", json!(told))], "{profile}");
    }
}

/// More pods of the set `web` than the store takes in one commit.
async fn large(world: &World) {
    for thousand in 0..5 {
        let mut transaction = Transaction::default();
        for ordinal in thousand * 1000..(thousand + 1) * 1000 {
            let name = format!("web-{ordinal}");
            let mut value = pod(&name);
            let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
            value["metadata"]["ownerReferences"] = json!([controller_reference(&set)]);
            transaction.create(key(Kind::Pod, &name), value);
        }
        world.commit(transaction).await.unwrap();
    }
}

#[tokio::test]
async fn a_set_of_any_size_can_be_deleted_in_the_foreground() {
    let world = world().await;
    large(&world).await;
    let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
    let request = deletion::request(&world, &set, deletion::Cascade::Foreground, NOW);
    assert!(held(&world, request).await, "more at once than the store takes");
    let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
    let pods = world.list(Kind::Pod, None);
    let (asked, rest): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| pod.deleting());
    assert!(set.deleting() && !asked.is_empty());
    assert!(
        world.view(|view| rest.iter().all(|pod| deletion::takes_along(view, &set, pod))),
        "the collector asks them"
    );
}

#[tokio::test]
async fn a_set_of_any_size_can_be_deleted_without_its_pods() {
    let world = world().await;
    large(&world).await;
    let set = || world.get(&key(Kind::StatefulSet, "web"));
    let request = deletion::request(&world, &set().unwrap(), deletion::Cascade::Orphan, NOW);
    assert!(held(&world, request).await, "more at once than the store takes");
    let free = || world.list(Kind::Pod, None).iter().filter(|pod| pod.controller_uid().is_none()).count();
    let mut before = free();
    assert!(before > 0 && before < 5000, "{before} are free");
    // Whatever is asked of it now, none of them goes with it.
    for cascade in [deletion::Cascade::Background, deletion::Cascade::Ordered, deletion::Cascade::Foreground] {
        let request = deletion::request(&world, &set().unwrap(), cascade, NOW);
        assert!(held(&world, request).await);
        assert!(set().is_some_and(|set| deletion::lets_go(&set)) && free() > before, "{cascade:?}");
        before = free();
    }
    while let Some(set) = set() {
        assert!(held(&world, deletion::let_go(&world, &set, NOW)).await, "it gets on");
    }
    let pods = world.list(Kind::Pod, None);
    let whole = |pod: &&Arc<Object>| !pod.deleting() && pod.metadata("ownerReferences").is_none();
    assert_eq!(pods.iter().filter(whole).count(), pods.len());
    assert!(pods.len() >= 5000);
}

/// A set that went in the commit which let go of what it owned took with it what a pass under way had just taken over.
#[tokio::test]
async fn what_a_pass_under_way_takes_over_outlives_a_set_that_goes_without_it() {
    let world = world().await;
    for claim in ["data-web-0", "data-web-1"] {
        create(&world, Kind::PersistentVolumeClaim, claim, json!({ "metadata": { "name": claim, "uid": claim } }))
            .await;
    }
    let stale = scene(&world);
    let take_over = |claim: &str| {
        let claim = world.get(&key(Kind::PersistentVolumeClaim, claim)).unwrap();
        let mut owned = claim.value.clone();
        owned["metadata"]["ownerReferences"] = json!([controller_reference(&stale.set)]);
        let mut transaction = Transaction::default();
        transaction.unchanged(&stale.set);
        transaction.update(&claim, owned);
        transaction
    };
    let request = deletion::request(&world, &stale.set, deletion::Cascade::Orphan, NOW);
    assert!(held(&world, take_over("data-web-0")).await);
    assert!(held(&world, request).await, "the set is as it was");
    assert!(!held(&world, take_over("data-web-1")).await, "the set is asked to go");
    let marked = world.get(&key(Kind::StatefulSet, "web")).expect("it has not let go of all");
    assert!(deletion::lets_go(&marked));
    assert!(held(&world, deletion::let_go(&world, &marked, NOW)).await);
    assert_eq!(world.get(&key(Kind::StatefulSet, "web")), None);
    let claims = world.list(Kind::PersistentVolumeClaim, None);
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|claim| claim.metadata("ownerReferences").is_none()), "{claims:?}");
}

#[tokio::test]
async fn a_creation_in_its_turn_rests_on_every_pod_before_it_and_on_no_other() {
    for (touched, removed, holds) in [
        ("web-0", false, false),
        ("web-0", true, false),
        ("web-2", false, true),
        ("web-2", true, true),
        ("web-x-0", false, true),
    ] {
        let world = world().await;
        for name in ["web-0", "web-2", "web-x-0"] {
            member(&world, name).await;
        }
        let stale = scene(&world);
        let mut decision = creation(&stale);
        let create = &mut decision.order.create[0];
        (create.ordinal, create.guard) = (Ordinal(1), Guard::Predecessors);
        decision.identities[0].name = "web-1".into();
        if removed {
            let mut deletion = Transaction::default();
            deletion.delete(&world.get(&key(Kind::Pod, touched)).unwrap());
            assert!(held(&world, deletion).await);
        } else {
            change(&world, Kind::Pod, touched, |pod| pod["metadata"]["labels"]["touched"] = "yes".into()).await;
        }
        assert_eq!(commit(&world, &stale, &decision).await, holds, "{touched}, removed: {removed}");
    }
}

#[tokio::test]
async fn a_later_piece_of_a_plan_rests_on_the_same_pods_as_the_first_and_not_on_what_those_before_changed() {
    for touched in [None, Some("web-0"), Some("web-5")] {
        let world = world().await;
        member(&world, "web-0").await;
        let scene = scene(&world);
        let piece = |name: &str| {
            let mut piece = Transaction::default();
            piece.pods_untouched(&scene.set.key, Ordinal(4), scene.revision);
            piece.create(key(Kind::Pod, name), pod(name));
            piece
        };
        let [first, mut second, mut third] = ["web-1", "web-2", "web-3"].map(piece);
        let untouched = first.untouched().to_vec();
        let at = world.commit(first).await.unwrap();
        assert!(!held(&world, second.clone()).await, "it knows nothing of the first");
        second.follow(&untouched, at);
        let at = world.commit(second).await.unwrap();
        if let Some("web-0") = touched {
            change(&world, Kind::Pod, "web-0", |pod| pod["metadata"]["labels"]["touched"] = "yes".into()).await;
        } else if let Some(name) = touched {
            member(&world, name).await;
        }
        third.follow(&untouched, at);
        assert_eq!(held(&world, third).await, touched != Some("web-0"), "{touched:?}");
    }
}

#[tokio::test]
async fn s_154_a_set_that_was_made_anew_adopts_nothing_for_the_one_before() {
    let world = world().await;
    create(&world, Kind::Pod, "web-1", pod("web-1")).await;
    let stale = scene(&world);
    let adoption = adopt::plan(&stale).0;
    assert!(adoption.touches(&key(Kind::Pod, "web-1")));
    // The set is deleted, and another of its name is made.
    let old: Arc<Object> = world.get(&key(Kind::StatefulSet, "web")).unwrap();
    let mut deletion = Transaction::default();
    deletion.delete(&old);
    assert!(held(&world, deletion).await);
    assert!(!held(&world, adoption.clone()).await, "no set is there");
    create(&world, Kind::StatefulSet, "web", set("second")).await;
    assert!(!held(&world, adoption).await, "another set is there");
    assert_eq!(world.get(&key(Kind::Pod, "web-1")).unwrap().controller_uid(), None);
    // The new one adopts it for itself; one that is being deleted would not.
    change(&world, Kind::StatefulSet, "web", |set| {
        set["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    })
    .await;
    assert!(adopt::plan(&scene(&world)).0.is_empty());
    change(&world, Kind::StatefulSet, "web", |set| {
        set["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
    })
    .await;
    assert!(held(&world, adopt::plan(&scene(&world)).0).await);
    assert_eq!(world.get(&key(Kind::Pod, "web-1")).unwrap().controller_uid(), Some("second"));
}

#[tokio::test]
async fn a_plan_that_knows_nothing_of_an_adopted_pod_does_nothing() {
    let world = world().await;
    member(&world, "web-0").await;
    member(&world, "web-1").await;
    create(&world, Kind::Pod, "web-2", pod("web-2")).await;
    let stale = scene(&world);
    assert!(held(&world, adopt::plan(&stale).0).await);
    let before = versions(&world);
    assert!(!commit(&world, &stale, &replacement(&stale)).await, "pod 2, out of range, is there too");
    assert_eq!(versions(&world), before);
    assert_eq!(scene(&world).members.len(), 3);
}

#[tokio::test]
async fn a_rollout_is_complete_when_nothing_is_done_and_what_waits_is_held_back_on_purpose() {
    let world = world().await;
    change(&world, Kind::StatefulSet, "web", |set| set["status"]["rollout"] = json!({ "traceId": "a" })).await;
    let scene = scene(&world);
    let held_back = |partition| Wait { ordinal: Some(Ordinal(0)), reason: WaitReason::Partition { partition } };
    let settled = || {
        let counts = SetStatus { replicas: 2, available_replicas: 2, updated_replicas: 2, ..update(&scene).status };
        Decision { update: UpdatePlan { status: counts, ..UpdatePlan::default() }, ..Decision::default() }
    };
    let complete = |decision: &Decision, waits: &[Wait]| {
        let changed = status::decided(&scene, decision, waits, NOW).expect("its status changes");
        changed["status"]["rollout"]["completedAt"].is_string()
    };
    assert!(complete(&settled(), &[]));
    let mut partitioned = settled();
    partitioned.update.status.updated_replicas = 1;
    assert!(complete(&partitioned, &[held_back(1)]), "the rest is wanted as it is");
    assert!(!complete(&partitioned, &[]), "nothing holds it back");
    // The pass that replaces the last pod above the partition still counts it as available.
    partitioned.update.replace = replacement_of("uid-web-1");
    assert!(!complete(&partitioned, &[held_back(1)]), "it is just being replaced");
    let mut unavailable = settled();
    unavailable.update.status.available_replicas = 1;
    assert!(!complete(&unavailable, &[]));
    let mut late = settled();
    late.update.status.observed_generation = 0;
    assert!(!complete(&late, &[]), "what is wanted has changed since");
    let mut creating = settled();
    creating.order = creation(&scene).order;
    assert!(!complete(&creating, &[]));
}

#[tokio::test]
async fn volume_claim_is_asked_again_of_what_has_changed() {
    let world = world().await;
    let templates = json!([{ "metadata": { "name": "data" } }]);
    change(&world, Kind::StatefulSet, "web", |set| set["spec"]["volumeClaimTemplates"] = templates.clone()).await;
    for claim in ["data-web-0", "data-web-1", "data-web-5", "other"] {
        create(&world, Kind::PersistentVolumeClaim, claim, json!({ "metadata": { "name": claim } })).await;
    }
    let (settled, set) = (Settled::default(), Uid("first".into()));
    let request = SetClaimsRequest::default();
    let note = || {
        let about = About::new(&request, &scene(&world).snapshot.spec);
        let ordinals = [0, 1, 5].map(|ordinal| (Ordinal(ordinal), 7)).to_vec();
        settled.note(&set, world.revision(), about, (true, None), ordinals);
    };
    let left = |request: &SetClaimsRequest, scaling_down| -> Vec<u32> {
        let scene = scene(&world);
        let about = About::new(request, &scene.snapshot.spec);
        let left = world.view(|view| settled.take(view, &scene, &about, (scaling_down, None)));
        left.into_iter().map(|(ordinal, _)| ordinal.0).collect()
    };
    note();
    assert_eq!(left(&request, true), [0, 1, 5]);
    assert!(left(&request, true).is_empty(), "nobody has noted it again");
    note();
    change(&world, Kind::PersistentVolumeClaim, "data-web-1", |claim| claim["status"] = json!({ "phase": "Bound" }))
        .await;
    change(&world, Kind::PersistentVolumeClaim, "other", |claim| claim["status"] = json!({ "phase": "Bound" })).await;
    assert_eq!(left(&request, true), [0, 5]);
    note();
    assert_eq!(left(&request, false), [0, 1], "5 is out of range");
    note();
    let other = SetClaimsRequest { intent: domain::Intent::Drain, ..request.clone() };
    assert!(left(&other, true).is_empty());
    note();
    change(&world, Kind::StatefulSet, "web", |set| set["spec"]["replicas"] = 3.into()).await;
    assert!(left(&request, true).is_empty());
    note();
    let mut transaction = Transaction::default();
    transaction.delete(&world.get(&key(Kind::PersistentVolumeClaim, "data-web-0")).unwrap());
    world.commit(transaction).await.unwrap();
    assert_eq!(left(&request, true), [1, 5]);
}

#[tokio::test]
async fn only_what_names_a_set_wholly_keeps_it() {
    for (version, kind, name, keeps) in [
        ("apps/v1", "StatefulSet", "web", true),
        ("setkeeper.dev/v1", "StatefulSet", "web", true),
        ("apps/v1", "ReplicaSet", "web", false),
        ("apps/v1", "StatefulSet", "db", false),
        ("other/v1", "StatefulSet", "web", false),
    ] {
        let world = world().await;
        let mut other = pod("other");
        other["metadata"]["ownerReferences"] = json!([{
            "apiVersion": version, "kind": kind, "name": name, "uid": "first", "blockOwnerDeletion": true,
        }]);
        create(&world, Kind::Pod, "other", other).await;
        let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
        let request = deletion::request(&world, &set, deletion::Cascade::Foreground, NOW);
        assert!(held(&world, request).await);
        let set = world.get(&key(Kind::StatefulSet, "web")).unwrap();
        assert_eq!(world.view(|view| deletion::has_stopped(view, &set)), !keeps, "{version} {kind} {name}");
        assert_eq!(deletion::finish(&scene(&world), &world).is_none(), keeps, "{version} {kind} {name}");
    }
}
