//! Since when an ordinal has not been available, and what comes of it.

use domain::*;

use super::super::plan;
use super::request;

/// Seconds of the deadline of these tests.
const DEADLINE: u32 = 600;

/// A set of three whose update revision C is known, at the time `now`, with its outages as `ordinal@since`.
fn watched(policy: PodManagementPolicy, pods: &str, outages: &str, now: i64) -> UpdateRequest {
    let mut request = request(policy, "C", pods);
    let snapshot = &mut request.snapshot;
    snapshot.spec.progress_deadline_seconds = DEADLINE;
    snapshot.status.update_revision = RevisionName("C".into());
    snapshot.now = Timestamp(now);
    snapshot.outages = outages.split_whitespace().map(outage).collect();
    request
}

fn outage(text: &str) -> Outage {
    let (ordinal, since) = text.split_once('@').expect("ordinal@since");
    let number = |text: &str| text.parse::<i64>().expect("a number");
    Outage { ordinal: Ordinal(u32::try_from(number(ordinal)).expect("small")), since: Timestamp(number(since)) }
}

/// Stuck ordinals, what is remembered, and when to look again: `stuck 1@5 Volume; remembers 1@5; looks at 9`.
fn words(request: &UpdateRequest) -> String {
    let plan = plan(request);
    let stuck = plan.stuck.iter().map(|stuck| {
        let cause = stuck.cause.map_or_else(String::new, |cause| format!(" {cause:?}"));
        format!("stuck {}@{}{cause}", stuck.ordinal, stuck.since.0)
    });
    let remembers = plan.outages.iter().map(|outage| format!("remembers {}@{}", outage.ordinal, outage.since.0));
    let looks = plan.look_again_at.map(|at| format!("looks at {}", at.0));
    stuck.chain(remembers).chain(looks).collect::<Vec<_>>().join("; ")
}

fn check(pods: &str, outages: &str, now: i64, expected: &str) {
    let request = watched(PodManagementPolicy::OrderedReady, pods, outages, now);
    assert_eq!(words(&request), expected, "OrderedReady with {pods}, out {outages}, at {now}");
}

fn check_parallel(pods: &str, outages: &str, now: i64, expected: &str) {
    let request = watched(PodManagementPolicy::Parallel, pods, outages, now);
    assert_eq!(words(&request), expected, "Parallel with {pods}, out {outages}, at {now}");
}

#[test]
fn pods_have_their_time_and_are_then_told() {
    let mut request = request(PodManagementPolicy::Parallel, "C", "0:ready@A 1:broken@A 2:pending@C");
    request.snapshot.spec.progress_deadline_seconds = 600;
    request.snapshot.switches.heal_broken_pods = false;
    for pod in request.snapshot.pods.iter_mut() {
        pod.created_at = Timestamp(1_000);
    }
    // Pod 1 was ready until later.
    request.snapshot.pods[1].ready_since = Some(Timestamp(50_000));
    request.snapshot.pods[2].cause = Some(Cause::Image);
    let at = |request: &mut UpdateRequest, now| {
        request.snapshot.now = Timestamp(now);
        let plan = plan(request);
        (plan.stuck, plan.look_again_at, plan.revert)
    };
    assert_eq!(at(&mut request, 600_999), (vec![], Some(Timestamp(601_000)), None));
    let image = Stuck { ordinal: Ordinal(2), since: Timestamp(1_000), cause: Some(Cause::Image) };
    assert_eq!(at(&mut request, 601_000), (vec![image.clone()], Some(Timestamp(650_000)), None));
    let lost = Stuck { ordinal: Ordinal(1), since: Timestamp(50_000), cause: None };
    assert_eq!(at(&mut request, 700_000), (vec![lost.clone(), image.clone()], None, None));
    request.snapshot.spec.progress_deadline_policy = DeadlinePolicy::Revert;
    let back = Some(RevisionName("A".into()));
    assert_eq!(at(&mut request, 700_000), (vec![lost.clone(), image], None, back));
    // Only a pod of the new revision takes it back.
    request.snapshot.pods.truncate(2);
    assert_eq!(at(&mut request, 700_000), (vec![lost], None, None));
    // One that is replaced anyway has no time to keep.
    request.snapshot.switches.heal_broken_pods = true;
    assert_eq!(at(&mut request, 700_000), (vec![], None, None));
    request.snapshot.switches.watch_progress = false;
    assert_eq!(at(&mut request, 700_000), (vec![], None, None));
}

#[test]
fn a_pod_that_comes_back_again_and_again_does_not_restart_the_clock() {
    // Pods of these tests are made at 0; this one is not the first of its ordinal.
    check("0:ready@C 1:broken@C", "1@-500000", 99_999, "remembers 1@-500000; looks at 100000");
    check("0:ready@C 1:broken@C", "1@-500000", 100_000, "stuck 1@-500000; remembers 1@-500000");
    // What the pod tells itself is not remembered.
    check("0:ready@C 1:broken@C", "1@0", 1, "looks at 600000");
    check("0:ready@C 1:broken@C", "", 1, "looks at 600000");
    // It ends, or is deleted: the next one must know since when.
    check("0:ready@C 1:failed@C", "", 1, "remembers 1@0");
    check("0:ready@C 1:failed@C", "1@-500000", 1, "remembers 1@-500000; looks at 100000");
    check("0:ready@C 1:gone@C", "", 1, "remembers 1@0; looks at 600000");
    // While the next one is made, and while nobody may make it.
    check("0:ready@C 2:ready@C", "1@-500000", 100_000, "stuck 1@-500000; remembers 1@-500000");
    // Once it is available, nothing is left.
    check("0:ready@C 1:ready@C 2:ready@C", "1@-500000", 100_000, "");
}

#[test]
fn readiness_is_progress_and_availability_its_end() {
    let mut soaking = watched(PodManagementPolicy::OrderedReady, "0:ready@C 1:ready@C", "1@-900000", 1_000);
    soaking.snapshot.spec.min_ready_seconds = 60;
    soaking.snapshot.pods[0].ready_since = Some(Timestamp(-900_000));
    soaking.snapshot.pods[1].ready_since = Some(Timestamp(0));
    assert_eq!(words(&soaking), "remembers 1@-900000; looks at 60000");
    soaking.snapshot.pods[1].ready = false;
    assert_eq!(words(&soaking), "stuck 1@-900000; remembers 1@-900000");
}

#[test]
fn who_waits_for_a_predecessor_has_all_the_time() {
    check("1:ready@C", "0@10 2@20", 600_020, "stuck 0@10; remembers 0@10");
    check_parallel("1:ready@C", "0@10 2@20", 600_020, "stuck 0@10; stuck 2@20; remembers 0@10; remembers 2@20");
    check("0:broken@C 1:failed@C", "2@20", 1, "looks at 600000");
    // A set that is started as a whole has no order.
    let mut together = watched(PodManagementPolicy::OrderedReady, "0:broken@C", "2@20", 600_020);
    (together.snapshot.cold_start, together.snapshot.formed) = (true, Some(Ordinal(2)));
    assert_eq!(words(&together), "stuck 0@0; stuck 2@20; remembers 2@20");
    // Whoever was no member before waits as ever.
    together.snapshot.formed = Some(Ordinal(1));
    assert_eq!(words(&together), "stuck 0@0");
    // Out of range nobody waits.
    check_parallel("0:ready@C 1:ready@C 2:ready@C", "3@0", 900_000, "");
}

#[test]
fn pods_that_do_not_stop_are_told_after_their_grace_period() {
    let stopping = |pods: &str, ordinal: u32, now| {
        let mut request = watched(PodManagementPolicy::OrderedReady, pods, "", now);
        let pod = request.snapshot.pods.iter_mut().find(|pod| pod.ordinal == Ordinal(ordinal)).expect("it is there");
        pod.stops_by = Some(Timestamp(30_000));
        words(&request)
    };
    // For the update, out of range, and for somebody who deleted it.
    for (pods, ordinal) in [
        ("0:ready@C 1:stopping@A 2:ready@C", 1),
        ("0:ready@C 1:ready@C 2:ready@C 3:stopping@C", 3),
        ("0:ready@C 1:stopping@C 2:ready@C", 1),
    ] {
        assert_eq!(stopping(pods, ordinal, 629_999), "looks at 630000", "{pods}");
        assert_eq!(stopping(pods, ordinal, 630_000), format!("stuck {ordinal}@30000 Termination"), "{pods}");
    }
}

#[test]
fn a_new_template_and_a_pause_give_new_time() {
    let mut mended = watched(PodManagementPolicy::OrderedReady, "0:ready@C 1:broken@C", "1@-900000 2@-900000", 1);
    mended.snapshot.status.update_revision = RevisionName("B".into());
    assert_eq!(words(&mended), "looks at 600000");
    let mut paused = watched(PodManagementPolicy::OrderedReady, "0:ready@C 1:broken@C", "1@-900000", 1);
    paused.snapshot.spec.paused = true;
    assert_eq!(words(&paused), "");
    // Resumed an hour later, which is no fault of the pods.
    for (pods, outages, stuck) in [
        ("0:ready@C 1:broken@C", "", "stuck 1@0"),
        ("0:ready@C 1:broken@C", "1@-900000", "stuck 1@-900000; remembers 1@-900000"),
        ("0:ready@C 1:ready@C 2:stopping@A", "", "stuck 2@30000 Termination"),
    ] {
        let mut resumed = watched(PodManagementPolicy::OrderedReady, pods, outages, 3_600_000);
        let last = resumed.snapshot.pods.last_mut().expect("there are pods");
        last.stops_by = last.terminating.then_some(Timestamp(30_000));
        resumed.snapshot.spec.progress_deadline_policy = DeadlinePolicy::Revert;
        resumed.snapshot.resumed_at = Some(Timestamp(3_600_000));
        for now in [3_600_000, 4_199_999] {
            resumed.snapshot.now = Timestamp(now);
            assert!(words(&resumed).ends_with("looks at 4200000"), "{}", words(&resumed));
            assert_eq!((plan(&resumed).stuck, plan(&resumed).revert), (vec![], None));
        }
        resumed.snapshot.now = Timestamp(4_200_000);
        assert_eq!(words(&resumed), stuck);
    }
    for intent in [Intent::Drain, Intent::Delete] {
        let mut stopped = watched(PodManagementPolicy::OrderedReady, "0:ready@C 1:broken@C", "1@-900000", 1);
        stopped.snapshot.intent = intent;
        assert_eq!(words(&stopped), "");
    }
}

#[test]
fn an_update_is_not_taken_back_for_what_is_no_fault_of_its_template() {
    let mut request = watched(PodManagementPolicy::OrderedReady, "0:ready@A 1:ready@A 2:broken@C", "", 600_000);
    request.snapshot.spec.progress_deadline_policy = DeadlinePolicy::Revert;
    let back = Some(RevisionName("A".into()));
    assert_eq!(plan(&request).revert, back);
    // Its names cannot be served.
    request.snapshot.pods[2].cause = Some(Cause::Dns);
    assert_eq!((plan(&request).stuck.len(), plan(&request).revert), (1, None));
    request.snapshot.pods[2].cause = None;
    // The power was off.
    request.snapshot.watched_since = Some(Timestamp(599_000));
    let waits = plan(&request);
    assert_eq!((waits.stuck.len(), waits.revert, waits.look_again_at), (1, None, Some(Timestamp(1_199_000))));
    request.snapshot.now = Timestamp(1_199_000);
    assert_eq!(plan(&request).revert, back);
}

#[test]
fn a_pod_above_which_the_partition_was_raised_has_its_time_too() {
    let mut request = watched(PodManagementPolicy::OrderedReady, "0:ready@A 1:ready@A 2:broken@C", "", 600_000);
    let block = RollingUpdate { partition: 3, max_unavailable: None };
    request.snapshot.spec.strategy = UpdateStrategy::RollingUpdate(Some(block));
    assert_eq!(words(&request), "stuck 2@0");
}

#[test]
fn an_update_whose_pods_end_again_and_again_goes_back() {
    let mut request = watched(PodManagementPolicy::OrderedReady, "0:ready@A 1:ready@A", "2@0", 600_000);
    request.snapshot.spec.progress_deadline_policy = DeadlinePolicy::Revert;
    // Nobody knows that the template is to blame.
    assert_eq!(plan(&request).revert, None);
    request.snapshot.failures = vec![Failures { ordinal: Ordinal(2), count: 5, last_at: Timestamp(500_000) }];
    assert_eq!(plan(&request).revert, Some(RevisionName("A".into())));
    // One below the partition comes back as it was.
    let block = RollingUpdate { partition: 3, max_unavailable: None };
    request.snapshot.spec.strategy = UpdateStrategy::RollingUpdate(Some(block));
    assert_eq!(plan(&request).revert, None);
}
