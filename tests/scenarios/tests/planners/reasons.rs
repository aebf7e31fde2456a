//! A pass that does nothing and leaves the set unfinished says why, with an ordinal, and first what matters most.
//!
//! What S-216 calls `BlockedBy(n)` is a reason about pod n at another ordinal, `SetDeleting` is the end of the pod that
//! stops next, and claims speak for themselves in the tests of the coordinator.

use domain::{Switches, Timestamp, Wait, WaitReason};
use scenarios::{BOTH, KUBERNETES, Pass, SETKEEPER, World, play};

/// All reasons, each once, in the order in which the coordinator tells them: the first one matters most.
fn reasons(pass: &Pass, now: Timestamp) -> Vec<String> {
    let mut reasons = Vec::new();
    for waits in [&pass.ordinals.waits, &pass.update.waits] {
        let mut waits = waits.clone();
        waits.sort_by_key(|wait| wait.ordinal);
        for reason in waits.iter().map(|wait| render(wait, now)) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    reasons
}

/// As `ordinal: Reason(about whom)`.
fn render(wait: &Wait, now: Timestamp) -> String {
    let seconds = |moment: Timestamp| moment.since(now).as_secs();
    let reason = match &wait.reason {
        WaitReason::NotYetAvailable { ordinal, at } => {
            format!("NotAvailable({ordinal}, {}s)", seconds(at.expect("the moment is known")))
        }
        WaitReason::BackOff { ordinal, until } => format!("BackOff({ordinal}, {}s)", seconds(*until)),
        WaitReason::Pending { ordinal } => format!("Pending({ordinal})"),
        WaitReason::NotReady { ordinal } => format!("NotReady({ordinal})"),
        WaitReason::Terminating { ordinal } => format!("Terminating({ordinal})"),
        WaitReason::ScalingDown { ordinal } => format!("ScalingDown({ordinal})"),
        WaitReason::BudgetSpent { unavailable, max_unavailable } => {
            format!("BudgetExhausted({unavailable} of {max_unavailable})")
        }
        WaitReason::Partition { partition } => format!("Partitioned({partition})"),
        WaitReason::OnDelete => "OnDelete".to_owned(),
        WaitReason::Paused => "Paused".to_owned(),
        other => panic!("no pass should end with {other:?}"),
    };
    format!("{}: {reason}", wait.ordinal.expect("it is about an ordinal"))
}

/// Plays steps with a pass after each; the last one does nothing and says `expected`, in this order.
fn check(profiles: &[Switches], given: &str, steps: &[&str], expected: &[&str]) {
    for switches in profiles {
        let mut world = World::new(*switches);
        play(&mut world, given);
        let mut last = None;
        for step in steps {
            play(&mut world, step);
            last = Some(world.pass());
        }
        let pass = last.expect("there are steps");
        assert_eq!(pass.actions, "none", "{given} {steps:?} with {switches:?}");
        assert_eq!(reasons(&pass, world.now), expected, "{given} {steps:?} with {switches:?}");
    }
}

#[test]
fn s_216_pods_that_are_not_as_they_should_be() {
    check(BOTH, "", &["", ""], &["0: Pending(0)", "1: Pending(0)", "2: Pending(0)"]);
    check(BOTH, "Parallel", &["", "ready(0) ready(2)"], &["1: Pending(1)"]);
    check(BOTH, "settled", &["broken(1)"], &["1: NotReady(1)"]);
    check(BOTH, "settled", &["unknown(1)"], &["1: NotReady(1)"]);
    check(BOTH, "min=30 settled broken(1)", &["ready(1)", "+10s"], &["1: NotAvailable(1, 20s)"]);
    check(BOTH, "settled", &["term(1)"], &["1: Terminating(1)"]);
    check(BOTH, "settled", &["failed(1) term(1)"], &["1: Terminating(1)"]);
    check(SETKEEPER, "settled", &["failed(1)", "", "failed(1)", "", "+4s"], &["1: BackOff(1, 6s)"]);
}

#[test]
fn s_216_pods_that_others_hold_up() {
    check(BOTH, "settled", &["term(1) gone(2)"], &["1: Terminating(1)", "2: Terminating(1)"]);
    check(
        BOTH,
        "replicas=1 settled broken(0)",
        &["replicas=3"],
        &["0: NotReady(0)", "1: NotReady(0)", "2: NotReady(0)"],
    );
    check(BOTH, "settled", &["replicas=1", ""], &["1: Terminating(2)", "2: Terminating(2)"]);
    check(BOTH, "settled broken(0)", &["replicas=2"], &["0: NotReady(0)", "2: NotReady(0)"]);
    // The deadlock of Kubernetes says who is in the way.
    let all = ["0: NotReady(0)", "1: NotReady(0)", "2: NotReady(0)"];
    check(KUBERNETES, "settled broken(0) broken(1) broken(2)", &["replicas=0"], &all);
}

#[test]
fn s_216_updates_that_wait() {
    let blocked = ["2: Pending(2)", "0: Pending(2)", "1: Pending(2)"];
    check(BOTH, "settled", &["image=B", "gone(2)", ""], &blocked);
    let spent = ["2: Terminating(2)", "0: BudgetExhausted(1 of 1)", "1: BudgetExhausted(1 of 1)"];
    check(BOTH, "Parallel settled", &["image=B", ""], &spent);
    // The rollback that Kubernetes never finishes.
    let stuck = ["2: NotReady(2)"];
    check(KUBERNETES, "settled", &["image=B", "gone(2)", "broken(2)", "image=A"], &stuck);
    let scaling = ["2: Terminating(2)", "0: ScalingDown(2)", "1: ScalingDown(2)"];
    check(BOTH, "settled replicas=2", &["", "image=B"], &scaling);
}

#[test]
fn s_216_updates_that_are_held_back_on_purpose() {
    let held = |reason: &str| [0, 1, 2].map(|ordinal| format!("{ordinal}: {reason}"));
    for (given, reason) in
        [("partition=3 settled", "Partitioned(3)"), ("OnDelete settled", "OnDelete"), ("settled paused", "Paused")]
    {
        let expected = held(reason);
        check(BOTH, given, &["image=B"], &expected.each_ref().map(String::as_str));
        // Whatever is not as it should be matters more.
        let broken = ["1: NotReady(1)", &expected[0], &expected[1], &expected[2]];
        check(KUBERNETES, given, &["image=B broken(1)"], &broken);
    }
}

#[test]
fn s_216_sets_that_stop() {
    for end in ["deleted", "drained"] {
        let expected = ["0: Terminating(2)", "1: Terminating(2)", "2: Terminating(2)"];
        check(BOTH, "settled", &[end, ""], &expected);
        let all = ["0: Terminating(0)", "1: Terminating(1)", "2: Terminating(2)"];
        check(BOTH, "Parallel settled", &[end, ""], &all);
    }
}
