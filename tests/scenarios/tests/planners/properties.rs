//! Random worlds: every policy, strategy, partition and budget, in both profiles. The invariants are checked after every
//! pass by the world itself.

use std::time::Duration;

use domain::{
    IntOrPercent, Intent, Ordinal, Phase, PodManagementPolicy, RollingUpdate, SetSpec, Switches, Uid, UpdateStrategy,
};
use proptest::collection::vec;
use proptest::prelude::*;
use scenarios::World;

/// How many passes one rollout of at most seven pods may take.
const ROLLOUT_PASSES_MAX: usize = 500;

#[derive(Debug, Clone)]
enum Event {
    Observe(usize, Phase, bool),
    Terminate(usize),
    Vanish(usize),
    Roll(char),
    Replicas(u32),
    Start(u32),
    Partition(u32),
    Strategy(UpdateStrategy),
    Minimum(u32),
    Limit(i32),
    Time(u64),
}

fn policy() -> impl Strategy<Value = PodManagementPolicy> {
    prop_oneof![Just(PodManagementPolicy::OrderedReady), Just(PodManagementPolicy::Parallel)]
}

fn strategy() -> impl Strategy<Value = UpdateStrategy> {
    let budget = prop_oneof![
        Just(None),
        (1..4_u32).prop_map(|number| Some(IntOrPercent::Int(number))),
        (1..=100_u32).prop_map(|percent| Some(IntOrPercent::Percent(percent))),
    ];
    let block =
        (0..6_u32, budget).prop_map(|(partition, max_unavailable)| RollingUpdate { partition, max_unavailable });
    prop_oneof![
        4 => block.prop_map(|block| UpdateStrategy::RollingUpdate(Some(block))),
        1 => Just(UpdateStrategy::RollingUpdate(None)),
        1 => Just(UpdateStrategy::OnDelete),
    ]
}

fn world() -> impl Strategy<Value = World> {
    let switches = prop_oneof![Just(Switches::KUBERNETES), Just(Switches::SETKEEPER)];
    (switches, policy(), strategy(), 0..6_u32, 0..3_u32, prop_oneof![Just(0_u32), Just(10)]).prop_map(
        |(switches, policy, strategy, replicas, start, min_ready_seconds)| {
            let mut world = World::new(switches);
            let start = Ordinal(start);
            world.spec = SetSpec { replicas, start, policy, strategy, min_ready_seconds, ..world.spec };
            world
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let phase = prop_oneof![
        Just((Phase::Running, true)),
        Just((Phase::Running, false)),
        Just((Phase::Failed, false)),
        Just((Phase::Succeeded, false)),
        Just((Phase::Unknown, false)),
    ];
    prop_oneof![
        10 => (0..8_usize, phase).prop_map(|(pod, (phase, ready))| Event::Observe(pod, phase, ready)),
        2 => (0..8_usize).prop_map(Event::Terminate),
        6 => (0..8_usize).prop_map(Event::Vanish),
        3 => prop::char::range('A', 'D').prop_map(Event::Roll),
        1 => (0..7_u32).prop_map(Event::Replicas),
        1 => (0..4_u32).prop_map(Event::Start),
        1 => (0..6_u32).prop_map(Event::Partition),
        1 => strategy().prop_map(Event::Strategy),
        1 => prop_oneof![Just(0_u32), Just(10)].prop_map(Event::Minimum),
        1 => (-1..3_i32).prop_map(Event::Limit),
        2 => (1..12_u64).prop_map(Event::Time),
    ]
}

/// Lets it happen, if there is such a pod.
fn happen(world: &mut World, event: &Event) {
    let ordinals = world.those(|_| true);
    let pod = |place: usize| ordinals.get(place % ordinals.len().max(1)).copied();
    match event.clone() {
        Event::Observe(place, phase, ready) => {
            // A pod that has ended never runs again.
            if let Some(ordinal) = pod(place).filter(|ordinal| !world.pods[ordinal].phase.terminal()) {
                world.observe(ordinal, phase, ready);
            }
        }
        Event::Terminate(place) => pod(place).into_iter().for_each(|ordinal| world.terminate(ordinal)),
        Event::Vanish(place) => {
            let ended = pod(place).filter(|ordinal| world.pods[ordinal].terminating);
            ended.into_iter().for_each(|ordinal| drop(world.pods.remove(&ordinal)));
        }
        Event::Roll(image) => world.roll(&image.to_string()),
        Event::Replicas(replicas) => world.change(|spec| spec.replicas = replicas),
        Event::Start(start) => world.change(|spec| spec.start = Ordinal(start)),
        Event::Partition(partition) => world.change(|spec| {
            if let UpdateStrategy::RollingUpdate(Some(block)) = &mut spec.strategy {
                block.partition = partition;
            }
        }),
        Event::Strategy(strategy) => world.change(|spec| spec.strategy = strategy),
        Event::Minimum(seconds) => world.change(|spec| spec.min_ready_seconds = seconds),
        Event::Limit(limit) => world.change(|spec| spec.revision_history_limit = limit),
        Event::Time(seconds) => world.advance(Duration::from_secs(seconds)),
    }
}

/// Pods that terminate disappear and, where `starts`, those that have not run do, and become ready unless their image is
/// bad.
fn step(world: &mut World, starts: bool) {
    for ordinal in world.those(|pod| starts && pod.phase == Phase::Pending && !pod.terminating) {
        world.run(ordinal);
    }
    for ordinal in world.those(|pod| pod.terminating) {
        world.pods.remove(&ordinal);
    }
}

/// The set is Setkeeper's, and updates itself.
fn rolls(world: &mut World) {
    world.switches = Switches::SETKEEPER;
    if matches!(world.spec.strategy, UpdateStrategy::OnDelete) {
        world.spec.strategy = UpdateStrategy::default();
    }
}

/// Somebody asks for B, whose pods never become ready.
fn roll_to_bad(world: &mut World) {
    world.bad.insert("B".to_owned());
    world.roll("B");
}

/// The members of a set need each other: as long as one is missing or does not run, or one that does not is left over, none
/// is ready but those that stand `alone`.
fn need_each_other(world: &mut World, alone: &[u32]) {
    let runs = |world: &World, ordinal: &Ordinal| {
        let pod = world.pods.get(ordinal).filter(|pod| pod.phase == Phase::Running && !pod.terminating);
        pod.is_some_and(|pod| !world.bad.contains(world.image_of(pod.revision.as_ref())))
    };
    let complete = world.spec.ordinals().all(|ordinal| runs(world, &ordinal));
    let whole = complete && world.pods.keys().all(|ordinal| runs(world, ordinal));
    for ordinal in world.those(|pod| pod.phase == Phase::Running && !pod.terminating) {
        let ready = runs(world, &ordinal) && (whole || alone.contains(&ordinal.0));
        if world.pods[&ordinal].ready != ready {
            world.observe(ordinal, Phase::Running, ready);
        }
    }
}

/// Everything that runs becomes ready, and somebody removes what has ended out of range: under OrderedReady two such pods
/// wait for each other, as in Kubernetes.
fn recover(world: &mut World) {
    let spec = world.spec.clone();
    for ordinal in world.those(|pod| pod.phase.terminal() && !spec.contains(pod.ordinal)) {
        world.pods.remove(&ordinal);
    }
    for ordinal in world.those(|pod| matches!(pod.phase, Phase::Running | Phase::Unknown)) {
        world.observe(ordinal, Phase::Running, true);
    }
}

/// The set is as its spec says, and nobody finds anything to do or to wait for, but what partition and strategy hold.
fn assert_converged(world: &mut World) {
    let snapshot = world.request().snapshot;
    let expected: Vec<Ordinal> = snapshot.spec.ordinals().collect();
    assert_eq!(world.those(|_| true), expected, "other pods than wanted");
    assert!(snapshot.pods.iter().all(|pod| snapshot.healthy(pod)), "not healthy: {:?}", snapshot.pods);
    if let UpdateStrategy::RollingUpdate(_) = snapshot.spec.strategy {
        let updated = snapshot.pods.iter().filter(|pod| snapshot.spec.index(pod.ordinal) >= snapshot.spec.partition());
        for pod in updated {
            assert!(pod.at(&world.status.update_revision), "not updated: {pod:?}");
        }
    }
    let pass = world.pass();
    assert!(pass.actions == "none" && !pass.wrote && pass.update.revisions.is_empty(), "not at rest: {pass:?}");
    assert!(pass.ordinals.waits.is_empty(), "waits for nothing: {:?}", pass.ordinals.waits);
    let count = |revision| snapshot.pods.iter().filter(|pod| pod.at(revision)).count();
    let status = &world.status;
    assert_eq!(status.replicas as usize, expected.len());
    assert_eq!(status.available_replicas, status.replicas);
    assert_eq!(status.current_replicas as usize, count(&status.current_revision));
    assert_eq!(status.updated_replicas as usize, count(&status.update_revision));
    assert_eq!(status.observed_generation, world.generation);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn converges_after_any_history(mut world in world(), events in vec(event(), 0..40)) {
        for event in &events {
            happen(&mut world, event);
            world.pass();
        }
        recover(&mut world);
        world.settle();
        assert_converged(&mut world);
    }

    #[test]
    fn stops_after_any_history(
        mut world in world(), events in vec(event(), 0..20), deleted in any::<bool>()
    ) {
        for event in &events {
            happen(&mut world, event);
            world.pass();
        }
        world.intent = if deleted { Intent::Delete } else { Intent::Drain };
        world.settle();
        prop_assert!(world.pods.is_empty());
        prop_assert_eq!(world.status.replicas, 0);
    }

    /// Nothing breaks by itself and nobody interferes: then the update never has more pods down than it may.
    #[test]
    fn never_over_budget(mut world in world(), order in vec(any::<prop::sample::Index>(), ROLLOUT_PASSES_MAX)) {
        world.settle();
        world.roll("B");
        for place in order {
            let pass = world.pass();
            let snapshot = world.request().snapshot;
            let available = snapshot.members().filter(|pod| !snapshot.unavailable(pod)).count();
            let down = snapshot.spec.replicas as usize - available;
            prop_assert!(down <= snapshot.spec.max_unavailable() as usize, "{} down", down);
            // One pod at a time makes progress, in any order.
            let moving = world.those(|pod| pod.terminating || pod.phase == Phase::Pending);
            match moving.get(place.index(moving.len().max(1))) {
                Some(ordinal) if world.pods[ordinal].terminating => drop(world.pods.remove(ordinal)),
                Some(ordinal) => world.run(*ordinal),
                None if pass.actions == "none" => world.advance(Duration::from_secs(5)),
                None => {}
            }
        }
        world.settle();
        assert_converged(&mut world);
    }

    /// L3 at full availability: undoing a bad template replaces the pods of that template and no other. Whoever was ready
    /// when it was undone is the same incarnation when the set has come to rest, and was ready all the time.
    #[test]
    fn undo_restarts_no_healthy_pod(mut world in world(), passes in 0..30_usize, order in vec(any::<bool>(), 0..200)) {
        rolls(&mut world);
        world.settle();
        roll_to_bad(&mut world);
        for _ in 0..passes {
            world.pass();
            step(&mut world, true);
        }
        let ready = |world: &World| -> Vec<Uid> {
            world.pods.values().filter(|pod| pod.is_ready() && !pod.terminating).map(|pod| pod.uid.clone()).collect()
        };
        let healthy = ready(&world);
        world.roll("A");
        for both in order {
            world.pass();
            step(&mut world, both);
            let now = ready(&world);
            prop_assert!(healthy.iter().all(|uid| now.contains(uid)), "{healthy:?} were ready, now {now:?}");
        }
        world.settle();
        let now = ready(&world);
        prop_assert!(healthy.iter().all(|uid| now.contains(uid)), "{healthy:?} were ready, in the end {now:?}");
        assert_converged(&mut world);
    }

    /// The same where the members of the set need each other, so that a broken one takes all others with it.
    #[test]
    fn bad_templates_can_be_undone_where_pods_need_each_other(
        mut world in world(), passes in 0..60_usize, back in any::<bool>(), alone in vec(0..7_u32, 0..3),
        fewer in 0..3_u32
    ) {
        rolls(&mut world);
        world.settle();
        roll_to_bad(&mut world);
        let turn = |world: &mut World| {
            world.pass();
            step(world, true);
            need_each_other(world, &alone);
            world.advance(Duration::from_secs(5));
        };
        (0..passes).for_each(|_| turn(&mut world));
        world.roll(if back { "A" } else { "C" });
        world.spec.replicas = world.spec.replicas.saturating_sub(fewer);
        (0..ROLLOUT_PASSES_MAX).for_each(|_| turn(&mut world));
        world.settle();
        assert_converged(&mut world);
    }

    /// However far a bad template has come, a good one mends the set without anybody deleting pods.
    #[test]
    fn bad_templates_can_always_be_undone(
        mut world in world(), passes in 0..30_usize, back in any::<bool>(), first_is_bad in any::<bool>()
    ) {
        rolls(&mut world);
        // A partition keeps the pods below it at the revision they have, which must then be a good one.
        let partition = world.spec.partition();
        if first_is_bad && partition == 0 {
            world.bad.insert("A".to_owned());
        }
        world.settle();
        roll_to_bad(&mut world);
        for _ in 0..passes {
            world.pass();
            step(&mut world, true);
        }
        let back = back && !world.bad.contains("A");
        world.roll(if back { "A" } else { "C" });
        world.settle();
        assert_converged(&mut world);
    }
}
