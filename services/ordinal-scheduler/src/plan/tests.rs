//! One rule per line.

use domain::*;

use super::plan;

/// A set of `replicas` whose pods are given as `ordinal:state`, such as `0:ready 1:pending`.
fn request(policy: PodManagementPolicy, replicas: u32, pods: &str) -> OrdinalRequest {
    let pods = pods.split_whitespace().map(pod).collect();
    let spec = SetSpec { replicas, policy, min_ready_seconds: 10, ..SetSpec::default() };
    let target = TargetRange { first: Ordinal(0), last: Ordinal::MAX, revision: RevisionName("A".into()) };
    let generation = Generation(1);
    let snapshot = Snapshot { generation, spec, pods, now: Timestamp(100_000), ..Snapshot::default() };
    OrdinalRequest { snapshot, targets: vec![target] }
}

fn pod(text: &str) -> Pod {
    let (ordinal, state) = text.split_once(':').expect("ordinal:state");
    let ordinal = Ordinal(ordinal.parse().expect("a number"));
    let base = Pod { ordinal, uid: Uid(format!("uid-{ordinal}")), ..Pod::default() };
    let running = Pod { phase: Phase::Running, ..base.clone() };
    let ready = Pod { ready: true, ready_since: Some(Timestamp(0)), ..running.clone() };
    match state {
        "pending" => base,
        "broken" => running,
        "ready" => ready,
        "soaking" => Pod { ready_since: Some(Timestamp(95_000)), ..ready },
        "failed" => Pod { phase: Phase::Failed, ..base },
        "done" => Pod { phase: Phase::Succeeded, ..base },
        "unknown" => Pod { phase: Phase::Unknown, ..base },
        "stopping" => Pod { terminating: true, ..ready },
        "ended-stopping" => Pod { phase: Phase::Failed, terminating: true, ..base },
        _ => panic!("unknown state {state}"),
    }
}

/// A plan in words: what is done with which guard, then who waits for whom.
fn words(plan: &OrdinalPlan) -> String {
    let creations = plan.create.iter().map(|creation| format!("create {} ({:?})", creation.ordinal, creation.guard));
    let deletions = plan.delete.iter().map(|deletion| format!("delete {} ({:?})", deletion.ordinal, deletion.guard));
    let waits = plan.waits.iter().map(|wait| {
        let who = wait.ordinal.map_or_else(|| "set".to_owned(), |ordinal| ordinal.to_string());
        let reason = match &wait.reason {
            WaitReason::Pending { ordinal } => format!("Pending({ordinal})"),
            WaitReason::NotReady { ordinal } => format!("NotReady({ordinal})"),
            WaitReason::NotYetAvailable { ordinal, at } => {
                format!("NotYetAvailable({ordinal}@{})", at.map_or(0, |at| at.0 / 1000))
            }
            WaitReason::Terminating { ordinal } => format!("Terminating({ordinal})"),
            WaitReason::Missing { ordinal } => format!("Missing({ordinal})"),
            WaitReason::Ended { ordinal } => format!("Ended({ordinal})"),
            other => other.to_string(),
        };
        format!("{who}:{reason}")
    });
    creations.chain(deletions).chain(waits).collect::<Vec<_>>().join(", ")
}

fn check(replicas: u32, pods: &str, expected: &str) {
    let plan = plan(&request(PodManagementPolicy::OrderedReady, replicas, pods));
    assert_eq!(words(&plan), expected, "OrderedReady {replicas} with {pods}");
}

/// The same under Kubernetes' own rules.
fn check_kubernetes(replicas: u32, pods: &str, expected: &str) {
    let mut request = request(PodManagementPolicy::OrderedReady, replicas, pods);
    request.snapshot.switches = Switches::KUBERNETES;
    assert_eq!(words(&plan(&request)), expected, "OrderedReady {replicas} with {pods}");
}

fn check_parallel(replicas: u32, pods: &str, expected: &str) {
    let plan = plan(&request(PodManagementPolicy::Parallel, replicas, pods));
    assert_eq!(words(&plan), expected, "Parallel {replicas} with {pods}");
}

fn check_stop(policy: PodManagementPolicy, intent: Intent, pods: &str, expected: &str) {
    let mut request = request(policy, 3, pods);
    request.snapshot.intent = intent;
    assert_eq!(words(&plan(&request)), expected, "{policy:?} {intent:?} with {pods}");
}

#[test]
fn s_01_successors_wait_for_predecessors() {
    check(0, "", "");
    check(3, "", "create 0 (Predecessors), 1:Missing(0), 2:Missing(0)");
    check(3, "0:ready", "create 1 (Predecessors), 2:Missing(1)");
    check(3, "0:ready 1:ready", "create 2 (Predecessors)");
    check(3, "0:ready 1:ready 2:ready", "");
}

#[test]
fn s_02_s_04_s_17_unhealthy_predecessors_block() {
    check(2, "0:pending", "0:Pending(0), 1:Pending(0)");
    check(2, "0:broken", "0:NotReady(0), 1:NotReady(0)");
    check(2, "0:unknown", "0:NotReady(0), 1:NotReady(0)");
    check(2, "0:soaking", "0:NotYetAvailable(0@105), 1:NotYetAvailable(0@105)");
    check(3, "0:broken 1:pending", "0:NotReady(0), 1:Pending(1), 2:NotReady(0)");
}

#[test]
fn s_05_s_08_holes_are_filled_from_below() {
    check(5, "1:ready 3:ready", "create 0 (Predecessors), 2:Missing(0), 4:Missing(0)");
    check(3, "0:ready 1:stopping", "1:Terminating(1), 2:Terminating(1)");
}

#[test]
fn s_14_s_16_ended_pods_are_replaced_unless_they_are_stopping() {
    check(3, "0:failed 1:ready", "delete 0 (Pod), 2:Ended(0)");
    check(2, "0:ready 1:done", "delete 1 (Pod)");
    check(2, "0:ended-stopping 1:ready", "0:Terminating(0)");
    check_parallel(3, "0:failed 1:done 2:ended-stopping", "delete 0 (Pod), delete 1 (Pod), 2:Terminating(2)");
}

#[test]
fn s_23_s_25_condemned_pods_go_from_the_top_while_the_others_are_healthy() {
    check(1, "0:ready 1:ready 2:ready", "delete 2 (AllPods), 1:Terminating(2)");
    check(1, "0:ready 1:ready 2:stopping", "2:Terminating(2), 1:Terminating(2)");
    check(1, "0:broken 1:ready 2:ready", "0:NotReady(0), 2:NotReady(0), 1:NotReady(0)");
    check(2, "1:ready 2:ready", "create 0 (Predecessors), 2:Missing(0)");
}

#[test]
fn s_26_to_s_30_only_one_condemned_pod_may_be_unhealthy() {
    check_kubernetes(0, "0:broken 1:broken 2:broken", "2:NotReady(0), 1:NotReady(0), 0:NotReady(0)");
    check_kubernetes(0, "0:ready 1:ready 2:broken", "delete 2 (AllPods), 1:Terminating(2), 0:Terminating(2)");
    check_kubernetes(0, "0:ready 1:broken 2:ready", "delete 2 (AllPods), 1:Terminating(2), 0:Terminating(2)");
    check_kubernetes(0, "0:broken 1:ready 2:broken", "2:NotReady(0), 1:NotReady(0), 0:NotReady(0)");
    check_kubernetes(0, "0:failed 1:failed", "1:Ended(0), 0:Ended(0)");
    check_kubernetes(0, "0:soaking", "delete 0 (AllPods)");
}

#[test]
fn s_26_to_s_30_unhealthy_condemned_pods_hold_up_nobody() {
    check(0, "0:broken 1:broken 2:broken", "delete 2 (AllPods), 1:Terminating(2), 0:Terminating(2)");
    check(0, "0:broken 1:broken", "delete 1 (AllPods), 0:Terminating(1)");
    check(0, "0:failed 1:failed", "delete 1 (AllPods), 0:Terminating(1)");
    check(0, "0:broken 1:ready 2:stopping", "2:Terminating(2), 1:Terminating(2), 0:Terminating(2)");
    check(1, "0:broken 1:broken", "0:NotReady(0), 1:NotReady(0)");
}

#[test]
fn reserved_ordinals_are_left_out() {
    let reserve = |policy, replicas, pods: &str| {
        let mut request = request(policy, replicas, pods);
        request.snapshot.spec.reserved = vec![Ordinal(1), Ordinal(7)];
        words(&plan(&request))
    };
    let ordered = PodManagementPolicy::OrderedReady;
    assert_eq!(reserve(ordered, 3, "0:ready"), "create 2 (Predecessors), 3:Missing(2)");
    assert_eq!(reserve(ordered, 2, "0:ready 1:ready 2:ready"), "delete 1 (AllPods)");
    assert_eq!(reserve(ordered, 3, "0:ready 1:ready 2:ready"), "create 3 (Predecessors), 1:Missing(3)");
    assert_eq!(reserve(ordered, 3, "0:ready 2:ready 3:ready"), "");
    assert_eq!(reserve(PodManagementPolicy::Parallel, 3, ""), "create 0 (Pod), create 2 (Pod), create 3 (Pod)");
}

#[test]
fn pods_that_end_again_and_again_come_back_later() {
    let failing = |count, last_at| Failures { ordinal: Ordinal(0), count, last_at: Timestamp(last_at) };
    let with = |pods: &str, failures: &[Failures]| {
        let mut request = request(PodManagementPolicy::Parallel, 2, pods);
        request.snapshot.failures = failures.to_vec();
        plan(&request)
    };
    let first = with("0:failed 1:ready", &[]);
    assert_eq!(first.failures, [failing(1, 100_000)]);
    let at_once = with("1:ready", &[failing(1, 100_000)]);
    assert_eq!((words(&at_once).as_str(), at_once.look_again_at), ("create 0 (Pod)", None));
    let second = with("0:failed 1:ready", &[failing(1, 95_000)]);
    assert_eq!(second.failures, [failing(2, 100_000)]);
    let later = with("1:ready", &second.failures);
    let until = Timestamp(110_000);
    assert_eq!(
        later.waits,
        [Wait { ordinal: Some(Ordinal(0)), reason: WaitReason::BackOff { ordinal: Ordinal(0), until } }]
    );
    assert_eq!((later.create.len(), later.look_again_at, later.failures), (0, Some(until), vec![failing(2, 100_000)]));
    assert_eq!(words(&with("1:ready", &[failing(2, 90_000)])), "create 0 (Pod)");
    // It holds up nobody else.
    assert_eq!(words(&with("", &second.failures)), format!("create 1 (Pod), 0:{}", later.waits[0].reason));
    assert_eq!(with("1:ready", &[failing(9, -600_000)]).failures, []);
}

#[test]
fn after_a_total_outage_members_start_together() {
    let outage = |pods: &str, formed: Option<u32>, now| {
        let mut request = request(PodManagementPolicy::OrderedReady, 4, pods);
        request.snapshot.formed = formed.map(Ordinal);
        request.snapshot.now = Timestamp(now);
        plan(&request)
    };
    // Pods of these tests are made at 0.
    let patient = outage("0:broken", Some(2), 29_999);
    assert_eq!(words(&patient), "0:NotReady(0), 1:NotReady(0), 2:NotReady(0), 3:NotReady(0)");
    assert_eq!((patient.cold_start, patient.look_again_at), (false, Some(Timestamp(30_000))));
    let together = outage("0:broken", Some(2), 30_000);
    assert_eq!(words(&together), "create 1 (AllPods), create 2 (AllPods), 3:NotReady(0), 0:NotReady(0)");
    assert!(together.cold_start);
    assert_eq!(
        words(&outage("0:broken 2:failed", Some(2), 30_000)),
        "create 1 (AllPods), delete 2 (Pod), 3:NotReady(0), 0:NotReady(0)"
    );
    for (pods, formed) in [
        ("0:broken", None),
        // It was alone when it was healthy.
        ("0:broken", Some(0)),
        ("0:stopping", Some(2)),
        ("", Some(2)),
        // It is on its way, however long the other has been broken.
        ("0:stopping 1:broken", Some(2)),
        ("0:failed 1:broken", Some(2)),
        ("1:broken", Some(2)),
    ] {
        let plan = outage(pods, formed, 1_000_000);
        assert!(!plan.cold_start && plan.create.iter().all(|creation| creation.guard != Guard::AllPods), "{pods}");
    }
}

#[test]
fn s_209_former_members_come_back_where_the_lowest_makes_no_headway() {
    let partial = |pods: &str, now| {
        let mut request = request(PodManagementPolicy::OrderedReady, 5, pods);
        (request.snapshot.formed, request.snapshot.now) = (Some(Ordinal(3)), Timestamp(now));
        plan(&request)
    };
    let patient = partial("0:ready 1:broken 2:failed", 29_999);
    assert_eq!(words(&patient), "1:NotReady(1), 2:Ended(2), 3:NotReady(1), 4:NotReady(1)");
    assert_eq!(patient.look_again_at, Some(Timestamp(30_000)));
    // There is a healthy one for clients to find: names are served as ever.
    let company = partial("0:ready 1:broken 2:failed", 30_000);
    assert_eq!(words(&company), "create 3 (AllPods), delete 2 (Pod), 4:NotReady(1), 1:NotReady(1)");
    assert!(!company.cold_start);
    for pods in ["0:ready 1:stopping", "0:ready 1:failed", "0:ready 1:soaking"] {
        assert!(partial(pods, 100_000).create.is_empty(), "{pods}");
    }
    assert_eq!(
        words(&partial("0:ready", 100_000)),
        "create 1 (Predecessors), 2:Missing(1), 3:Missing(1), 4:Missing(1)"
    );
}

#[test]
fn s_209_the_highest_pod_out_of_range_goes_where_it_was_left_behind_broken() {
    let scaled = |pods: &str, at: &str, now| {
        let mut request = request(PodManagementPolicy::OrderedReady, 2, pods);
        let name = |name: &str| RevisionName(name.into());
        let (current_revision, update_revision) = (name("A"), name("C"));
        let status = SetStatus { observed_generation: 1, current_revision, update_revision, ..SetStatus::default() };
        (request.snapshot.status, request.snapshot.now) = (status, Timestamp(now));
        let at = |pod: &PodRun| Pod { revision: Some(name(at)), ..pod.pods().next().expect("one") };
        request.snapshot.pods = request.snapshot.pods.iter().map(at).collect::<Vec<_>>().into();
        plan(&request)
    };
    let patient = scaled("0:broken 1:ready 3:broken", "B", 29_999);
    assert_eq!(
        (words(&patient).as_str(), patient.look_again_at),
        ("0:NotReady(0), 3:NotReady(0)", Some(Timestamp(30_000)))
    );
    assert_eq!(
        words(&scaled("0:broken 1:ready 2:ready 3:broken", "B", 30_000)),
        "delete 3 (AllPods), 0:NotReady(0), 2:NotReady(0)"
    );
    // One that has ended gets no better.
    assert_eq!(words(&scaled("0:broken 3:failed", "B", 30_000)), "delete 3 (AllPods), 0:NotReady(0), 1:NotReady(0)");
    // At a revision of the set it may only be slow.
    for at in ["A", "C"] {
        assert_eq!(scaled("0:broken 3:broken", at, 100_000).look_again_at, Some(Timestamp(120_000)));
        assert_eq!(scaled("0:broken 3:broken", at, 120_000).delete.len(), 1);
    }
    for (pods, at) in [
        ("0:broken 3:ready", "B"),
        ("0:broken 2:broken 3:ready", "B"),
        ("0:stopping 3:broken", "B"),
        ("0:broken 3:stopping", "B"),
        ("0:broken 3:ended-stopping", "B"),
        ("3:broken", "B"),
    ] {
        assert!(scaled(pods, at, 900_000).delete.is_empty(), "{pods} at {at}");
    }
}

#[test]
fn a_cold_start_goes_on_until_all_are_healthy() {
    let started = |pods: &str| {
        let mut request = request(PodManagementPolicy::OrderedReady, 3, pods);
        (request.snapshot.formed, request.snapshot.cold_start) = (Some(Ordinal(2)), true);
        plan(&request)
    };
    assert!(started("0:ready 1:broken").cold_start);
    assert_eq!(words(&started("0:ready 1:broken")), "create 2 (AllPods), 1:NotReady(1)");
    assert!(!started("0:ready 1:ready 2:ready").cold_start);
}

#[test]
fn s_34_lower_condemned_pods_that_stop_do_not_hide_higher_ones() {
    check(0, "0:ready 1:stopping 2:stopping", "2:Terminating(2), 1:Terminating(1), 0:Terminating(2)");
    check(0, "0:stopping 1:broken", "delete 1 (AllPods), 0:Terminating(0)");
    check_kubernetes(0, "0:stopping 1:broken", "1:Terminating(0), 0:Terminating(0)");
}

#[test]
fn s_03_s_06_s_22_s_32_parallel_ignores_health() {
    check_parallel(3, "", "create 0 (Pod), create 1 (Pod), create 2 (Pod)");
    check_parallel(3, "1:broken", "create 0 (Pod), create 2 (Pod), 1:NotReady(1)");
    check_parallel(0, "0:broken 1:pending", "delete 1 (Pod), delete 0 (Pod)");
    check_parallel(1, "0:soaking 4:stopping 7:ready", "delete 7 (Pod), 0:NotYetAvailable(0@105), 4:Terminating(4)");
}

#[test]
fn s_215_sets_stop_from_the_top() {
    let ordered = PodManagementPolicy::OrderedReady;
    for intent in [Intent::Drain, Intent::Delete] {
        check_stop(ordered, intent, "0:ready 1:broken", "delete 1 (Pod), 0:Terminating(1)");
        check_stop(ordered, intent, "0:ready 1:stopping", "1:Terminating(1), 0:Terminating(1)");
        check_stop(ordered, intent, "", "");
        check_stop(PodManagementPolicy::Parallel, intent, "0:ready 5:pending", "delete 5 (Pod), delete 0 (Pod)");
    }
}

#[test]
fn deletions_say_why() {
    let why = |request| plan(&request).delete.into_iter().map(|deletion| deletion.why).collect::<Vec<_>>();
    let ordered = |replicas, pods| request(PodManagementPolicy::OrderedReady, replicas, pods);
    assert_eq!(why(ordered(2, "0:ready 1:ready 2:ready")), ["scaling down: the set keeps ordinals 0 to 1"]);
    assert_eq!(why(ordered(1, "0:ready 1:ready")), ["scaling down: the set keeps only ordinal 0"]);
    assert_eq!(why(ordered(0, "0:ready")), ["scaling down: the set keeps no pods"]);
    assert_eq!(why(ordered(1, "0:failed")), ["replacing it: it has ended in phase Failed"]);
}

#[test]
fn ordinals_without_a_target_wait() {
    let mut request = request(PodManagementPolicy::OrderedReady, 1, "");
    request.targets.clear();
    assert_eq!(words(&plan(&request)), "0:no revision has been chosen for pod 0");
}

#[test]
fn huge_sets_are_answered_in_bounded_space() {
    let huge = u32::try_from(i32::MAX).expect("positive");
    let ordered = plan(&request(PodManagementPolicy::OrderedReady, huge, "1:broken"));
    assert_eq!((ordered.create.len(), ordered.waits.len()), (1, WAITS_MAX + 1));
    let parallel = plan(&request(PodManagementPolicy::Parallel, huge, "1:broken"));
    assert_eq!(parallel.create.len(), 10_000);
    assert_eq!(parallel.create[1].ordinal, Ordinal(2));
    assert_eq!(
        parallel.waits.last().map(|wait| wait.reason.to_string()).as_deref(),
        Some("2147473646 more pods are created in the next passes, 10000 at a time")
    );
}
