//! What waits for a pod, what is made, and what is refused with its reason.

use domain::volume::{
    BindingMode, Claim, ClaimUser, DIRECTORY_PROVISIONER, LOCAL_PATH_PROVISIONER, LabelSelector, NO_PROVISIONER,
    PendingReason, PodWaitReason, StorageClass, Volume, VolumeMode,
};

use super::world::{check, class, classless, elsewhere, pv, pvc, standard, user, wanting, world};

#[test]
fn v_27_waits_for_the_first_consumer() {
    let world = world().with(&[], &[wanting("c", "1Gi")], &[standard()]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::WaitForFirstConsumer));
    let ended = ClaimUser { ending: true, ..user("p", "c") };
    assert_eq!(world.used(&[ended]).settle().reason("c"), Some(PendingReason::WaitForFirstConsumer));
}

#[test]
fn v_28_is_made_for_the_first_consumer() {
    let world = world().with(&[], &[wanting("c", "1Gi")], &[standard()]).used(&[user("p", "c")]).settle();
    assert_eq!(world.claims(), "c=pvc-uid-c(1Gi)");
    assert_eq!(world.pod_wait("p"), None);
}

#[test]
fn v_29_immediate_needs_no_pod() {
    let fast = class("fast", DIRECTORY_PROVISIONER, BindingMode::Immediate);
    let world = world().with(&[], &[pvc("c", "1Gi", "RWO", Some("fast"))], &[fast]).settle();
    assert_eq!(world.claims(), "c=pvc-uid-c(1Gi)");
}

#[test]
fn v_30_an_existing_volume_is_preferred() {
    let local = Volume { class: "standard".into(), ..pv("local", "1Gi", "RWO") };
    let world = world().with(&[local], &[wanting("c", "1Gi")], &[standard()]).used(&[user("p", "c")]).settle();
    assert_eq!(world.claims(), "c=local(1Gi)");
}

#[test]
fn v_31_small_claims_choose_first() {
    let volume = |name: &str, size: &str| Volume { class: "standard".into(), ..pv(name, size, "RWO") };
    let world = world()
        .with(
            &[volume("five", "5Gi"), volume("one", "1Gi")],
            &[wanting("a", "5Gi"), wanting("b", "1Gi")],
            &[standard()],
        )
        .used(&[user("p", "a"), user("p", "b")])
        .settle();
    assert_eq!(world.claims(), "a=five(5Gi) b=one(1Gi)");
}

#[test]
fn all_of_a_pods_claims_are_served_or_none() {
    let fixed = StorageClass { name: "fixed".into(), provisioner: NO_PROVISIONER.into(), ..standard() };
    let world = world()
        .with(&[], &[wanting("a", "1Gi"), pvc("b", "1Gi", "RWO", Some("fixed"))], &[standard(), fixed])
        .used(&[user("p", "a"), user("p", "b")])
        .settle();
    assert_eq!(world.reason("a"), Some(PendingReason::WaitForPodScheduled));
    assert_eq!(world.reason("b"), Some(PendingReason::StaticOnly));
    assert_eq!(world.volumes(), "");
}

#[test]
fn a_claim_waits_while_its_pod_waits_for_another_claim() {
    let world =
        world().with(&[], &[wanting("a", "1Gi")], &[standard()]).used(&[user("p", "a"), user("p", "missing")]).settle();
    assert_eq!(world.reason("a"), Some(PendingReason::WaitForPodScheduled));
    assert!(world.message("a").contains("\"missing\" does not exist"), "{}", world.message("a"));
    assert_eq!(world.pod_wait("p"), Some(PodWaitReason::ClaimUnbound));
}

#[test]
fn v_32_a_bound_volume_of_another_host() {
    let volume = Volume { node_affinity: elsewhere(), ..pv("a", "1Gi", "RWO") };
    let world = world().with(&[volume], &[classless("c", "1Gi", "RWO")], &[]).used(&[user("p", "c")]).settle();
    assert_eq!(world.claims(), "c=a(1Gi)", "V-33: affinity does not count at once");
    assert_eq!(world.pod_wait("p"), Some(PodWaitReason::NodeAffinityConflict));
}

#[test]
fn affinity_counts_for_consumers() {
    let other = Volume { class: "standard".into(), node_affinity: elsewhere(), ..pv("a", "1Gi", "RWO") };
    let world = world().with(&[other], &[wanting("c", "1Gi")], &[standard()]).used(&[user("p", "c")]).settle();
    assert_eq!(world.claims(), "c=pvc-uid-c(1Gi)");
}

#[test]
fn v_36_a_claim_that_is_being_deleted_gets_nothing() {
    let world = world().with(&[pv("a", "1Gi", "RWO")], &[classless("c", "1Gi", "RWO")], &[]).delete_claim("c").settle();
    assert_eq!(world.volumes(), "a:Available");
    assert!(world.request.claims.is_empty());
}

#[test]
fn v_37_no_provisioner_only_waits() {
    let fixed = class("fixed", NO_PROVISIONER, BindingMode::Immediate);
    let world = world().with(&[], &[pvc("c", "1Gi", "RWO", Some("fixed"))], &[fixed]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::StaticOnly));
    assert!(!PendingReason::StaticOnly.warning());
}

#[test]
fn v_38_a_missing_class_is_named() {
    let mut world = world().with(&[], &[pvc("c", "1Gi", "RWO", Some("my-storage-class"))], &[standard()]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::ClassNotFound));
    let expected = "storageclass.storage.k8s.io \"my-storage-class\" not found: apply it, or use standard";
    assert_eq!(world.message("c"), expected);
    world.request.classes.push(class("my-storage-class", DIRECTORY_PROVISIONER, BindingMode::Immediate));
    assert_eq!(world.settle().claims(), "c=pvc-uid-c(1Gi)");
}

#[test]
fn a_volume_of_a_class_that_does_not_exist_is_used() {
    let fast = Volume { class: "fast".into(), ..pv("a", "1Gi", "RWO") };
    check(&[fast], &[pvc("c", "1Gi", "RWO", Some("fast"))], "c=a(1Gi)");
}

#[test]
fn v_39_what_a_directory_cannot_be_is_refused_with_the_reason() {
    let local = class("local", LOCAL_PATH_PROVISIONER, BindingMode::Immediate);
    let ours = class("ours", DIRECTORY_PROVISIONER, BindingMode::Immediate);
    let refused = |claim: Claim, word: &str| {
        let world = world().with(&[], &[claim], &[local.clone(), ours.clone()]).settle();
        assert_eq!(world.reason("c"), Some(PendingReason::Unsupported));
        assert!(world.message("c").contains(word), "{}", world.message("c"));
    };
    refused(pvc("c", "1Gi", "RWX", Some("local")), "ReadWriteMany");
    let ours_claim = pvc("c", "1Gi", "RWO", Some("ours"));
    refused(Claim { selector: Some(LabelSelector::default()), ..ours_claim.clone() }, "selector");
    refused(Claim { volume_mode: VolumeMode::Block, ..ours_claim.clone() }, "volumeMode");
    refused(Claim { data_source: "VolumeSnapshot monday".into(), ..ours_claim }, "VolumeSnapshot monday");
    let shared = world().with(&[], &[pvc("c", "1Gi", "RWX", Some("ours"))], &[ours]).settle();
    assert_eq!(shared.claims(), "c=pvc-uid-c(1Gi)", "one machine can share a directory");
}

#[test]
fn a_foreign_provisioner_is_awaited() {
    let csi = class("csi", "ebs.csi.aws.com", BindingMode::Immediate);
    let world = world().with(&[], &[pvc("c", "1Gi", "RWO", Some("csi"))], &[csi]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::ExternalProvisioner));
}

#[test]
fn topologies_are_respected() {
    let topology = elsewhere().unwrap();
    let far =
        StorageClass { allowed_topologies: topology, ..class("far", DIRECTORY_PROVISIONER, BindingMode::Immediate) };
    let world = world().with(&[], &[pvc("c", "1Gi", "RWO", Some("far"))], &[far]).settle();
    assert_eq!(world.reason("c"), Some(PendingReason::NodeNotAllowed));
}
