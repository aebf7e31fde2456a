//! The binder: all claims and volumes that may need something. Pure.
//!
//! Rules: volume rules 2 to 5 and 7.1, for one machine. Order of work: claims that are bound, claims that are promised a
//! volume by either side, claims to be bound at once, claims that wait for a pod; then the phases of volumes, their
//! reclaiming, and what pods wait for. Every object is changed by at most one action of a plan, so that each can be
//! committed on its own; what else is to be done follows in the next plan.
//!
//! Where Kubernetes leaves a choice open, the smaller name wins, so that the same request gives the same plan.

mod claims;
mod consumers;
mod matching;
mod pods;
mod provisioning;
mod standing;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use domain::volume::{
    Claim, ClaimReport, ClaimUser, ObjectVersion, PendingReason, Rejection, StorageClass, Volume, VolumeAction,
    VolumeEvent, VolumesPlan, VolumesRequest,
};
use domain::{ObjectRef, Uid};

use self::standing::Standing;

/// Rejected volumes that a report names. A person reads a few; programs learn the total.
const REJECTED_MAX: usize = 16;

/// Rejected volumes that a message spells out.
const REJECTED_IN_MESSAGE_MAX: usize = 3;

type ClaimKey<'a> = (&'a str, &'a str);

/// Plans every claim and volume.
#[must_use]
pub fn plan_volumes(request: &VolumesRequest) -> VolumesPlan {
    let mut planner = Planner::new(request);
    planner.plan_claims();
    planner.plan_volumes();
    planner.plan_pods();
    debug_assert!(planner.each_changed_once(), "an object is changed by two actions: {:#?}", planner.plan.actions);
    planner.plan
}

struct Planner<'a> {
    request: &'a VolumesRequest,
    claims: BTreeMap<ClaimKey<'a>, &'a Claim>,
    volumes: BTreeMap<&'a str, &'a Volume>,
    standings: BTreeMap<&'a str, Standing>,
    classes: BTreeMap<&'a str, &'a StorageClass>,
    /// Uses of each claim, by age of the pod, then by name.
    users: BTreeMap<ClaimKey<'a>, Vec<&'a ClaimUser>>,
    /// Volumes that an action of this plan changes: they are nobody else's any more.
    taken: BTreeSet<&'a str>,
    /// Claims that this plan binds.
    served: BTreeSet<ClaimKey<'a>>,
    plan: VolumesPlan,
}

impl<'a> Planner<'a> {
    fn new(request: &'a VolumesRequest) -> Self {
        let claims: BTreeMap<_, _> = request.claims.iter().map(|claim| (key(claim), claim)).collect();
        let volumes = request.volumes.iter().map(|volume| (volume.name.as_str(), volume)).collect();
        let standings = request.volumes.iter();
        let standings = standings.map(|volume| (volume.name.as_str(), Standing::of(volume, &claims))).collect();
        let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for user in &request.users {
            users.entry((user.namespace.as_str(), user.claim.as_str())).or_default().push(user);
        }
        for list in users.values_mut() {
            list.sort_by_key(|user| (user.created_at, user.pod.as_str()));
        }
        Self {
            request,
            claims,
            volumes,
            standings,
            classes: request.classes.iter().map(|class| (class.name.as_str(), class)).collect(),
            users,
            taken: BTreeSet::new(),
            served: BTreeSet::new(),
            plan: VolumesPlan::default(),
        }
    }

    /// The default class: of several the newest, then the smallest name (volume rules, section 2).
    fn default_class(&self) -> Option<&'a StorageClass> {
        let defaults = self.request.classes.iter().filter(|class| class.is_default);
        defaults.min_by_key(|class| (std::cmp::Reverse(class.created_at), class.name.as_str()))
    }

    fn users_of<'s>(&'s self, claim: &'s Claim) -> &'s [&'s ClaimUser] {
        self.users.get(&key(claim)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Binds. Nobody else gets the volume.
    fn bind(&mut self, claim: &'a Claim, volume: &'a Volume, node: &str) {
        self.taken.insert(&volume.name);
        self.served.insert(key(claim));
        let kept = claim.capacity.filter(|_| claim.phase == domain::volume::ClaimPhase::Bound);
        self.plan.actions.push(VolumeAction::Bind {
            claim: claim_version(claim),
            volume: volume_version(volume),
            mark_volume: volume.claim_ref.is_none(),
            mark_claim: claim.volume_name.is_empty(),
            capacity: kept.unwrap_or(volume.capacity),
            access_modes: volume.access_modes.clone(),
            node: node.to_owned(),
        });
    }

    fn report(&mut self, claim: &Claim, reason: PendingReason, message: impl Into<String>) {
        self.report_rejected(claim, reason, message, Vec::new());
    }

    fn report_rejected(
        &mut self,
        claim: &Claim,
        reason: PendingReason,
        message: impl Into<String>,
        mut rejected: Vec<Rejection>,
    ) {
        let rejected_total = u32::try_from(rejected.len()).unwrap_or(u32::MAX);
        let mut message = message.into();
        message.push_str(&matching::explain(&rejected, REJECTED_IN_MESSAGE_MAX));
        rejected.truncate(REJECTED_MAX);
        let claim = claim_version(claim);
        self.plan.pending.push(ClaimReport { claim, reason, message, rejected, rejected_total });
    }

    fn event(&mut self, object: ObjectRef, reason: &str, message: impl Into<String>) {
        let (reason, message) = (reason.to_owned(), message.into());
        self.plan.events.push(VolumeEvent { object, warning: true, reason, message });
    }

    fn each_changed_once(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.plan.actions.iter().flat_map(changed).all(|object| seen.insert(object))
    }
}

/// The objects that an action changes.
fn changed(action: &VolumeAction) -> Vec<&ObjectRef> {
    match action {
        VolumeAction::Bind { claim, volume, .. } | VolumeAction::Expand { claim, volume, .. } => {
            vec![&claim.object, &volume.object]
        }
        VolumeAction::SetClass { claim, .. }
        | VolumeAction::Provision { claim, .. }
        | VolumeAction::SetClaimPhase { claim, .. }
        | VolumeAction::ReleaseClaim { claim } => vec![&claim.object],
        VolumeAction::SetVolumePhase { volume, .. }
        | VolumeAction::Unbind { volume, .. }
        | VolumeAction::DeleteVolume { volume }
        | VolumeAction::Deprovision { volume, .. }
        | VolumeAction::ReleaseVolume { volume } => vec![&volume.object],
    }
}

fn key(claim: &Claim) -> ClaimKey<'_> {
    (&claim.namespace, &claim.name)
}

fn object(kind: &str, namespace: &str, name: &str, uid: &Uid) -> ObjectRef {
    ObjectRef { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.clone() }
}

fn claim_version(claim: &Claim) -> ObjectVersion {
    let object = object("PersistentVolumeClaim", &claim.namespace, &claim.name, &claim.uid);
    ObjectVersion { object, version: claim.version }
}

fn volume_version(volume: &Volume) -> ObjectVersion {
    ObjectVersion { object: object("PersistentVolume", "", &volume.name, &volume.uid), version: volume.version }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
