//! One rule per line.

mod deadlines;

use domain::*;

use super::plan;

/// The template of the nginx example of the StatefulSet rules, section 5.1.
const NGINX: &str = concat!(
    r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"nginx"}},"spec":{"containers":[{"#,
    r#""image":"registry.k8s.io/nginx-slim:0.24","imagePullPolicy":"IfNotPresent","name":"nginx","#,
    r#""ports":[{"containerPort":80,"name":"web","protocol":"TCP"}],"resources":{},"#,
    r#""terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","#,
    r#""volumeMounts":[{"mountPath":"/usr/share/nginx/html","name":"www"}]}],"dnsPolicy":"ClusterFirst","#,
    r#""restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"#,
    r#""terminationGracePeriodSeconds":10}}}}"#
);

fn revision(name: &str, number: i64, data: &str) -> Revision {
    Revision { name: RevisionName(name.into()), number, data: data.into(), created_at: Timestamp(0) }
}

/// Three replicas; pods as `ordinal:state@revision`, state one of ready, broken, stopping, gone (it
/// is not ready while it stops), failed; revisions A, B and C.
fn request(policy: PodManagementPolicy, template: &str, pods: &str) -> UpdateRequest {
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
    let block = RollingUpdate { partition: 0, max_unavailable: None };
    let strategy = UpdateStrategy::RollingUpdate(Some(block));
    let spec = SetSpec { replicas: 3, policy, strategy, revision_history_limit: 10, ..SetSpec::default() };
    let status = SetStatus { current_revision: RevisionName("A".into()), ..SetStatus::default() };
    let pods = pods.split_whitespace().map(pod).collect();
    let snapshot = Snapshot { set, spec, status, pods, generation: Generation(1), ..Snapshot::default() };
    let revisions = vec![revision("C", 3, "C"), revision("A", 1, "A"), revision("B", 2, "B")];
    UpdateRequest { snapshot, template: template.into(), revisions, ..UpdateRequest::default() }
}

fn pod(text: &str) -> Pod {
    let (ordinal, rest) = text.split_once(':').expect("ordinal:state@revision");
    let (state, revision) = rest.split_once('@').expect("state@revision");
    let ordinal = Ordinal(ordinal.parse().expect("a number"));
    let phase = if state == "failed" { Phase::Failed } else { Phase::Running };
    let ready = matches!(state, "ready" | "stopping");
    let revision = (!revision.is_empty()).then(|| RevisionName(revision.into()));
    let uid = Uid(format!("uid-{ordinal}"));
    Pod { ordinal, uid, phase, ready, terminating: matches!(state, "stopping" | "gone"), revision, ..Pod::default() }
}

/// Deletions with their guards, then waits.
fn words(plan: &UpdatePlan) -> String {
    let deletions = plan.replace.iter().map(|deletion| format!("delete {} ({:?})", deletion.ordinal, deletion.guard));
    let waits = plan.waits.iter().map(|wait| {
        let who = wait.ordinal.map_or_else(|| "set".to_owned(), |ordinal| ordinal.to_string());
        format!("{who}: {}", wait.reason)
    });
    deletions.chain(waits).collect::<Vec<_>>().join(", ")
}

fn check(pods: &str, expected: &str) {
    let plan = plan(&request(PodManagementPolicy::OrderedReady, "C", pods));
    assert_eq!(words(&plan), expected, "OrderedReady with {pods}");
}

fn check_parallel(pods: &str, expected: &str) {
    let plan = plan(&request(PodManagementPolicy::Parallel, "C", pods));
    assert_eq!(words(&plan), expected, "Parallel with {pods}");
}

#[test]
fn s_39_the_highest_outdated_pod_goes_first() {
    check(
        "0:ready@A 1:ready@A 2:ready@A",
        "delete 2 (AllPods), 1: 1 unavailable, at most 1 may be, 0: 1 unavailable, at most 1 may be",
    );
    check("0:ready@A 1:ready@A 2:ready@C", "delete 1 (AllPods), 0: 1 unavailable, at most 1 may be");
    check("0:ready@C 1:ready@C 2:ready@C", "");
}

#[test]
fn a_pod_that_has_ended_is_deleted_as_an_outdated_one_too_only_in_kubernetes() {
    for (policy, kubernetes) in
        [(PodManagementPolicy::Parallel, "delete 1 (Pod)"), (PodManagementPolicy::OrderedReady, "")]
    {
        for (profile, expected) in [(Profile::Kubernetes, kubernetes), (Profile::Setkeeper, "")] {
            let mut request = request(policy, "C", "0:ready@C 1:failed@A 2:ready@C");
            request.snapshot.switches = profile.switches();
            assert_eq!(words(&plan(&request)), expected, "{profile}, {policy:?}");
            request.snapshot.spec.strategy =
                UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition: 2, max_unavailable: None }));
            assert_eq!(words(&plan(&request)), "", "{profile}, {policy:?}: the partition keeps it");
        }
    }
}

#[test]
fn s_53_s_54_scaling_comes_before_updating() {
    check("0:ready@A 2:ready@C", "0: waiting for pod 1 to be created");
    check("0:ready@C 1:ready@C 2:ready@A 3:ready@A 4:ready@A", "2: waiting for scale-down to remove pod 4");
    check("0:ready@A 1:stopping@A 2:ready@C", "0: waiting for pod 1 to terminate");
}

#[test]
fn s_66_the_pod_at_which_the_walk_stops_is_healed() {
    check("0:ready@C 1:ready@C 2:broken@B", "delete 2 (AllPods)");
    check("0:broken@C 1:ready@C 2:broken@A", "2: waiting for pod 0 to become ready");
    check("0:failed@A 1:broken@A 2:ready@C", "1: waiting for pod 0, which has ended, to be replaced");
    check("0:broken@ 1:ready@C 2:ready@C", "delete 0 (AllPods)");
}

/// What an ordered set updated to C does `seconds` after its pods were made, and when it looks again.
fn healed(pods: &str, seconds: i64, cold_start: bool) -> String {
    let mut request = request(PodManagementPolicy::OrderedReady, "C", pods);
    request.snapshot.spec.progress_deadline_seconds = 0;
    (request.snapshot.now, request.snapshot.cold_start) = (Timestamp(seconds * 1_000), cold_start);
    let plan = plan(&request);
    let deletions = plan.replace.iter().map(|deletion| format!("delete {} ({:?})", deletion.ordinal, deletion.guard));
    let looks = plan.look_again_at.map(|at| format!("looks at {}", at.0 / 1_000));
    deletions.chain(looks).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_pod_that_the_set_has_left_behind_is_healed_above_one_that_does_not_recover_either() {
    assert_eq!(healed("0:broken@C 1:ready@C 2:broken@B", 29, false), "looks at 30");
    assert_eq!(healed("0:broken@C 1:ready@C 2:broken@B", 30, false), "delete 2 (AllPods)");
    assert_eq!(healed("0:broken@C 1:broken@B 2:broken@B", 30, false), "delete 1 (AllPods)");
    // It could not come back.
    for pods in ["0:failed@A 1:broken@B 2:ready@C", "1:broken@B 2:ready@C", "0:gone@C 1:broken@B 2:ready@C"] {
        assert_eq!(healed(pods, 30, false), "", "{pods}");
    }
    // It works, or goes.
    assert_eq!(healed("0:broken@C 1:ready@B 2:gone@B", 900, false), "");
    let mut lost = request(PodManagementPolicy::OrderedReady, "C", "0:broken@C 1:ready@C 2:broken@B");
    (lost.snapshot.now, lost.snapshot.pods[2].ready_since) = (Timestamp(900_000), Some(Timestamp(880_000)));
    assert_eq!((plan(&lost).replace, plan(&lost).look_again_at), (vec![], Some(Timestamp(910_000))), "just now");
}

#[test]
fn while_all_are_started_together_every_outdated_one_is_healed() {
    assert_eq!(healed("0:broken@C 1:broken@A 2:broken@A", 119, true), "looks at 120");
    assert_eq!(healed("0:broken@C 1:broken@A 2:broken@A", 120, true), "delete 1 (AllPods)");
    assert_eq!(healed("0:broken@C 1:broken@A 2:broken@B", 30, true), "delete 2 (AllPods), looks at 120");
}

#[test]
fn above_one_that_makes_no_headway_every_outdated_one_is_healed_in_the_end() {
    assert_eq!(healed("0:ready@C 1:broken@C 2:broken@A", 119, false), "looks at 120");
    assert_eq!(healed("0:ready@C 1:broken@C 2:broken@A", 120, false), "delete 2 (AllPods)");
    // A healthy one shows that its revision works: the other may recover.
    assert_eq!(healed("0:broken@C 1:broken@A 2:ready@A", 900, false), "");
    assert_eq!(healed("0:broken@C 1:broken@B 2:ready@A", 30, false), "delete 1 (AllPods)");
    // Nobody looked after it until now.
    let mut blind = request(PodManagementPolicy::OrderedReady, "C", "0:broken@C 1:ready@C 2:broken@A");
    (blind.snapshot.now, blind.snapshot.watched_since) = (Timestamp(900_000), Some(Timestamp(890_000)));
    blind.snapshot.spec.progress_deadline_seconds = 0;
    assert_eq!((plan(&blind).replace, plan(&blind).look_again_at), (vec![], Some(Timestamp(1_010_000))));
    // The lower one has just come.
    let mut fresh = request(PodManagementPolicy::OrderedReady, "C", "0:broken@C 1:broken@A 2:ready@C");
    (fresh.snapshot.now, fresh.snapshot.pods[0].created_at) = (Timestamp(900_000), Timestamp(880_000));
    fresh.snapshot.spec.progress_deadline_seconds = 0;
    assert_eq!((plan(&fresh).replace, plan(&fresh).look_again_at), (vec![], Some(Timestamp(1_000_000))));
    assert_eq!(healed("0:gone@C 1:broken@A 2:ready@C", 900, false), "");
}

#[test]
fn under_parallel_outdated_pods_that_are_ready_wait_for_their_turn() {
    let parallel = |switches| {
        let mut request = request(PodManagementPolicy::Parallel, "C", "0:ready@A 1:ready@A 2:ready@A");
        request.snapshot.switches = switches;
        let now = request.snapshot.now;
        request.snapshot.spec.min_ready_seconds = 10;
        (0..3).for_each(|place| request.snapshot.pods[place].ready_since = Some(now));
        plan(&request).replace.len()
    };
    // Raised with the template, `minReadySeconds` makes pods unavailable that serve.
    assert_eq!((parallel(Switches::SETKEEPER), parallel(Switches::KUBERNETES)), (0, 3));
}

#[test]
fn s_88_parallel_replaces_broken_pods_beyond_the_budget() {
    check_parallel(
        "0:broken@A 1:broken@A 2:ready@A",
        "delete 1 (Pod), delete 0 (Pod), 2: 2 unavailable, at most 1 may be",
    );
    check_parallel(
        "0:ready@A 1:broken@C 2:ready@A",
        "2: 1 unavailable, at most 1 may be, 0: 1 unavailable, at most 1 may be",
    );
    check_parallel("0:failed@A 1:ready@C 2:ready@C", "");
}

#[test]
fn s_42_s_63_partition_and_strategy_hold_pods_back() {
    let mut request = request(PodManagementPolicy::OrderedReady, "C", "0:ready@A 1:ready@A 2:ready@A");
    let block = RollingUpdate { partition: 2, max_unavailable: Some(IntOrPercent::Int(3)) };
    request.snapshot.spec.strategy = UpdateStrategy::RollingUpdate(Some(block));
    let held = "1: held back by partition 2, 0: held back by partition 2";
    assert_eq!(words(&plan(&request)), format!("delete 2 (AllPods), {held}"));
    request.snapshot.spec.strategy = UpdateStrategy::OnDelete;
    let waits = plan(&request).waits;
    assert!(waits.len() == 3 && waits.iter().all(|wait| wait.reason == WaitReason::OnDelete), "{waits:?}");
}

#[test]
fn a_paused_set_updates_nobody() {
    for policy in [PodManagementPolicy::OrderedReady, PodManagementPolicy::Parallel] {
        let mut request = request(policy, "C", "0:ready@A 1:broken@A 2:ready@C");
        request.snapshot.spec.paused = true;
        let plan = plan(&request);
        let paused = format!("1: {0}, 0: {0}", WaitReason::Paused);
        assert_eq!(words(&plan), paused);
        let targets: Vec<_> =
            plan.targets.iter().map(|range| (range.first.0, range.last.0, &*range.revision.0)).collect();
        assert_eq!(targets, [(0, 1, "A"), (2, 2, "C")], "a lost pod brings no update");
    }
    // Healing had begun at the bottom: what lies above is not updated.
    let mut healed = request(PodManagementPolicy::OrderedReady, "C", "0:ready@C 1:ready@A");
    healed.snapshot.spec.paused = true;
    assert_eq!(plan(&healed).target(Ordinal(2)), Some(&RevisionName("A".into())));
    let mut request = request(PodManagementPolicy::OrderedReady, "C", "0:ready@A 1:ready@A");
    request.snapshot.spec.paused = true;
    assert_eq!(plan(&request).targets.len(), 1);
    assert_eq!(plan(&request).targets[0].revision, RevisionName("A".into()));
}

#[test]
fn targets_follow_the_partition() {
    let mut request = request(PodManagementPolicy::OrderedReady, "C", "");
    let targets = |request: &UpdateRequest| {
        let plan = plan(request);
        let shown = plan.targets.iter().map(|range| format!("{}-{}@{}", range.first, range.last, range.revision));
        shown.collect::<Vec<_>>().join(" ")
    };
    for (partition, start, expected) in [
        (0, 0, "0-2@C"),
        (1, 0, "0-0@A 1-2@C"),
        (3, 0, "0-2@A"),
        (9, 0, "0-2@A"),
        (1, 5, "5-5@A 6-7@C"),
        (u32::MAX, Ordinal::MAX.0, "2147483647-2147483647@A"),
    ] {
        let block = RollingUpdate { partition, max_unavailable: None };
        request.snapshot.spec.strategy = UpdateStrategy::RollingUpdate(Some(block));
        request.snapshot.spec.start = Ordinal(start);
        assert_eq!(targets(&request), expected);
    }
    request.snapshot.spec.start = Ordinal(0);
    request.snapshot.spec.strategy = UpdateStrategy::RollingUpdate(None);
    request.snapshot.status.current_replicas = 2;
    request.snapshot.switches = Switches::KUBERNETES;
    assert_eq!(targets(&request), "0-1@A 2-2@C");
    request.snapshot.spec.reserved = vec![Ordinal(0)];
    assert_eq!(targets(&request), "0-2@A 3-3@C");
    request.snapshot.spec.reserved.clear();
    request.snapshot.switches = Switches::SETKEEPER;
    assert_eq!(targets(&request), "0-2@C");
    request.snapshot.spec.replicas = 0;
    assert_eq!(targets(&request), "");
}

#[test]
fn s_115_an_older_template_gets_the_highest_number() {
    let renumbered = plan(&request(PodManagementPolicy::OrderedReady, "A", ""));
    let name = RevisionName("A".into());
    assert_eq!(renumbered.revisions, [RevisionChange::Renumber { name: name.clone(), number: 4 }]);
    assert_eq!(renumbered.status.update_revision, name);
    let unchanged = plan(&request(PodManagementPolicy::OrderedReady, "C", ""));
    assert_eq!(unchanged.revisions, []);
}

#[test]
fn s_57_equal_templates_are_one_revision() {
    let mut request = request(PodManagementPolicy::OrderedReady, "C", "");
    request.revisions.push(revision("C2", 2, "C"));
    assert_eq!(plan(&request).status.update_revision, RevisionName("C".into()));
    assert_eq!(plan(&request).revisions, []);
}

#[test]
fn s_121_only_the_newest_may_be_equal_after_defaulting() {
    let mut request = request(PodManagementPolicy::OrderedReady, "C with new defaults", "");
    request.equal_after_defaulting = Some(RevisionName("C".into()));
    assert_eq!(plan(&request).status.update_revision, RevisionName("C".into()));
    assert_eq!(plan(&request).revisions, []);
    request.equal_after_defaulting = Some(RevisionName("B".into()));
    assert!(matches!(plan(&request).revisions[..], [RevisionChange::Create(_)]));
}

#[test]
fn s_118_s_119_names_follow_the_bytes_and_avoid_what_is_taken() {
    let mut request = request(PodManagementPolicy::OrderedReady, NGINX, "");
    request.revisions.clear();
    for (expected, collisions) in [("web-6cdc958bf", 0), ("web-6cdc958bd", 1), ("web-6cdc958c5", 2)] {
        let plan = plan(&request);
        let [RevisionChange::Create(created)] = &plan.revisions[..] else { panic!("{:?}", plan.revisions) };
        assert_eq!(created.name.to_string(), expected);
        assert_eq!(plan.status.collision_count, collisions);
        assert_eq!(created.number, i64::from(collisions) + 1);
        request.revisions.push(revision(expected, i64::from(collisions) + 1, "other data"));
    }
}

#[test]
fn s_119_a_name_that_another_owner_has_is_shared_with_the_same_data_and_avoided_with_other() {
    let mut request = request(PodManagementPolicy::OrderedReady, NGINX, "");
    request.revisions.clear();
    request.foreign.push(revision("web-6cdc958bf", 7, "other data"));
    let avoided = plan(&request);
    let [RevisionChange::Create(created)] = &avoided.revisions[..] else { panic!("{:?}", avoided.revisions) };
    assert_eq!((&*created.name.0, created.number, avoided.status.collision_count), ("web-6cdc958bd", 1, 1));
    request.foreign[0].data = NGINX.into();
    let shared = plan(&request);
    assert_eq!(shared.revisions, []);
    assert_eq!((&*shared.status.update_revision.0, shared.status.collision_count), ("web-6cdc958bf", 0));
}

#[test]
fn s_112_s_114_pruning_spares_what_is_in_use() {
    let mut request = request(PodManagementPolicy::OrderedReady, "C", "0:ready@B");
    request.snapshot.spec.revision_history_limit = 0;
    assert_eq!(plan(&request).revisions, []);
    request.snapshot.pods.clear();
    let pruned = |name: &str| RevisionChange::Prune { name: RevisionName(name.into()) };
    assert_eq!(plan(&request).revisions, [pruned("B")]);
    request.snapshot.status.current_revision = RevisionName("C".into());
    assert_eq!(plan(&request).revisions, [pruned("A"), pruned("B")]);
    request.snapshot.spec.revision_history_limit = 1;
    assert_eq!(plan(&request).revisions, [pruned("A")]);
    request.snapshot.spec.revision_history_limit = -1;
    assert_eq!(plan(&request).revisions, []);
}

#[test]
fn stopping_sets_keep_their_revisions() {
    let mut request = request(PodManagementPolicy::OrderedReady, "D", "0:ready@A 1:stopping@A");
    request.snapshot.intent = Intent::Delete;
    request.snapshot.generation = Generation(9);
    let plan = plan(&request);
    assert!(plan.revisions.is_empty() && plan.targets.is_empty() && plan.replace.is_empty() && plan.waits.is_empty());
    assert_eq!((plan.status.replicas, plan.status.current_replicas), (2, 1));
    assert_eq!(plan.status.current_revision, RevisionName("A".into()));
    assert_eq!(plan.status.observed_generation, 0);
}

#[test]
fn deletions_say_why() {
    let plan = plan(&request(PodManagementPolicy::Parallel, "C", "0:ready@C 1:ready@C 2:broken@B"));
    assert_eq!(plan.replace[0].why, "healing: it is not available, updating to C");
    assert_eq!(plan.replace[0].uid, Uid("uid-2".into()));
}
