//! Whatever is stored, plans settle, nobody shares a volume, and nothing is removed that somebody made.

use std::collections::BTreeMap;

use domain::Uid;
use domain::volume::{
    BindingMode, Claim, ClaimPhase, ClaimRef, ClaimUser, DIRECTORY_PROVISIONER, NO_PROVISIONER, ReclaimPolicy,
    StorageClass, Volume, VolumePhase,
};
use proptest::prelude::*;

use super::tests::world::{World, class, pv, pvc, user, world};
use super::*;

const SIZES: [&str; 3] = ["1Gi", "2Gi", "5Gi"];
const MODES: [&str; 3] = ["RWO", "RWO,RWX", "RWOP"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn any_claim_ref() -> impl Strategy<Value = Option<ClaimRef>> {
    let uid = prop_oneof![Just(""), Just("uid-a"), Just("uid-b"), Just("gone")];
    proptest::option::weighted(0.4, (prop::sample::select(&NAMES[..]), uid)).prop_map(|found| {
        found.map(|(name, uid)| ClaimRef { namespace: "default".into(), name: name.into(), uid: Uid(uid.into()) })
    })
}

fn any_volume() -> impl Strategy<Value = Volume> {
    let policy = prop_oneof![Just(ReclaimPolicy::Retain), Just(ReclaimPolicy::Delete)];
    let phase = prop_oneof![
        Just(VolumePhase::Pending),
        Just(VolumePhase::Available),
        Just(VolumePhase::Bound),
        Just(VolumePhase::Released),
        Just(VolumePhase::Failed),
    ];
    let shape = (prop::sample::select(&SIZES[..]), prop::sample::select(&MODES[..]), prop::bool::weighted(0.2));
    (shape, policy, phase, any_claim_ref(), prop::bool::weighted(0.2), prop_oneof![Just(""), Just("make")]).prop_map(
        |((size, modes, deleting), reclaim_policy, phase, claim_ref, bound_by_controller, class)| Volume {
            deleting,
            reclaim_policy,
            phase,
            claim_ref,
            bound_by_controller,
            class: class.to_owned(),
            ..pv("", size, modes)
        },
    )
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let class = prop_oneof![Just(None), Just(Some("")), Just(Some("make")), Just(Some("wait")), Just(Some("fixed"))];
    let named = prop_oneof![4 => Just(""), 1 => Just("v0"), 1 => Just("v1"), 1 => Just("none")];
    let shape = (prop::sample::select(&SIZES[..]), prop::sample::select(&MODES[..]), prop::bool::weighted(0.2));
    (shape, class, named, any::<bool>()).prop_map(|((size, modes, deleting), class, named, completed)| Claim {
        deleting,
        volume_name: named.to_owned(),
        bind_completed: completed && !named.is_empty(),
        phase: if completed && !named.is_empty() { ClaimPhase::Bound } else { ClaimPhase::Pending },
        ..pvc("", size, modes, class)
    })
}

fn classes(with_default: bool) -> Vec<StorageClass> {
    let make = class("make", DIRECTORY_PROVISIONER, BindingMode::Immediate);
    let wait = class("wait", DIRECTORY_PROVISIONER, BindingMode::WaitForFirstConsumer);
    let fixed = class("fixed", NO_PROVISIONER, BindingMode::WaitForFirstConsumer);
    vec![StorageClass { is_default: with_default, ..wait }, make, fixed]
}

prop_compose! {
    fn any_world()(
        volumes in prop::collection::vec(any_volume(), 0..5),
        claims in prop::collection::vec(any_claim(), 0..5),
        uses in prop::collection::vec((0usize..3, 0usize..5, any::<bool>(), any::<bool>()), 0..6),
        with_default in any::<bool>(),
    ) -> World {
        let mut world = world();
        world.request.classes = classes(with_default);
        for (place, volume) in volumes.into_iter().enumerate() {
            let (name, uid) = (format!("v{place}"), Uid(format!("uid-v{place}")));
            world.request.volumes.push(Volume { name, uid, ..volume });
        }
        for (claim, name) in claims.into_iter().zip(NAMES) {
            world.request.claims.push(Claim { name: name.into(), uid: Uid(format!("uid-{name}")), ..claim });
        }
        for (pod, claim, placed, ending) in uses {
            let node = if placed { "here".to_owned() } else { String::new() };
            world.request.users.push(ClaimUser { node, ending, ..user(&format!("p{pod}"), NAMES[claim]) });
        }
        world
    }
}

/// No two claims have one volume with both sides agreeing, and each bond is whole.
fn assert_exclusive(world: &World) {
    let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
    for claim in world.request.claims.iter().filter(|claim| claim.phase == ClaimPhase::Bound && !claim.deleting) {
        let volume = world.request.volumes.iter().find(|volume| volume.name == claim.volume_name);
        let volume = volume.unwrap_or_else(|| panic!("{} is bound to a volume that is not there", claim.name));
        assert_eq!(volume.claim_ref.as_ref().map(|one| &one.uid), Some(&claim.uid), "{} is half bound", claim.name);
        let other = holders.insert(&claim.volume_name, &claim.name);
        assert_eq!(other, None, "{} and {other:?} share {}", claim.name, claim.volume_name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn plans_settle_and_nobody_shares_a_volume(world in any_world()) {
        let hand_made: Vec<_> = world.request.volumes.iter().map(|volume| volume.name.clone()).collect();
        let settled = world.settle();
        assert_exclusive(&settled);
        prop_assert!(settled.removed_directories.iter().all(|name| !hand_made.contains(name)));
        prop_assert!(settled.removed_directories.is_empty(), "nothing that was made is released in these worlds");
        prop_assert_eq!(plan_volumes(&settled.request), settled.plan, "the same request gives the same plan");
    }

    #[test]
    fn every_pending_claim_has_exactly_one_reason(world in any_world()) {
        let settled = world.settle();
        for claim in settled.request.claims.iter().filter(|claim| claim.phase == ClaimPhase::Pending && !claim.deleting) {
            let reports = settled.plan.pending.iter().filter(|report| report.claim.object.uid == claim.uid);
            prop_assert_eq!(reports.count(), 1, "{:?}", claim);
        }
    }

    #[test]
    fn claims_in_use_are_never_released(world in any_world()) {
        let used: Vec<_> = world.request.users.iter().filter(|user| !user.node.is_empty()).map(|user| user.claim.clone()).collect();
        let before: Vec<_> = world.request.claims.iter().map(|claim| claim.name.clone()).collect();
        let settled = world.settle();
        for name in before.iter().filter(|name| used.contains(name)) {
            prop_assert!(settled.request.claims.iter().any(|claim| claim.name == *name), "{name} is gone");
        }
    }
}
