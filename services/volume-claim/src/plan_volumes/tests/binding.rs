//! Which volume a claim gets: size, modes, class, selector, reservations, names.

use domain::volume::{Claim, ClaimRef, LabelSelector, PendingReason, StorageClass, Volume, VolumeMode, VolumeSwitches};
use domain::{Timestamp, Uid};

use super::world::{check, classless, elsewhere, naming, pv, pvc, reserved_for, standard, user, world};

#[test]
fn v_01_smallest_that_fits() {
    let world =
        world().with(&[pv("one", "1Gi", "RWO"), pv("five", "5Gi", "RWO")], &[classless("c", "1Gi", "RWO")], &[]);
    let world = world.settle();
    assert_eq!(world.claims(), "c=one(1Gi)");
    assert_eq!(world.volumes(), "one:Bound five:Available");
}

#[test]
fn v_02_capacity_is_the_volumes() {
    check(&[pv("five", "5Gi", "RWO")], &[classless("c", "1Gi", "RWO")], "c=five(5Gi)");
}

#[test]
fn v_03_waits_for_a_volume_that_fits_and_says_which_do_not() {
    let mut world = world().with(&[pv("one", "1Gi", "RWO")], &[classless("c", "2Gi", "RWO")], &[]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::NoMatch));
    let report = &world.plan.pending[0];
    assert_eq!(report.reason.event(), "FailedBinding");
    assert_eq!(report.rejected[0].test, domain::volume::FailedTest::Size);
    assert!(report.message.ends_with("(one has 1Gi, 2Gi requested)"), "{}", report.message);
    world.request.volumes.push(pv("two", "2Gi", "RWO"));
    assert_eq!(world.settle().claims(), "c=two(2Gi)");
}

#[test]
fn v_04_fewest_modes_first() {
    let volumes = [pv("a", "100Gi", "RWO"), pv("b", "1Gi", "RWO,RWX")];
    check(&volumes, &[classless("c", "1Gi", "RWO")], "c=a(100Gi)");
}

#[test]
fn v_05_modes_must_be_offered() {
    let volumes = [pv("a", "100Gi", "RWO"), pv("b", "1Gi", "RWO,RWX")];
    check(&volumes, &[classless("c", "1Gi", "RWX")], "c=b(1Gi)");
}

#[test]
fn v_06_every_mode_must_be_offered() {
    check(&[pv("a", "1Gi", "RWO")], &[classless("c", "1Gi", "RWO,ROX")], "c?NoMatch");
}

#[test]
fn v_07_smallest_name_of_equals() {
    check(&[pv("pv-b", "1Gi", "RWO"), pv("pv-a", "1Gi", "RWO")], &[classless("c", "1Gi", "RWO")], "c=pv-a(1Gi)");
}

#[test]
fn v_08_classes_must_be_equal() {
    let fast = Volume { class: "fast".into(), ..pv("a", "1Gi", "RWO") };
    check(&[fast], &[classless("c", "1Gi", "RWO")], "c?NoMatch");
}

#[test]
fn v_09_no_class_and_no_default_match_classless() {
    check(&[pv("a", "1Gi", "RWO")], &[pvc("c", "1Gi", "RWO", None)], "c=a(1Gi)");
}

#[test]
fn v_10_a_classless_volume_wins_over_the_default_class_unless_the_switch_says_otherwise() {
    let all = || world().with(&[pv("a", "1Gi", "RWO")], &[pvc("c", "1Gi", "RWO", None)], &[standard()]);
    assert_eq!(all().settle().claims(), "c=a(1Gi)");
    let mut kubernetes = all();
    kubernetes.request.switches = VolumeSwitches::KUBERNETES;
    let kubernetes = kubernetes.settle();
    assert_eq!(kubernetes.claim("c").class.as_deref(), Some("standard"));
    assert_eq!(kubernetes.volumes(), "a:Available");
    let mut unreachable = all();
    unreachable.request.volumes[0].node_affinity = elsewhere();
    assert_eq!(unreachable.settle().claim("c").class.as_deref(), Some("standard"));
}

#[test]
fn v_11_an_empty_class_is_never_defaulted() {
    let world = world().with(&[], &[classless("c", "1Gi", "RWO")], &[standard()]).settle();
    assert_eq!(world.claim("c").class.as_deref(), Some(""));
    assert_eq!(world.reason("c"), Some(PendingReason::NoMatch));
}

#[test]
fn v_12_a_late_default_is_written() {
    let mut world = world().with(&[], &[pvc("c", "1Gi", "RWO", None)], &[]).used(&[user("p", "c")]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::NoMatch));
    world.request.classes.push(standard());
    assert_eq!(world.settle().claims(), "c=pvc-uid-c(1Gi)");
}

#[test]
fn v_13_the_newest_default_counts() {
    let at = |name: &str, time| StorageClass { name: name.into(), created_at: Timestamp(time), ..standard() };
    let world = world().with(&[], &[pvc("c", "1Gi", "RWO", None)], &[at("a", 1), at("b", 2), at("c", 2)]).settle();
    assert_eq!(world.claim("c").class.as_deref(), Some("b"));
}

#[test]
fn v_14_selectors_select() {
    let labels = [("disk".to_owned(), "ssd".to_owned())];
    let labelled = Volume { labels: labels.clone().into(), ..pv("two", "2Gi", "RWO") };
    let selector = Some(LabelSelector { labels: labels.into(), expressions: vec![] });
    check(&[pv("one", "1Gi", "RWO"), labelled], &[Claim { selector, ..classless("c", "1Gi", "RWO") }], "c=two(2Gi)");
}

#[test]
fn v_15_volume_modes_must_be_equal() {
    let block = Volume { volume_mode: VolumeMode::Block, ..pv("a", "1Gi", "RWO") };
    check(&[block], &[classless("c", "1Gi", "RWO")], "c?NoMatch");
}

#[test]
fn v_16_a_reservation_beats_a_better_match() {
    let reserved = Volume { class: "fast".into(), ..reserved_for("data", pv("big", "9Gi", "RWO")) };
    check(&[pv("fit", "1Gi", "RWO"), reserved], &[classless("data", "1Gi", "RWO")], "data=big(9Gi)");
}

#[test]
fn v_17_nobody_else_gets_a_reserved_volume() {
    let reserved = reserved_for("data", pv("big", "9Gi", "RWO"));
    let world = world().with(&[reserved], &[classless("other", "1Gi", "RWO")], &[]).settle();
    assert_eq!(world.claims(), "other?NoMatch");
    assert_eq!(world.volumes(), "big:Available");
}

#[test]
fn v_18_a_named_volume_of_another_class_does_not_match() {
    let fast = Volume { class: "fast".into(), ..pv("a", "1Gi", "RWO") };
    let world = world().with(&[fast], &[naming("a", classless("c", "1Gi", "RWO"))], &[]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::VolumeMismatch));
    assert!(world.message("c").contains("class \"fast\""), "{}", world.message("c"));
}

#[test]
fn v_19_the_selector_does_not_count_for_a_named_volume() {
    let selector = LabelSelector { labels: [("disk".to_owned(), "ssd".to_owned())].into(), expressions: vec![] };
    let claim = Claim { selector: Some(selector), ..naming("a", classless("c", "1Gi", "RWO")) };
    check(&[pv("a", "1Gi", "RWO")], &[claim], "c=a(1Gi)");
}

#[test]
fn v_20_both_sides_agree_without_checks_but_with_a_warning() {
    let world =
        world().with(&[reserved_for("c", pv("a", "1Gi", "RWO"))], &[naming("a", classless("c", "2Gi", "RWO"))], &[]);
    let world = world.settle();
    assert_eq!(world.claims(), "c=a(1Gi)");
    assert_eq!(world.events, ["VolumeMismatch"]);
}

#[test]
fn v_21_a_named_volume_that_does_not_exist_is_awaited_never_made() {
    let claim = naming("a", pvc("c", "1Gi", "RWO", Some("standard")));
    let mut world = world().with(&[], &[claim], &[standard()]).used(&[user("p", "c")]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::VolumeNotFound));
    world.request.volumes.push(Volume { class: "standard".into(), ..pv("a", "1Gi", "RWO") });
    assert_eq!(world.settle().claims(), "c=a(1Gi)");
}

#[test]
fn v_22_a_named_volume_that_is_taken() {
    let claims = [naming("a", classless("b", "1Gi", "RWO")), naming("a", classless("c", "1Gi", "RWO"))];
    let world = world().with(&[pv("a", "1Gi", "RWO")], &claims, &[]).settle();
    assert_eq!(world.claims(), "b=a(1Gi) c?VolumeTaken)");
}

#[test]
fn v_23_two_claims_one_volume() {
    let claims = [classless("b", "1Gi", "RWO"), classless("a", "1Gi", "RWO")];
    check(&[pv("one", "1Gi", "RWO")], &claims, "b?NoMatch a=one(1Gi)");
}

#[test]
fn v_24_half_a_bond_is_completed() {
    let half = reserved_for("c", pv("big", "9Gi", "RWO"));
    let claim_ref = half.claim_ref.clone().map(|one| ClaimRef { uid: Uid("uid-c".into()), ..one });
    let half = Volume { claim_ref, bound_by_controller: true, ..half };
    check(&[pv("fit", "1Gi", "RWO"), half], &[classless("c", "1Gi", "RWO")], "c=big(9Gi)");
}

#[test]
fn v_25_the_two_volumes_of_nginx() {
    let volumes = [pv("pv001", "1Gi", "RWO"), pv("pv002", "1Gi", "RWO")];
    let claims = [pvc("www-web-0", "1Gi", "RWO", None), pvc("www-web-1", "1Gi", "RWO", None)];
    let world = world().with(&volumes, &claims, &[standard()]).settle();
    assert_eq!(world.claims(), "www-web-0=pv001(1Gi) www-web-1=pv002(1Gi)");
    assert_eq!(world.volumes(), "pv001:Bound pv002:Bound");
}

#[test]
fn v_26_a_reservation_beats_fewer_modes() {
    let reserved = reserved_for("data", pv("b", "1Gi", "RWO,RWX"));
    check(&[pv("a", "1Gi", "RWO"), reserved], &[classless("data", "1Gi", "RWO")], "data=b(1Gi)");
}
