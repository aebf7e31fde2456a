//! What follows from a report: stored with it where it can be, and never without it.

use std::pin::pin;

use api::manifest::Kind;
use domain::Guard;
use serde_json::{Value, json};

use super::super::execute;
use super::super::tests::{
    NOW, change, create, creation, key, member, nobody, pod, set, sets_of, sets_with, versions, world, world_on,
};
use super::*;
use crate::driver::{Controller as _, Outcome};
use crate::store::refusing::Refusing;
use crate::store::{EmbeddedStore, StoreError};
use crate::world::controller_reference;

/// A report of a stored pod, which changes it so: the pod as it will be, and the commit.
fn report(stored: &Object, change: impl Fn(&mut Value)) -> (Arc<Object>, Transaction) {
    let mut value = stored.value.clone();
    change(&mut value);
    let will_be = Object::new(stored.key.clone(), value.clone(), StoreRevision::default());
    let mut report = Transaction::default();
    report.update(stored, value);
    (Arc::new(will_be), report)
}

fn becomes_ready(pod: &mut Value) {
    pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
}

/// What happens to the set while a pass goes along with the report that web-0 is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    NotStored,
    StoredOtherwise,
    Removed,
    AnotherPodChanges,
    AnotherPodComes,
    SetChanges,
}

impl Meanwhile {
    const ALL: [Self; 7] = {
        use Meanwhile::*;
        [Nothing, NotStored, StoredOtherwise, Removed, AnotherPodChanges, AnotherPodComes, SetChanges]
    };

    /// Makes it happen.
    async fn happen(self, world: &World) {
        let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
        match self {
            Self::Nothing | Self::NotStored => {}
            Self::StoredOtherwise => {
                change(world, Kind::Pod, "web-0", |pod| pod["status"]["phase"] = "Failed".into()).await;
            }
            Self::Removed => {
                let mut removal = Transaction::default();
                removal.delete(&stored);
                world.commit(removal).await.unwrap();
            }
            Self::AnotherPodChanges => {
                change(world, Kind::Pod, "web-5", |pod| pod["status"]["phase"] = "Failed".into()).await;
            }
            Self::AnotherPodComes => member(world, "web-7").await,
            Self::SetChanges => {
                change(world, Kind::StatefulSet, "web", |set| set["spec"]["replicas"] = 1.into()).await;
            }
        }
    }

    /// Whether the report can still be stored.
    fn leaves_the_report(self) -> bool {
        !matches!(self, Self::NotStored | Self::StoredOtherwise | Self::Removed)
    }
}

/// A pass that goes along with the report that web-0 is ready: the report, for whoever stores it, and web-1 that follows.
struct Along {
    world: Arc<World>,
    sets: Sets,
    report: Transaction,
    expected: Expected,
    scene: Scene,
    follows: Transaction,
}

async fn along() -> Along {
    along_in(world().await).await
}

async fn along_in(world: Arc<World>) -> Along {
    member(&world, "web-0").await;
    member(&world, "web-5").await;
    let sets = sets_of(&world);
    let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
    let (will_be, report) = report(&stored, becomes_ready);
    let expected = sets.expect(&stored, &will_be).expect("it is a pod of a set in order");
    let scene = sets.look(&key(Kind::StatefulSet, "web"), NOW).unwrap().unwrap();
    assert!(scene.snapshot.pods[0].ready, "as it will be");
    let mut decision = creation(&scene);
    let create = &mut decision.order.create[0];
    (create.ordinal, create.guard) = (Ordinal(1), Guard::Predecessors);
    decision.identities[0].name = "web-1".into();
    let execution = execute::transactions(&world, &scene, &decision, NOW).unwrap();
    let [follows] = <[_; 1]>::try_from(execution.transactions).unwrap();
    Along { world, sets, report, expected, scene, follows }
}

fn version(world: &World, pod: &str) -> Option<StoreRevision> {
    world.get(&key(Kind::Pod, pod)).map(|pod| pod.version)
}

#[tokio::test(start_paused = true)]
async fn what_follows_from_a_report_is_stored_right_behind_it_and_never_without() {
    for meanwhile in Meanwhile::ALL {
        let Along { world, sets, report, expected, scene, follows } = along().await;
        meanwhile.happen(&world).await;
        let reporting = async {
            match meanwhile {
                Meanwhile::NotStored => drop(expected),
                _ => return Some(sets.commit_report(report, Some(expected)).await),
            }
            None
        };
        let (reported, followed) = futures::join!(reporting, sets.commit(&scene, follows, None));
        let reported = reported.and_then(Result::ok);
        assert_eq!(reported.is_some(), meanwhile.leaves_the_report(), "{meanwhile:?}");
        let created = version(&world, "web-1");
        match (meanwhile, followed) {
            (Meanwhile::Nothing, Ok(done)) => {
                assert_eq!((done.at, created), (reported.unwrap().next(), Some(done.at)));
            }
            (_, Err(CommitError::Conflict { .. })) => assert_eq!(created, None, "{meanwhile:?}"),
            (_, followed) => panic!("{meanwhile:?}: {followed:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_does_not_wait_for_a_slow_planner_and_what_follows_comes_behind_it() {
    for meanwhile in Meanwhile::ALL.into_iter().filter(|meanwhile| meanwhile.leaves_the_report()) {
        let Along { world, sets, report, expected, scene, follows } = along().await;
        let began = tokio::time::Instant::now();
        let reported = sets.commit_report(report, Some(expected)).await.unwrap();
        assert!(began.elapsed() <= Duration::from_millis(2), "{:?}", began.elapsed());
        meanwhile.happen(&world).await;
        let followed = sets.commit(&scene, follows, None).await;
        let created = version(&world, "web-1");
        match (meanwhile, followed) {
            (Meanwhile::Nothing, Ok(done)) => assert_eq!((done.at, created), (reported.next(), Some(done.at))),
            (_, Err(CommitError::Conflict { .. })) => assert_eq!(created, None, "{meanwhile:?}"),
            (_, followed) => panic!("{meanwhile:?}: {followed:?}"),
        }
    }
    // Written once more, the pod is no longer what was reported, whoever did that.
    let Along { world, sets, report, expected, scene, follows } = along().await;
    sets.commit_report(report, Some(expected)).await.unwrap();
    change(&world, Kind::Pod, "web-0", |pod| pod["status"]["conditions"] = json!([])).await;
    assert!(sets.commit(&scene, follows, None).await.is_err());
    assert_eq!(version(&world, "web-1"), None);
}

#[tokio::test(start_paused = true)]
async fn what_a_pass_has_given_up_is_not_stored_any_more() {
    let Along { world, sets, report, expected, scene, follows } = along().await;
    let before = versions(&world);
    let began = tokio::time::Instant::now();
    let why = tokio::select! {
        biased;
        followed = sets.commit(&scene, follows, None) => panic!("{followed:?}"),
        why = scene.coming.as_ref().unwrap().in_vain() => why,
    };
    assert_eq!(why, InVain::NamesAreLate);
    assert!((10..=12).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(versions(&world), before);
    // Its names are served at last, and nobody looks at the scene any more.
    sets.commit_report(report, Some(expected)).await.unwrap();
    assert_eq!(version(&world, "web-1"), None);
    assert_ne!(versions(&world), before);
}

#[tokio::test(start_paused = true)]
async fn servers_that_hang_hold_up_a_set_for_a_moment_only() {
    let hangs = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let channel = service_kit::connect(&service_kit::Target::Tcp(hangs.local_addr().unwrap().to_string()), None);
    let world = world().await;
    member(&world, "web-0").await;
    let sets = sets_with(&world, channel, Patience::default());
    let set = key(Kind::StatefulSet, "web");
    let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
    let will_be = report(&stored, becomes_ready).0;
    let _expected = sets.expect_before_names(&stored, &will_be).expect("names were never late");
    let began = tokio::time::Instant::now();
    assert_eq!(sets.try_pass(&set).await, Ok(Outcome::Stale));
    assert!((10..=12).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!((sets.arrivals.along.value(), sets.arrivals.in_vain.value()), (0, 1));
    // Until names are served in time again, passes begin after that.
    for (took, before_names) in [(None, false), (Some(11), false), (Some(10), true), (Some(11), false)] {
        took.into_iter().for_each(|took| sets.names_took(Some(Duration::from_millis(took))));
        assert_eq!(sets.expect_before_names(&stored, &will_be).is_some(), before_names, "{took:?}");
        assert!(sets.expect(&stored, &will_be).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_are_served_in_time_are_not_late_however_long_the_report_waits_for_what_follows() {
    let Along { expected, scene, .. } = along().await;
    let mut in_vain = pin!(scene.coming.as_ref().unwrap().in_vain());
    assert!(futures::poll!(in_vain.as_mut()).is_pending());
    tokio::time::advance(Duration::from_micros(9_500)).await;
    // It waits beyond the moment at which names would be late.
    assert!(expected.storing().await.is_none());
    assert!(futures::poll!(in_vain.as_mut()).is_pending());
    drop(expected);
    assert_eq!(in_vain.await, InVain::NotStored);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_report_the_same_one_is_enough_for_what_follows() {
    let Along { world, sets, report, expected: first, scene, follows } = along().await;
    let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
    let second = sets.expect(&stored, &scene.coming.as_ref().unwrap().will_be).unwrap();
    drop((scene, first));
    let scene = sets.look(&key(Kind::StatefulSet, "web"), NOW).unwrap().unwrap();
    let first = sets.commit_report(report.clone(), None).await.unwrap();
    let reporting = sets.commit_report(report, Some(second));
    let (second, followed) = futures::join!(reporting, sets.commit(&scene, follows, None));
    assert!(matches!(second, Err(CommitError::Conflict { .. })), "{second:?}");
    assert_eq!((followed.unwrap().at, version(&world, "web-1")), (first.next(), Some(first.next())));
    let coming = scene.coming.as_ref().unwrap();
    assert!(coming.has_followed());
    assert!(futures::poll!(pin!(coming.in_vain())).is_pending(), "whatever else the pass does goes on");
}

#[tokio::test]
async fn a_pass_whose_report_another_one_made_was_not_in_vain() {
    let world = world().await;
    member(&world, "web-0").await;
    let patience = Patience { names: Duration::from_secs(30), follow: Duration::from_secs(30) };
    let sets = sets_with(&world, nobody(), patience);
    let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
    let (will_be, report) = report(&stored, becomes_ready);
    let expected = sets.expect(&stored, &will_be).unwrap();
    let reporting = async {
        sets.commit_report(report.clone(), None).await.unwrap();
        sets.commit_report(report, Some(expected)).await
    };
    // It looks before either is stored. No planner answers, which is what follows.
    let set = key(Kind::StatefulSet, "web");
    let (outcome, reported) = futures::join!(sets.try_pass(&set), reporting);
    assert!(matches!(reported, Err(CommitError::Conflict { .. })), "{reported:?}");
    assert!(outcome.expect_err("no planner answers").contains("does not answer"));
    assert_eq!((sets.arrivals.along.value(), sets.arrivals.in_vain.value()), (1, 0));
}

#[tokio::test]
async fn what_is_said_while_the_report_is_being_stored_comes_behind_it() {
    let Along { world, sets, report, expected, scene, follows } = along().await;
    assert!(expected.storing().await.is_none(), "nothing was said in time");
    let mut following = pin!(sets.commit(&scene, follows, None));
    assert!(futures::poll!(following.as_mut()).is_pending());
    assert_eq!(version(&world, "web-1"), None);
    let at = world.commit(report).await.unwrap();
    expected.ended(Ended { report: Some(at), follow: None });
    assert_eq!(following.await.unwrap().at, at.next());
}

#[tokio::test]
async fn a_report_and_what_follows_wait_for_the_disk_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&directory.path().join("state")).unwrap();
    let metrics = Registry::default();
    store.measure(&metrics);
    let groups = || {
        let page = metrics.render();
        let count = page.lines().find_map(|line| line.strip_prefix("setkeeper_coordinator_store_group_batches_count"));
        count.unwrap().trim().parse::<u64>().unwrap()
    };
    let Along { world, sets, report, expected, scene, follows } = along_in(world_on(store).await).await;
    let before = groups();
    let reporting = sets.commit_report(report, Some(expected));
    let (reported, followed) = futures::join!(reporting, sets.commit(&scene, follows, None));
    assert_eq!(followed.unwrap().at, reported.unwrap().next());
    assert_eq!(groups(), before + 1);
    drop(world);
}

#[tokio::test]
async fn a_report_is_stored_where_there_is_no_space_for_what_follows() {
    let full = StoreError::NoSpace { source: Arc::new(std::io::Error::other("full")) };
    let Along { world, sets, report, expected, scene, follows } = along_in(world_on(Refusing::two(full)).await).await;
    let reporting = sets.commit_report(report, Some(expected));
    let (reported, followed) = futures::join!(reporting, sets.commit(&scene, follows, None));
    assert_eq!(version(&world, "web-0"), reported.ok());
    assert!(matches!(followed, Err(CommitError::Store(StoreError::NoSpace { .. }))), "{followed:?}");
    assert_eq!(version(&world, "web-1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_report_from_which_nothing_follows_waits_for_nobody() {
    let Along { world: _world, sets, report, expected, scene, .. } = along().await;
    let began = tokio::time::Instant::now();
    let mut reporting = pin!(sets.commit_report(report, Some(expected)));
    assert!(futures::poll!(reporting.as_mut()).is_pending(), "something may follow");
    let coming = scene.coming.as_ref().unwrap();
    coming.no_more_follows();
    let (reported, stored) = futures::join!(reporting, coming.report());
    assert!(stored.is_some());
    assert_eq!(stored, reported.ok());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_plan_of_several_pieces_follows_a_report_as_a_whole() {
    let Along { world: _world, sets, report, expected, scene, .. } = along().await;
    let piece = |name: &str| {
        let mut piece = Transaction::default();
        piece.unchanged(scene.pod(Ordinal(0)).unwrap());
        piece.create(key(Kind::Pod, name), pod(name));
        piece
    };
    let pieces = async {
        let before = sets.commit(&scene, piece("web-1"), None).await.unwrap();
        sets.commit(&scene, piece("web-2"), Some(&before)).await.map(|done| (before.at, done.at))
    };
    let (reported, pieces) = futures::join!(sets.commit_report(report, Some(expected)), pieces);
    let reported = reported.unwrap();
    assert_eq!(pieces.unwrap(), (reported.next(), reported.next().next()));
}

#[tokio::test]
async fn a_plan_may_write_the_pod_of_the_report_behind_it() {
    let Along { world, sets, report, expected, scene, .. } = along().await;
    let reported = scene.pod(Ordinal(0)).unwrap();
    let mut labelled = reported.value.clone();
    labelled["metadata"]["labels"]["put"] = "back".into();
    let mut follows = Transaction::default();
    follows.update(reported, labelled);
    let reporting = sets.commit_report(report, Some(expected));
    let (reported, followed) = futures::join!(reporting, sets.commit(&scene, follows, None));
    assert_eq!(followed.unwrap().at, reported.unwrap().next());
    let pod = world.get(&key(Kind::Pod, "web-0")).unwrap();
    assert_eq!(pod.label("put"), Some("back"));
    assert_eq!(pod.value["status"]["conditions"][0]["status"], "True");
}

#[tokio::test]
async fn a_pass_in_vain_says_nothing_and_the_next_one_goes_alone() {
    let world = world().await;
    member(&world, "web-0").await;
    let sets = sets_of(&world);
    let set = key(Kind::StatefulSet, "web");
    let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
    let goes_along = || sets.look(&set, NOW).unwrap().unwrap().coming.is_some();
    let expect = || sets.expect(&stored, &report(&stored, becomes_ready).0).unwrap();
    let before = versions(&world);
    // No planner answers. Of a set that never was like that, this says nothing.
    let expected = expect();
    let (outcome, ()) = futures::join!(sets.try_pass(&set), async { drop(expected) });
    assert_eq!(outcome, Ok(Outcome::Stale));
    assert_eq!(versions(&world), before);
    // The one after it goes alone, whatever comes meanwhile.
    let expected = expect();
    assert!(!goes_along());
    drop(expected);
    let _expected = expect();
    assert!(goes_along());
    // One that has ended is not gone along with; one that is being stored is.
    drop(expect());
    assert!(!goes_along());
    let expected = expect();
    assert!(expected.storing().await.is_none());
    assert!(goes_along());
    // With one that is stored, a failure is one.
    let (will_be, report) = report(&stored, becomes_ready);
    let expected = sets.expect(&stored, &will_be).unwrap();
    let pass = async {
        assert_eq!(sets.called().await, std::slice::from_ref(&set));
        sets.try_pass(&set).await
    };
    let (reported, outcome) = futures::join!(sets.commit_report(report, Some(expected)), pass);
    reported.unwrap();
    let error = outcome.expect_err("no planner answers");
    assert!(error.contains("does not answer"), "{error}");
    assert_eq!((sets.arrivals.along.value(), sets.arrivals.in_vain.value()), (1, 1));
}

#[tokio::test]
async fn a_set_is_called_once_for_each_report() {
    let world = world().await;
    member(&world, "web-0").await;
    let sets = sets_of(&world);
    let stored = world.get(&key(Kind::Pod, "web-0")).unwrap();
    for _ in 0..2 {
        let _expected = sets.expect(&stored, &stored).unwrap();
        assert_eq!(sets.called().await, [key(Kind::StatefulSet, "web")]);
    }
    // Another set comes along before the first has its pass.
    create(&world, Kind::StatefulSet, "db", set("db")).await;
    let of_db = world.get(&key(Kind::StatefulSet, "db")).unwrap();
    let mut db = pod("db-0");
    db["metadata"]["ownerReferences"] = json!([controller_reference(&of_db)]);
    create(&world, Kind::Pod, "db-0", db).await;
    let stored = world.get(&key(Kind::Pod, "db-0")).unwrap();
    let _expected = sets.expect(&stored, &stored).unwrap();
    assert_eq!(sets.called().await, [key(Kind::StatefulSet, "db")]);
}

#[tokio::test]
async fn no_pass_goes_along_with_a_report_that_says_little_of_the_next_step() {
    let world = world().await;
    member(&world, "web-0").await;
    create(&world, Kind::Pod, "other-0", pod("other-0")).await;
    let expects = |name: &str| {
        let stored = world.get(&key(Kind::Pod, name)).unwrap();
        sets_of(&world).expect(&stored, &stored).is_some()
    };
    assert!(expects("web-0"));
    assert!(!expects("other-0"), "it is of no set");
    change(&world, Kind::StatefulSet, "web", |set| set["spec"]["podManagementPolicy"] = "Parallel".into()).await;
    assert!(!expects("web-0"));
}
