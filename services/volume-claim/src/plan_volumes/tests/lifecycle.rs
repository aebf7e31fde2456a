//! What happens to claims and volumes after they are bound: deletion, loss, growth, races.

use domain::Uid;
use domain::volume::{Claim, ClaimPhase, ClaimRef, PodWaitReason, ReclaimPolicy, Volume, VolumePhase};

use super::world::{World, check, classless, naming, pv, pvc, size, standard, user, wanting, world};

fn provisioned() -> World {
    world().with(&[], &[wanting("c", "1Gi")], &[standard()]).used(&[user("p", "c")]).settle().place("p")
}

#[test]
fn v_42_a_used_claim_stays_until_its_pod_is_gone() {
    let world = provisioned().delete_claim("c").settle();
    assert_eq!(world.claims(), "c=pvc-uid-c(1Gi)");
    let world = world.remove_pod("p").settle();
    assert!(world.request.claims.is_empty() && world.request.volumes.is_empty());
}

#[test]
fn v_43_an_ended_pod_still_counts() {
    let mut world = provisioned().delete_claim("c");
    world.request.users[0].ending = true;
    assert_eq!(world.settle().claims(), "c=pvc-uid-c(1Gi)");
}

fn bound_by_hand(policy: ReclaimPolicy) -> World {
    let volume = Volume { reclaim_policy: policy, ..pv("a", "1Gi", "RWO") };
    world().with(&[volume], &[classless("c", "1Gi", "RWO")], &[]).settle()
}

#[test]
fn v_44_v_45_a_retained_volume_is_nobodys_until_somebody_says_so() {
    let mut world = bound_by_hand(ReclaimPolicy::Retain).delete_claim("c").settle();
    assert_eq!(world.volumes(), "a:Released");
    assert_eq!(world.volume("a").unwrap().claim_ref.as_ref().unwrap().uid.0, "uid-c");
    world.request.claims.push(Claim { uid: Uid("another".into()), ..classless("c", "1Gi", "RWO") });
    let mut world = world.settle();
    assert_eq!(world.claims(), "c?NoMatch");
    world.volume_mut("a").claim_ref.as_mut().unwrap().uid = Uid::default();
    assert_eq!(world.settle().claims(), "c=a(1Gi)");
}

#[test]
fn v_46_what_was_made_is_removed() {
    let world = provisioned().remove_pod("p").delete_claim("c").settle();
    assert_eq!(world.volumes(), "");
    assert_eq!(world.removed_directories, ["pvc-uid-c"]);
}

#[test]
fn v_47_a_directory_made_by_hand_is_never_removed() {
    let world = bound_by_hand(ReclaimPolicy::Delete).delete_claim("c").settle();
    assert_eq!(world.volumes(), "a:Failed");
    assert_eq!(world.events, ["VolumeFailedDelete"]);
    assert!(world.removed_directories.is_empty());
}

#[test]
fn v_48_a_bound_volume_stays_until_its_claim_is_gone() {
    let mut world = bound_by_hand(ReclaimPolicy::Retain);
    world.volume_mut("a").deleting = true;
    let world = world.settle();
    assert_eq!(world.volumes(), "a:Bound");
    assert_eq!(world.delete_claim("c").settle().volumes(), "");
}

#[test]
fn v_49_v_50_a_lost_volume_may_come_back() {
    let mut world = bound_by_hand(ReclaimPolicy::Retain).used(&[user("p", "c")]);
    let volume = world.request.volumes.remove(0);
    let mut world = world.settle();
    assert_eq!((world.claims().as_str(), world.events.as_slice()), ("c lost", &["ClaimLost".to_owned()][..]));
    assert_eq!(world.pod_wait("p"), Some(PodWaitReason::ClaimLost));
    world.request.volumes.push(volume);
    assert_eq!(world.settle().claims(), "c=a(1Gi)");
}

#[test]
fn a_volume_that_points_elsewhere_is_misbound() {
    let mut world = bound_by_hand(ReclaimPolicy::Retain);
    world.volume_mut("a").claim_ref.as_mut().unwrap().name = "other".into();
    let world = world.settle();
    assert_eq!((world.claims().as_str(), world.events.as_slice()), ("c lost", &["ClaimMisbound".to_owned()][..]));
}

#[test]
fn two_claims_that_were_bound_to_one_volume_do_not_both_get_it_back() {
    let bound =
        |name| Claim { bind_completed: true, phase: ClaimPhase::Bound, ..naming("a", classless(name, "1Gi", "RWO")) };
    check(&[pv("a", "1Gi", "RWO")], &[bound("b"), bound("c")], "b=a(1Gi) c lost");
}

#[test]
fn v_51_retain_in_time_keeps_the_data() {
    let mut world = provisioned().remove_pod("p");
    world.volume_mut("pvc-uid-c").reclaim_policy = ReclaimPolicy::Retain;
    let world = world.delete_claim("c").settle();
    assert_eq!(world.volumes(), "pvc-uid-c:Released");
    assert!(world.removed_directories.is_empty());
}

#[test]
fn v_52_only_one_pod_has_a_claim_for_one() {
    let claim = pvc("c", "1Gi", "RWOP", Some("standard"));
    let world = world().with(&[], &[claim], &[standard()]).used(&[user("a", "c"), user("b", "c")]).settle();
    assert_eq!((world.pod_wait("a"), world.pod_wait("b")), (None, Some(PodWaitReason::ClaimInUse)));
    let world = world.place("b").settle();
    assert_eq!(world.pod_wait("a"), Some(PodWaitReason::ClaimInUse), "who has a node has the claim");
    assert_eq!(world.remove_pod("b").settle().pod_wait("a"), None);
}

#[test]
fn v_53_v_59_growth_is_recorded_where_the_class_allows_it() {
    let grow = |mut world: World| {
        world.claim_mut(&Uid("uid-c".into())).request = size("2Gi");
        world
    };
    let grown = grow(provisioned()).settle();
    assert_eq!(grown.claims(), "c=pvc-uid-c(2Gi)");
    assert_eq!(grown.volume("pvc-uid-c").unwrap().capacity, size("2Gi"));
    let mut forbidden = grow(provisioned());
    forbidden.request.classes[0].allow_expansion = false;
    assert_eq!(forbidden.settle().claims(), "c=pvc-uid-c(1Gi)");
}

#[test]
fn the_loser_of_a_race_is_free_again() {
    let losing = |bound_by_controller| {
        let claim_ref = ClaimRef { namespace: "default".into(), name: "c".into(), uid: Uid("uid-c".into()) };
        let claim_ref = Some(claim_ref);
        let volume = Volume { claim_ref, bound_by_controller, phase: VolumePhase::Bound, ..pv("b", "1Gi", "RWO") };
        let mut world = bound_by_hand(ReclaimPolicy::Retain);
        world.request.volumes.push(volume);
        world.settle()
    };
    let (chosen, reserved) = (losing(true), losing(false));
    assert_eq!(chosen.volumes(), "a:Bound b:Available");
    assert_eq!(chosen.volume("b").unwrap().claim_ref, None);
    assert_eq!(reserved.volume("b").unwrap().claim_ref.as_ref().unwrap().uid, Uid::default());
}

#[test]
fn a_volume_deleted_before_its_claim_does_not_leak_its_directory() {
    let mut world = provisioned().remove_pod("p");
    world.volume_mut("pvc-uid-c").deleting = true;
    let world = world.settle();
    assert_eq!(world.volumes(), "pvc-uid-c:Bound");
    let world = world.delete_claim("c").settle();
    assert_eq!((world.volumes().as_str(), world.removed_directories.len()), ("", 1));
}

#[test]
fn a_claim_that_was_forced_away_does_not_take_the_data_of_a_running_pod() {
    let mut world = provisioned();
    world.request.claims.clear();
    let world = world.settle();
    assert_eq!(world.volumes(), "pvc-uid-c:Released");
    assert_eq!(world.remove_pod("p").settle().removed_directories, ["pvc-uid-c"]);
}
