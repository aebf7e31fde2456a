//! Sets of our own group.

use domain::{DeadlinePolicy, Ordinal};

use super::*;

/// The standard set under our own group, with more in its spec.
fn own(more: Value) -> Value {
    let mut object = standard();
    edit(&mut object, "/apiVersion", json!("setkeeper.dev/v1"));
    for (name, value) in more.as_object().expect("fields") {
        edit(&mut object, &format!("/spec/{name}"), value.clone());
    }
    object
}

/// A stored object.
fn stored(object: Value) -> Value {
    let mut object = admitted(object);
    object["metadata"]["uid"] = json!("u");
    object["metadata"]["generation"] = json!(4);
    object
}

fn apply(old: &Value, new: Value) -> Result<Update, Vec<String>> {
    let (manifest, _) = admit(new).unwrap_or_else(|violations| panic!("{:?}", lines(&violations)));
    admit_update(old, manifest).map_err(|violations| lines(&violations))
}

#[test]
fn its_fields_are_read_and_have_one_form() {
    let set = admitted(own(json!({"reserveOrdinals": [7, 1, 3], "paused": false})));
    assert_eq!(set["spec"]["reserveOrdinals"], json!([1, 3, 7]));
    assert_eq!(set["spec"]["progressDeadlineSeconds"], 600);
    assert_eq!(set["spec"]["progressDeadlinePolicy"], "Hold");
    assert_eq!(set["spec"].get("paused"), None);
    let spec = set_spec(&set).expect("admitted");
    assert_eq!(spec.reserved, [Ordinal(1), Ordinal(3), Ordinal(7)]);
    assert_eq!((spec.paused, spec.progress_deadline_seconds), (false, 600));
    let all = own(json!({"paused": true, "progressDeadlineSeconds": 0, "progressDeadlinePolicy": "Revert"}));
    let (_, warnings) = admit(all.clone()).expect("admitted");
    assert!(warnings[0].contains("progressDeadlinePolicy: has no effect"), "{warnings:?}");
    let spec = set_spec(&admitted(all)).expect("admitted");
    assert_eq!((spec.paused, spec.progress_deadline_seconds), (true, 0));
    assert_eq!(spec.progress_deadline_policy, DeadlinePolicy::Revert);
    assert_eq!(admitted(set.clone()), set, "reading it again changes nothing");
}

#[test]
fn the_default_deadline_leaves_room_for_the_soak() {
    let deadline = |min_ready: u32| {
        let plain = json!({"spec": {"minReadySeconds": min_ready}});
        let set = admitted(own(json!({"minReadySeconds": min_ready})));
        let both = [&plain, &set].map(|set| set_spec(set).expect("admitted").progress_deadline_seconds);
        assert_eq!(both[0], both[1], "the group makes no difference");
        both[0]
    };
    assert_eq!([0, 599, 600, 3_000].map(deadline), [600, 600, 1_200, 3_600]);
}

#[test]
fn an_annotation_pauses_a_set_of_either_group() {
    for (text, paused) in [("true", true), ("false", false), ("", false)] {
        let mut set = standard();
        edit(&mut set, "/metadata/annotations", json!({PAUSED_ANNOTATION: text}));
        assert_eq!(set_spec(&admitted(set)).expect("admitted").paused, paused, "{text:?}");
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    let range = "must be between 0 and 2147483647, inclusive";
    for (more, expected) in [
        (json!({"paused": "yes"}), "spec.paused: must be true or false, not string \"yes\"".to_owned()),
        (json!({"reserveOrdinals": 3}), "spec.reserveOrdinals: must be a list, not integer `3`".to_owned()),
        (
            json!({"reserveOrdinals": ["3"]}),
            "spec.reserveOrdinals[0]: must be an integer, not string \"3\"; write it without quotes".to_owned(),
        ),
        (json!({"reserveOrdinals": [0, -1]}), format!("spec.reserveOrdinals[1]: Invalid value: -1: {range}")),
        (
            json!({"reserveOrdinals": [2_147_483_648_i64]}),
            format!("spec.reserveOrdinals[0]: Invalid value: 2147483648: {range}"),
        ),
        (json!({"reserveOrdinals": [2, 1, 2]}), "spec.reserveOrdinals[2]: Duplicate value: 2".to_owned()),
        (
            json!({"reserveOrdinals": (0..1_001).collect::<Vec<_>>()}),
            "spec.reserveOrdinals: Invalid value: null: must have at most 1000 items, not 1001".to_owned(),
        ),
        (
            json!({"progressDeadlineSeconds": -1}),
            "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0".to_owned(),
        ),
        (
            json!({"progressDeadlineSeconds": 30, "minReadySeconds": 30}),
            "spec.progressDeadlineSeconds: Invalid value: 30: must be greater than minReadySeconds; \
             spec.minReadySeconds is 30; 0 means no deadline"
                .to_owned(),
        ),
        (
            json!({"progressDeadlinePolicy": "Undo"}),
            "spec.progressDeadlinePolicy: Unsupported value: \"Undo\": supported values: \"Hold\", \"Revert\""
                .to_owned(),
        ),
    ] {
        assert_eq!(refusals(own(more.clone())), [expected], "{more}");
    }
}

#[test]
fn reserved_ordinals_count_in_the_largest_one() {
    let most = json!({"ordinals": {"start": 2_147_483_645_i64}});
    assert_eq!(refusals(own(most)), [""; 0]);
    let over = own(json!({"ordinals": {"start": 2_147_483_645_i64}, "reserveOrdinals": [2_147_483_646_i64]}));
    let refused = refusals(over);
    assert!(refused[0].ends_with("must be less than or equal to 2147483644 for 3 replicas"), "{refused:?}");
    let mut long = own(json!({"reserveOrdinals": [1, 2, 3, 4, 5, 6, 7]}));
    edit(&mut long, "/metadata/name", json!("x".repeat(61)));
    assert_eq!(refusals(long.clone()), [""; 0], "the last pod is x-9");
    edit(&mut long, "/spec/reserveOrdinals/-", json!(8));
    assert!(refusals(long)[0].contains("x-10, would have more than 63 characters"));
}

#[test]
fn a_plain_set_is_told_which_group_has_the_field() {
    let mut plain = standard();
    edit(&mut plain, "/spec/reserveOrdinals", json!([1]));
    assert_eq!(
        refusals(plain),
        [
            "spec.reserveOrdinals: unknown field \"spec.reserveOrdinals\"; it is a field of our own group: write apiVersion: \
             setkeeper.dev/v1"
        ]
    );
    let mut misspelt = standard();
    edit(&mut misspelt, "/spec/reservedOrdinals", json!([1]));
    assert!(
        refusals(misspelt)[0].ends_with("did you mean spec.reserveOrdinals? it needs apiVersion: setkeeper.dev/v1")
    );
    for (typed, meant) in [
        ("reserveOrdinal", "reserveOrdinals"),
        ("progressDeadlineSecond", "progressDeadlineSeconds"),
        ("pause", "paused"),
        ("replicsa", "replicas"),
    ] {
        let refused = refusals(own(json!({typed: 1})));
        assert!(refused[0].ends_with(&format!("did you mean spec.{meant}?")), "{typed}: {refused:?}");
    }
}

#[test]
fn a_set_changes_its_group_and_only_then_its_fields() {
    let plain = stored(standard());
    let update = apply(&plain, own(json!({"reserveOrdinals": [1]}))).expect("allowed");
    assert!(update.changed && update.spec_changed && update.warnings.is_empty());
    assert_eq!(
        template_revision_data(&update.value["spec"]["template"]),
        template_revision_data(&plain["spec"]["template"])
    );
    let back = apply(&update.value, standard()).expect("allowed");
    assert_eq!(back.value["spec"], plain["spec"]);
    assert_eq!(
        back.warnings,
        [
            "StatefulSet \"web\": spec.reserveOrdinals: [1] goes, because apps/v1 has no such field: these ordinals get pods, \
             and the highest pods stop; to keep it, write apiVersion: setkeeper.dev/v1"
        ]
    );
    let unset = apply(&stored(own(json!({}))), standard()).expect("allowed");
    assert_eq!(unset.warnings, [""; 0], "defaults are no loss");
}

#[test]
fn the_policy_of_a_set_of_our_own_may_change() {
    let old = stored(own(json!({})));
    let update = apply(&old, own(json!({"podManagementPolicy": "Parallel"}))).expect("allowed");
    assert!(update.spec_changed);
    let refused = apply(&old, own(json!({"serviceName": "other"}))).expect_err("forbidden");
    assert!(refused[0].contains("'podManagementPolicy', 'paused', 'reserveOrdinals'"), "{refused:?}");
    let mut plain = standard();
    edit(&mut plain, "/spec/podManagementPolicy", json!("Parallel"));
    let refused = apply(&stored(standard()), plain).expect_err("forbidden");
    assert!(refused[0].contains("write apiVersion: setkeeper.dev/v1, under which it may change"), "{refused:?}");
}

#[test]
fn a_pause_by_hand_outlives_an_apply_that_does_not_speak_of_it() {
    let paused = stored(own(json!({"paused": true})));
    let same = apply(&paused, own(json!({}))).expect("allowed");
    assert_eq!(same.value["spec"]["paused"], true);
    assert!(same.warnings[0].contains("spec.paused: stays true"), "{:?}", same.warnings);
    let resumed = apply(&paused, own(json!({"paused": false}))).expect("allowed");
    assert_eq!(resumed.value["spec"].get("paused"), None);
    assert!(resumed.spec_changed && resumed.warnings.is_empty());
}
