//! One scenario per case, named after it. [`World::settle`] applies a plan as the coordinator does.

use domain::volume::{
    AccessMode, BindingMode, Claim, ClaimPhase, ClaimRef, ClaimUser, DIRECTORY_PROVISIONER, LOCAL_PATH_PROVISIONER,
    LabelSelector, MachineNode, NO_PROVISIONER, NodeTerm, Operator, PodWaitReason, ReclaimPolicy, Requirement,
    StorageClass, Volume, VolumeMode, VolumePhase, VolumeSource, VolumeSwitches,
};
use domain::{Quantity, Timestamp, Uid};

use super::*;

/// More rounds than any chain of steps needs; reaching it means that plans do not settle.
const ROUNDS_MAX: usize = 32;

/// Everything that is stored, and what planning makes of it.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) request: VolumesRequest,
    pub(super) plan: VolumesPlan,
    pub(super) events: Vec<String>,
    pub(super) removed_directories: Vec<String>,
}

pub(super) fn world() -> World {
    let labels = [("kubernetes.io/hostname".to_owned(), "here".to_owned())].into();
    let node = MachineNode { name: "here".into(), labels };
    World { request: VolumesRequest { node, ..VolumesRequest::default() }, ..World::default() }
}

fn modes(text: &str) -> Vec<AccessMode> {
    let find = |short: &str| AccessMode::ALL.into_iter().find(|mode| mode.short() == short);
    text.split(',').map(|short| find(short).unwrap_or_else(|| panic!("{short} is a mode"))).collect()
}

fn size(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// A volume: `name size modes`, without class, made by hand.
pub(super) fn pv(name: &str, capacity: &str, access: &str) -> Volume {
    Volume {
        name: name.into(),
        uid: Uid(format!("uid-{name}")),
        protected: true,
        capacity: size(capacity),
        access_modes: modes(access),
        source: VolumeSource::HostPath,
        ..Volume::default()
    }
}

/// A claim in namespace default: `name size modes` and its class.
pub(super) fn pvc(name: &str, request: &str, access: &str, class: Option<&str>) -> Claim {
    Claim {
        namespace: "default".into(),
        name: name.into(),
        uid: Uid(format!("uid-{name}")),
        protected: true,
        class: class.map(str::to_owned),
        access_modes: modes(access),
        request: size(request),
        ..Claim::default()
    }
}

pub(super) fn class(name: &str, provisioner: &str, binding_mode: BindingMode) -> StorageClass {
    let (name, provisioner) = (name.to_owned(), provisioner.to_owned());
    let reclaim_policy = ReclaimPolicy::Delete;
    StorageClass { name, provisioner, reclaim_policy, binding_mode, allow_expansion: true, ..StorageClass::default() }
}

fn standard() -> StorageClass {
    let class = class("standard", DIRECTORY_PROVISIONER, BindingMode::WaitForFirstConsumer);
    StorageClass { is_default: true, ..class }
}

pub(super) fn user(pod: &str, claim: &str) -> ClaimUser {
    ClaimUser {
        namespace: "default".into(),
        claim: claim.into(),
        pod: pod.into(),
        pod_uid: Uid(format!("uid-{pod}")),
        ..ClaimUser::default()
    }
}

fn reserved_for(name: &str, volume: Volume) -> Volume {
    let claim_ref = ClaimRef { namespace: "default".into(), name: name.into(), uid: Uid::default() };
    Volume { claim_ref: Some(claim_ref), ..volume }
}

fn elsewhere() -> Option<Vec<NodeTerm>> {
    let host =
        Requirement { key: "kubernetes.io/hostname".into(), operator: Operator::In, values: vec!["elsewhere".into()] };
    Some(vec![NodeTerm { labels: vec![host], fields: vec![] }])
}

impl World {
    fn with(mut self, volumes: &[Volume], claims: &[Claim], classes: &[StorageClass]) -> Self {
        self.request.volumes.extend_from_slice(volumes);
        self.request.claims.extend_from_slice(claims);
        self.request.classes.extend_from_slice(classes);
        self
    }

    fn used(mut self, users: &[ClaimUser]) -> Self {
        self.request.users.extend_from_slice(users);
        self
    }

    /// Plans and applies until a plan has nothing to do.
    pub(super) fn settle(mut self) -> Self {
        for _ in 0..ROUNDS_MAX {
            self.plan = plan_volumes(&self.request);
            self.events.extend(self.plan.events.iter().map(|event| event.reason.clone()));
            if self.plan.actions.is_empty() {
                return self;
            }
            for action in self.plan.actions.clone() {
                self.apply(action);
            }
        }
        panic!("plans do not settle: {:#?}", self.plan.actions);
    }

    pub(super) fn claim_mut(&mut self, uid: &Uid) -> &mut Claim {
        self.request.claims.iter_mut().find(|claim| claim.uid == *uid).expect("actions name claims that exist")
    }

    pub(super) fn volume_mut(&mut self, name: &str) -> &mut Volume {
        self.request.volumes.iter_mut().find(|volume| volume.name == name).expect("actions name volumes that exist")
    }

    /// What the coordinator commits for an action.
    fn apply(&mut self, action: VolumeAction) {
        match action {
            VolumeAction::SetClass { claim, class } => self.claim_mut(&claim.object.uid).class = Some(class),
            VolumeAction::Bind { claim, volume, mark_volume, capacity, access_modes, .. } => {
                let claim = self.claim_mut(&claim.object.uid);
                claim.volume_name.clone_from(&volume.object.name);
                (claim.phase, claim.bind_completed, claim.capacity) = (ClaimPhase::Bound, true, Some(capacity));
                claim.bound_access_modes = access_modes;
                let (namespace, name) = (claim.namespace.clone(), claim.name.clone());
                let claim_ref = ClaimRef { namespace, name, uid: claim.uid.clone() };
                let volume = self.volume_mut(&volume.object.name);
                (volume.claim_ref, volume.phase) = (Some(claim_ref), VolumePhase::Bound);
                volume.bound_by_controller |= mark_volume;
            }
            VolumeAction::Provision { claim, class, provisioner, volume, capacity, reclaim_policy, .. } => {
                let claim = self.claim_mut(&claim.object.uid);
                claim.volume_name.clone_from(&volume);
                (claim.phase, claim.bind_completed, claim.capacity) = (ClaimPhase::Bound, true, Some(capacity));
                claim.bound_access_modes.clone_from(&claim.access_modes);
                let made = Volume {
                    claim_ref: Some(ClaimRef {
                        namespace: claim.namespace.clone(),
                        name: claim.name.clone(),
                        uid: claim.uid.clone(),
                    }),
                    phase: VolumePhase::Bound,
                    capacity,
                    access_modes: claim.access_modes.clone(),
                    class,
                    reclaim_policy,
                    provisioned_by: provisioner,
                    holds_directory: reclaim_policy == ReclaimPolicy::Delete,
                    ..pv(&volume, "1", "RWO")
                };
                assert!(self.request.volumes.iter().all(|one| one.name != made.name), "made twice");
                self.request.volumes.push(made);
            }
            VolumeAction::SetVolumePhase { volume, phase, .. } => self.volume_mut(&volume.object.name).phase = phase,
            VolumeAction::Unbind { volume, keep_reservation } => {
                let volume = self.volume_mut(&volume.object.name);
                volume.phase = VolumePhase::Available;
                volume.bound_by_controller = false;
                volume.claim_ref = volume.claim_ref.take().filter(|_| keep_reservation);
                volume.claim_ref.iter_mut().for_each(|one| one.uid = Uid::default());
            }
            VolumeAction::SetClaimPhase { claim, phase, .. } => self.claim_mut(&claim.object.uid).phase = phase,
            VolumeAction::Expand { claim, volume, capacity } => {
                self.claim_mut(&claim.object.uid).capacity = Some(capacity);
                self.volume_mut(&volume.object.name).capacity = capacity;
            }
            VolumeAction::DeleteVolume { volume } => self.volume_mut(&volume.object.name).deleting = true,
            VolumeAction::Deprovision { volume, .. } => {
                self.removed_directories.push(volume.object.name.clone());
                self.request.volumes.retain(|one| one.name != volume.object.name);
            }
            VolumeAction::ReleaseVolume { volume } => {
                self.request.volumes.retain(|one| one.name != volume.object.name);
            }
            VolumeAction::ReleaseClaim { claim } => {
                self.request.claims.retain(|one| one.uid != claim.object.uid);
            }
        }
    }

    fn claim(&self, name: &str) -> &Claim {
        self.request.claims.iter().find(|claim| claim.name == name).unwrap()
    }

    fn volume(&self, name: &str) -> Option<&Volume> {
        self.request.volumes.iter().find(|volume| volume.name == name)
    }

    /// `name=volume(size)` of every claim, or `name?reason` where it is pending.
    fn claims(&self) -> String {
        let one = |claim: &Claim| match claim.phase {
            ClaimPhase::Bound => format!("{}={}({})", claim.name, claim.volume_name, claim.capacity.unwrap()),
            ClaimPhase::Lost => format!("{} lost", claim.name),
            ClaimPhase::Pending => {
                let report = self.plan.pending.iter().find(|report| report.claim.object.uid == claim.uid);
                format!("{}?{:?}", claim.name, report.map(|report| report.reason))
            }
        };
        self.request
            .claims
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(" ")
            .replace("Some(", "")
            .replace("))", ")")
            .replace("NoMatch)", "NoMatch")
    }

    /// `name:phase` of every volume.
    fn volumes(&self) -> String {
        let one = |volume: &Volume| format!("{}:{}", volume.name, volume.phase.name());
        self.request.volumes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn reason(&self, claim: &str) -> Option<PendingReason> {
        let uid = &self.claim(claim).uid;
        self.plan.pending.iter().find(|report| report.claim.object.uid == *uid).map(|report| report.reason)
    }

    fn message(&self, claim: &str) -> &str {
        let uid = &self.claim(claim).uid;
        let report = self.plan.pending.iter().find(|report| report.claim.object.uid == *uid);
        report.map(|report| report.message.as_str()).unwrap_or_default()
    }

    fn pod_wait(&self, pod: &str) -> Option<PodWaitReason> {
        self.plan.pod_waits.iter().find(|wait| wait.pod.name == pod).map(|wait| wait.reason)
    }

    fn delete_claim(mut self, name: &str) -> Self {
        let uid = self.claim(name).uid.clone();
        self.claim_mut(&uid).deleting = true;
        self
    }

    fn place(mut self, pod: &str) -> Self {
        self.request.users.iter_mut().filter(|user| user.pod == pod).for_each(|user| user.node = "here".into());
        self
    }

    fn remove_pod(mut self, pod: &str) -> Self {
        self.request.users.retain(|user| user.pod != pod);
        self
    }
}

/// Settles claims against volumes, all without class, and compares.
fn check(volumes: &[Volume], claims: &[Claim], expected: &str) {
    assert_eq!(world().with(volumes, claims, &[]).settle().claims(), expected);
}

fn classless(name: &str, request: &str, access: &str) -> Claim {
    pvc(name, request, access, Some(""))
}

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

fn naming(volume: &str, claim: Claim) -> Claim {
    Claim { volume_name: volume.into(), ..claim }
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

fn wanting(name: &str, request: &str) -> Claim {
    pvc(name, request, "RWO", Some("standard"))
}

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
