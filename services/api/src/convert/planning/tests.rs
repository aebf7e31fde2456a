//! What goes out comes back, and what is wrong is said whole.

use domain::*;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::convert::Violations;
use crate::proto::{ordinal_scheduler, planning, update_planner};

fn text() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,12}"
}

fn label() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,12}"
}

fn name() -> impl Strategy<Value = RevisionName> {
    text().prop_map(|name| RevisionName(name.into()))
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn ordinal() -> impl Strategy<Value = Ordinal> {
    (0..=Ordinal::MAX.0).prop_map(Ordinal)
}

fn guard() -> impl Strategy<Value = Guard> {
    prop_oneof![Just(Guard::Pod), Just(Guard::Predecessors), Just(Guard::AllPods)]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Pending),
        Just(Phase::Running),
        Just(Phase::Succeeded),
        Just(Phase::Failed),
        Just(Phase::Unknown)
    ]
}

fn strategy() -> impl Strategy<Value = UpdateStrategy> {
    let bound =
        prop_oneof![(0..=i32::MAX as u32).prop_map(IntOrPercent::Int), (0..=100_u32).prop_map(IntOrPercent::Percent)];
    let block = (0..=i32::MAX as u32, option::of(bound))
        .prop_map(|(partition, max_unavailable)| RollingUpdate { partition, max_unavailable });
    prop_oneof![option::of(block).prop_map(UpdateStrategy::RollingUpdate), Just(UpdateStrategy::OnDelete)]
}

fn spec() -> impl Strategy<Value = SetSpec> {
    let policy = prop_oneof![Just(PodManagementPolicy::OrderedReady), Just(PodManagementPolicy::Parallel)];
    let rule = || prop_oneof![Just(RetentionRule::Retain), Just(RetentionRule::Delete)];
    let range = (1..=i32::MAX as u32, 0..1_000_u32, btree_set(ordinal(), 0..4));
    (range, policy, strategy(), any::<u32>(), any::<i32>(), rule(), rule(), own()).prop_map(
        |((replicas, start, reserved), policy, strategy, seconds, limit, when_deleted, when_scaled, own)| SetSpec {
            replicas,
            start: Ordinal(start),
            policy,
            strategy,
            min_ready_seconds: seconds,
            revision_history_limit: limit,
            retention: RetentionPolicy { when_deleted, when_scaled },
            reserved: reserved.into_iter().collect(),
            ..own
        },
    )
}

/// The fields that only our own group has.
fn own() -> impl Strategy<Value = SetSpec> {
    let policy = prop_oneof![Just(DeadlinePolicy::Hold), Just(DeadlinePolicy::Revert)];
    (any::<bool>(), any::<u32>(), policy).prop_map(|(paused, seconds, policy)| SetSpec {
        paused,
        progress_deadline_seconds: seconds,
        progress_deadline_policy: policy,
        ..SetSpec::default()
    })
}

fn status() -> impl Strategy<Value = SetStatus> {
    (0..i64::MAX, any::<[u32; 6]>(), text(), text()).prop_map(|(generation, counts, current, update)| SetStatus {
        observed_generation: generation,
        replicas: counts[0],
        ready_replicas: counts[1],
        available_replicas: counts[2],
        current_replicas: counts[3],
        updated_replicas: counts[4],
        current_revision: RevisionName(current.into()),
        update_revision: RevisionName(update.into()),
        collision_count: counts[5],
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    let identity = (ordinal(), text(), any::<u64>(), time());
    let readiness = (phase(), any::<bool>(), option::of(time()), option::of(cause()));
    let end = (any::<bool>(), option::of(time()));
    (identity, readiness, end, option::of(name())).prop_map(
        |(
            (ordinal, uid, version, created_at),
            (phase, ready, ready_since, cause),
            (terminating, stops_by),
            revision,
        )| Pod {
            ordinal,
            uid: Uid(uid),
            version,
            phase,
            ready,
            ready_since,
            terminating,
            stops_by,
            revision,
            created_at,
            cause,
        },
    )
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Placement),
        Just(Cause::Volume),
        Just(Cause::Image),
        Just(Cause::Configuration),
        Just(Cause::Hook),
        Just(Cause::CrashLoop),
        Just(Cause::Readiness),
        Just(Cause::Dns),
        Just(Cause::Termination),
        Just(Cause::Name),
    ]
}

fn failures() -> impl Strategy<Value = Failures> {
    (ordinal(), 1..=u32::MAX, time()).prop_map(|(ordinal, count, last_at)| Failures { ordinal, count, last_at })
}

fn outage() -> impl Strategy<Value = Outage> {
    (ordinal(), time()).prop_map(|(ordinal, since)| Outage { ordinal, since })
}

fn stuck() -> impl Strategy<Value = Stuck> {
    (ordinal(), time(), option::of(cause())).prop_map(|(ordinal, since, cause)| Stuck { ordinal, since, cause })
}

/// Each switch by itself, so that none is taken for another.
fn switches() -> impl Strategy<Value = Switches> {
    let own = Switches::KUBERNETES;
    prop_oneof![
        Just(Switches::SETKEEPER),
        Just(Switches { heal_broken_pods: true, ..own }),
        Just(Switches { promote_when_available: true, ..own }),
        Just(Switches { keep_current_at_zero: true, ..own }),
        Just(Switches { count_observed_pods: true, ..own }),
        Just(Switches { current_from_pods: true, ..own }),
        Just(Switches { remove_broken_condemned: true, ..own }),
        Just(Switches { back_off_failed_pods: true, ..own }),
        Just(Switches { break_cold_start: true, ..own }),
    ]
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let intent = prop_oneof![Just(Intent::Keep), Just(Intent::Drain), Just(Intent::Delete)];
    let set = (label(), label(), text()).prop_map(|(namespace, name, uid)| SetRef { namespace, name, uid: Uid(uid) });
    let memory = (
        vec(failures(), 0..3),
        vec(outage(), 0..3),
        option::of(ordinal()),
        (any::<bool>(), option::of(time()), option::of(time())),
    );
    (set, 0..i64::MAX, spec(), intent, status(), vec(pod(), 0..6), memory, (switches(), time())).prop_map(
        |(
            set,
            generation,
            spec,
            intent,
            status,
            mut pods,
            (failures, outages, formed, (cold_start, resumed_at, watched_since)),
            (switches, now),
        )| {
            pods.sort_by_key(|pod| pod.ordinal);
            pods.dedup_by_key(|pod| pod.ordinal);
            let generation = Generation(generation);
            Snapshot {
                set,
                generation,
                spec,
                intent,
                status,
                pods: pods.into(),
                failures,
                outages,
                formed,
                cold_start,
                resumed_at,
                watched_since,
                switches,
                now,
            }
        },
    )
}

/// Cuts the range of `spec` where `cuts` says.
fn targets_of(spec: &SetSpec, cuts: Vec<u32>, revision: &RevisionName) -> Vec<TargetRange> {
    let mut range = spec.ordinals();
    let first = range.next().expect("at least one replica");
    let last = range.next_back().unwrap_or(first);
    let mut starts: Vec<u32> = cuts.into_iter().filter(|cut| *cut > first.0 && *cut <= last.0).collect();
    starts.push(first.0);
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([last.0]).collect::<Vec<_>>();
    let ranges = starts.into_iter().zip(ends);
    ranges
        .map(|(first, last)| TargetRange { first: Ordinal(first), last: Ordinal(last), revision: revision.clone() })
        .collect()
}

fn targets() -> impl Strategy<Value = Vec<TargetRange>> {
    (spec(), vec(any::<u32>(), 0..4), name()).prop_map(|(spec, cuts, name)| targets_of(&spec, cuts, &name))
}

fn revision() -> impl Strategy<Value = Revision> {
    (name(), 1..i64::MAX, ".*", time()).prop_map(|(name, number, data, created_at)| Revision {
        name,
        number,
        data,
        created_at,
    })
}

fn creation() -> impl Strategy<Value = PodCreation> {
    (ordinal(), name(), guard()).prop_map(|(ordinal, revision, guard)| PodCreation { ordinal, revision, guard })
}

fn deletion() -> impl Strategy<Value = PodDeletion> {
    (ordinal(), text(), ".*", guard()).prop_map(|(ordinal, uid, why, guard)| PodDeletion {
        ordinal,
        uid: Uid(uid),
        why,
        guard,
    })
}

fn reason() -> impl Strategy<Value = WaitReason> {
    let of_ordinal = (ordinal(), option::of(time()), 0..7).prop_map(|(ordinal, at, kind)| match kind {
        0 => WaitReason::Pending { ordinal },
        1 => WaitReason::NotReady { ordinal },
        2 => WaitReason::NotYetAvailable { ordinal, at },
        3 => WaitReason::Terminating { ordinal },
        4 => WaitReason::Missing { ordinal },
        5 => WaitReason::Ended { ordinal },
        _ => WaitReason::ScalingDown { ordinal },
    });
    let of_words = (".*", ".*", 0..6).prop_map(|(claim, owner, kind)| match kind {
        0 => WaitReason::ClaimTerminating { claim },
        1 => WaitReason::ClaimStale { claim },
        2 => WaitReason::ClaimForeign { claim, owner },
        3 => WaitReason::NameTaken { pod: claim, uid: Uid(owner) },
        4 => WaitReason::ServiceUnavailable { service: claim, error: owner },
        _ => WaitReason::Other { message: claim },
    });
    let of_numbers = (any::<u32>(), any::<u32>(), 0..3).prop_map(|(a, b, kind)| match kind {
        0 => WaitReason::BudgetSpent { unavailable: a, max_unavailable: b },
        1 => WaitReason::Partition { partition: a },
        _ => WaitReason::OnDelete,
    });
    let back_off = (ordinal(), time()).prop_map(|(ordinal, until)| WaitReason::BackOff { ordinal, until });
    prop_oneof![of_ordinal, of_words, of_numbers, Just(WaitReason::Paused), back_off]
}

fn wait() -> impl Strategy<Value = Wait> {
    (option::of(ordinal()), reason()).prop_map(|(ordinal, reason)| Wait { ordinal, reason })
}

fn change() -> impl Strategy<Value = RevisionChange> {
    prop_oneof![
        revision().prop_map(RevisionChange::Create),
        (name(), 1..i64::MAX).prop_map(|(name, number)| RevisionChange::Renumber { name, number }),
        name().prop_map(|name| RevisionChange::Prune { name }),
    ]
}

proptest! {
    #[test]
    fn update_requests_survive_the_wire(
        snapshot in snapshot(), template in ".+", revisions in vec(revision(), 0..4),
        foreign in vec(revision(), 0..3), equal in option::of(name())
    ) {
        let request = UpdateRequest { snapshot, template, revisions, foreign, equal_after_defaulting: equal };
        let wire = update_planner::v1::PlanRequest::from(request.clone());
        prop_assert_eq!(UpdateRequest::try_from(wire), Ok(request));
    }

    #[test]
    fn update_plans_survive_the_wire(
        revisions in vec(change(), 0..4), targets in targets(), replace in vec(deletion(), 0..4),
        waits in vec(wait(), 0..8), status in status(), stuck in vec(stuck(), 0..3), outages in vec(outage(), 0..3),
        (revert, look_again_at, recall, status_refusal) in
            (option::of(name()), option::of(time()), vec(ordinal(), 0..3), option::of(".+"))
    ) {
        let plan = UpdatePlan { revisions, targets, replace, recall, waits, status, status_refusal, stuck, outages, revert, look_again_at };
        let wire = update_planner::v1::PlanResponse::from(plan.clone());
        prop_assert_eq!(UpdatePlan::try_from(wire), Ok(plan));
    }

    #[test]
    fn ordinal_requests_survive_the_wire(snapshot in snapshot(), cuts in vec(any::<u32>(), 0..4), name in name()) {
        let targets = targets_of(&snapshot.spec, cuts, &name);
        let request = OrdinalRequest { snapshot, targets };
        let wire = ordinal_scheduler::v1::PlanRequest::from(request.clone());
        prop_assert_eq!(OrdinalRequest::try_from(wire), Ok(request));
    }

    #[test]
    fn ordinal_plans_survive_the_wire(
        create in vec(creation(), 0..4), delete in vec(deletion(), 0..4), waits in vec(wait(), 0..8),
        failures in vec(failures(), 0..3), cold_start in any::<bool>(), look_again_at in option::of(time())
    ) {
        let plan = OrdinalPlan { create, delete, waits, failures, cold_start, look_again_at };
        let wire = ordinal_scheduler::v1::PlanResponse::from(plan.clone());
        prop_assert_eq!(OrdinalPlan::try_from(wire), Ok(plan));
    }
}

#[test]
fn every_violation_is_named_at_once() {
    let bad_pod = planning::v1::Pod { ordinal: u32::MAX, phase: 9, ..Default::default() };
    let good_pod = planning::v1::Pod { uid: "a".into(), phase: 1, ..Default::default() };
    let snapshot = planning::v1::Snapshot {
        set: Some(planning::v1::SetRef { namespace: "Default".into(), name: "web".into(), uid: String::new() }),
        generation: -1,
        spec: Some(planning::v1::SetSpec {
            replicas: u32::MAX,
            strategy: 2,
            rolling_update: Some(Default::default()),
            ..Default::default()
        }),
        pods: vec![bad_pod, good_pod],
        ..Default::default()
    };
    let request = ordinal_scheduler::v1::PlanRequest { snapshot: Some(snapshot), targets: Vec::new() };
    let Err(Violations(violations)) = OrdinalRequest::try_from(request) else { panic!("accepted") };
    let fields: Vec<&str> = violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "snapshot.set.namespace",
            "snapshot.set.uid",
            "snapshot.generation",
            "snapshot.spec.replicas",
            "snapshot.spec.policy",
            "snapshot.spec.rolling_update",
            "snapshot.spec.when_deleted",
            "snapshot.spec.when_scaled",
            "snapshot.spec.progress_deadline_policy",
            "snapshot.intent",
            "snapshot.pods[1].ordinal",
            "snapshot.pods[0].ordinal",
            "snapshot.pods[0].uid",
            "snapshot.pods[0].phase",
            "snapshot.now",
        ]
    );
}

/// A snapshot as it comes in, with single pods of these ordinals, and runs.
fn in_runs(alone: &[u32], runs: &[(u32, u32)]) -> Result<Vec<(u32, String)>, String> {
    let since = Some(prost_types::Timestamp { seconds: 7, nanos: 0 });
    let pod = |ordinal: &u32| planning::v1::Pod {
        ordinal: *ordinal,
        uid: "alone".into(),
        phase: planning::v1::Phase::Pending.into(),
        created_at: since,
        ..Default::default()
    };
    let run = |(first, last): &(u32, u32)| planning::v1::SteadyPods {
        first: *first,
        last: *last,
        revision: "web-a".into(),
        ready_since: since,
    };
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
    let snapshot = planning::v1::Snapshot {
        pods: alone.iter().map(pod).collect(),
        steady: runs.iter().map(run).collect(),
        ..Snapshot { set, ..Snapshot::default() }.into()
    };
    let snapshot = Snapshot::try_from(snapshot).map_err(|violations| violations.to_string())?;
    let steady = |pod: &Pod| pod.is_ready() && pod.ready_since == Some(Timestamp(7_000)) && pod.uid.0.is_empty();
    let told = |pod: &Pod| (pod.ordinal.0, if steady(pod) { "steady".to_owned() } else { pod.uid.0.clone() });
    Ok(snapshot.pods.iter().flat_map(PodRun::pods).map(|pod| told(&pod)).collect())
}

#[test]
fn pods_in_runs_and_pods_alone_are_one_list() {
    let pods = |pods: &[(u32, &str)]| Ok(pods.iter().map(|(ordinal, what)| (*ordinal, (*what).to_owned())).collect());
    let (alone, steady) = ("alone", "steady");
    assert_eq!(in_runs(&[], &[]), pods(&[]));
    assert_eq!(in_runs(&[], &[(4, 5)]), pods(&[(4, steady), (5, steady)]));
    assert_eq!(
        in_runs(&[0, 3, 9], &[(1, 2), (4, 4), (6, 7)]),
        pods(&[(0, alone), (1, steady), (2, steady), (3, alone), (4, steady), (6, steady), (7, steady), (9, alone)])
    );
}

#[test]
fn runs_that_are_none_are_refused() {
    let refused = |alone: &[u32], runs: &[(u32, u32)]| in_runs(alone, runs).expect_err("refused");
    assert_eq!(refused(&[], &[(2, 1)]), "steady[0].last: must not be below first");
    assert_eq!(refused(&[], &[(0, 2), (2, 3)]), "steady[1].first: must be above the last of the run before");
    assert_eq!(refused(&[2], &[(0, 2)]), "pods: has ordinal 2, which is one of steady");
    assert_eq!(refused(&[], &[(0, 499_999), (500_001, 500_001)]), "steady: has 500001 pods, may have at most 500000");
    assert_eq!(refused(&[], &[(0, u32::MAX)]), "steady[0].last: must be at most 2147483647");
}

#[test]
fn a_run_that_is_not_available_is_none() {
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
    let spec = SetSpec { min_ready_seconds: 10, ..SetSpec::default() };
    let whole = Snapshot { set, spec, now: Timestamp(100_000), ..Snapshot::default() };
    let with = |ready_since: Option<i64>| {
        let ready_since = ready_since.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        let run = planning::v1::SteadyPods { first: 0, last: 1, revision: "web-a".into(), ready_since };
        let snapshot = planning::v1::Snapshot { steady: vec![run], ..whole.clone().into() };
        Snapshot::try_from(snapshot).map(|snapshot| snapshot.pods.count()).map_err(|violations| violations.to_string())
    };
    let refused = Err("steady[0].ready_since: must be min_ready_seconds ago, or earlier".to_owned());
    assert_eq!(with(Some(90)), Ok(2));
    assert_eq!(with(Some(91)), refused);
    assert_eq!(with(None), refused);
}

#[test]
fn targets_cover_the_range_without_gaps() {
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
    let spec = SetSpec { replicas: 4, ..SetSpec::default() };
    let snapshot = Snapshot { set, spec, ..Snapshot::default() };
    let range =
        |first, last| TargetRange { first: Ordinal(first), last: Ordinal(last), revision: RevisionName("r".into()) };
    let check = |targets| {
        let request = OrdinalRequest { snapshot: snapshot.clone(), targets };
        let wire = ordinal_scheduler::v1::PlanRequest::from(request);
        OrdinalRequest::try_from(wire).map(drop).map_err(|violations| violations.to_string())
    };
    assert_eq!(check(vec![range(0, 1), range(2, 3)]), Ok(()));
    assert_eq!(check(vec![range(0, 1)]), Err("targets: must cover every ordinal in range".into()));
    assert_eq!(
        check(vec![range(0, 0), range(2, 3)]),
        Err("targets[1].first: must follow the last of the range before".into())
    );
}

#[test]
fn reason_of_a_later_version_is_not_an_error() {
    let wire = planning::v1::Wait { ordinal: Some(3), reason: None };
    let wait = Wait::try_from(wire).expect("readable");
    assert_eq!(wait.ordinal, Some(Ordinal(3)));
    assert!(matches!(wait.reason, WaitReason::Other { .. }));
}
