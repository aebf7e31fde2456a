//! Claims: those that are bound, those that are promised a volume, those to be bound at once.

use std::collections::BTreeSet;

use domain::volume::{BindingMode, Claim, ClaimPhase, PendingReason, StorageClass, VolumeAction, VolumeSwitches};

use super::matching::{Search, difference};
use super::{Planner, claim_version, key, volume_version};

impl<'a> Planner<'a> {
    pub(super) fn plan_claims(&mut self) {
        let mut unbound = Vec::new();
        for claim in self.claims.values().copied().collect::<Vec<_>>() {
            if claim.deleting {
                self.release(claim);
            } else if claim.bind_completed {
                self.bound(claim);
            } else {
                unbound.push(claim);
            }
        }
        // Promises come before searches, the oldest claim before younger ones, and of equals the smaller request.
        unbound.sort_by_key(|claim| (claim.created_at, claim.request, key(claim)));
        unbound.retain(|claim| !self.promised(claim));
        let mut waiting = Vec::new();
        for claim in unbound {
            match self.class_of(claim) {
                Some(class) if class.binding_mode == BindingMode::WaitForFirstConsumer => waiting.push(claim),
                class => self.at_once(claim, class),
            }
        }
        self.plan_consumers(&waiting);
    }

    /// A claim that is being deleted keeps its protection while a pod with a node uses it, ended or not.
    fn release(&mut self, claim: &'a Claim) {
        if claim.protected && self.users_of(claim).iter().all(|user| user.node.is_empty()) {
            self.plan.actions.push(VolumeAction::ReleaseClaim { claim: claim_version(claim) });
        }
    }

    /// A claim that has been bound before (volume rules 3.6). Nothing unbinds it but its deletion.
    fn bound(&mut self, claim: &'a Claim) {
        let Some(volume) = self.volumes.get(claim.volume_name.as_str()).copied() else {
            let what = if claim.volume_name.is_empty() { "lost reference to its" } else { "lost its" };
            return self.lose(
                claim,
                "ClaimLost",
                format!("Bound claim has {what} PersistentVolume. Data on the volume is lost!"),
            );
        };
        let taken = self.taken.contains(volume.name.as_str());
        match &volume.claim_ref {
            one if taken || one.as_ref().is_some_and(|one| !one.means(claim)) => {
                let message = "Two claims are bound to the same volume, this one is bound incorrectly";
                self.lose(claim, "ClaimMisbound", message.to_owned());
            }
            Some(one) if one.uid == claim.uid && complete(claim, volume) => self.expand(claim, volume),
            _ => self.bind(claim, volume, ""),
        }
    }

    fn lose(&mut self, claim: &'a Claim, reason: &str, message: String) {
        if claim.phase != ClaimPhase::Lost {
            let version = claim_version(claim);
            self.event(version.object.clone(), reason, message.clone());
            self.plan.actions.push(VolumeAction::SetClaimPhase { claim: version, phase: ClaimPhase::Lost, message });
        }
    }

    /// Growth of a directory is accounting only: nothing bounds it (volume rules 6.4).
    fn expand(&mut self, claim: &'a Claim, volume: &'a domain::volume::Volume) {
        let grows = claim.capacity.is_some_and(|capacity| claim.request > capacity);
        let allowed = self.classes.get(claim.effective_class()).is_some_and(|class| class.allow_expansion);
        if grows && allowed && volume.is_ours() && !volume.deleting {
            let capacity = claim.request.max(volume.capacity);
            self.taken.insert(&volume.name);
            let (claim, volume) = (claim_version(claim), volume_version(volume));
            self.plan.actions.push(VolumeAction::Expand { claim, volume, capacity });
        }
    }

    /// Whether the claim names a volume, or a volume names it; if so, it is dealt with.
    fn promised(&mut self, claim: &'a Claim) -> bool {
        if claim.volume_name.is_empty() {
            let found = self.reserved(claim);
            found.inspect(|volume| self.bind(claim, volume, "")).is_some()
        } else {
            self.named(claim);
            true
        }
    }

    /// The claim names its volume (volume rules 3.4).
    fn named(&mut self, claim: &'a Claim) {
        let name = claim.volume_name.as_str();
        let Some(volume) = self.volumes.get(name).copied() else {
            let message = format!("volume {name:?} does not exist: the claim is bound once it does");
            return self.report(claim, PendingReason::VolumeNotFound, message);
        };
        match &volume.claim_ref {
            _ if self.taken.contains(name) => {
                let message = format!("volume {name:?} was just given to another claim");
                self.report(claim, PendingReason::VolumeTaken, message);
            }
            Some(one) if one.means(claim) => {
                if volume.capacity < claim.request {
                    let message = format!(
                        "volume {name:?} has {}, less than the {} that are requested; both name each other, so it is \
                         used",
                        volume.capacity, claim.request
                    );
                    self.event(claim_version(claim).object, "VolumeMismatch", message);
                }
                self.bind(claim, volume, "");
            }
            Some(one) => {
                let message =
                    format!("volume {name:?} already bound to a different claim: {}/{}", one.namespace, one.name);
                self.report(claim, PendingReason::VolumeTaken, message);
            }
            None => match Self::mismatch(claim, volume) {
                None => self.bind(claim, volume, ""),
                Some(test) => {
                    let search = Search { class: claim.effective_class(), node: None };
                    let message = format!(
                        "Cannot bind to requested volume {name:?}: it {}",
                        difference(test, claim, volume, search)
                    );
                    self.report(claim, PendingReason::VolumeMismatch, message);
                }
            },
        }
    }

    fn class_of(&self, claim: &Claim) -> Option<&'a StorageClass> {
        self.classes.get(claim.effective_class()).copied()
    }

    /// A claim that is bound, or provisioned for, without waiting for a pod.
    fn at_once(&mut self, claim: &'a Claim, class: Option<&'a StorageClass>) {
        if claim.class.is_none()
            && let Some(default) = self.default_class()
        {
            return self.classless(claim, default);
        }
        let search = Search { class: claim.effective_class(), node: None };
        match (self.best(claim, search, &BTreeSet::new()), class) {
            (Ok(volume), _) => self.bind(claim, volume, ""),
            (Err(rejected), Some(class)) => self.provision(claim, class, rejected),
            (Err(rejected), None) if claim.effective_class().is_empty() => {
                let message = "no persistent volumes available for this claim and no storage class is set";
                self.report_rejected(claim, PendingReason::NoMatch, message, rejected);
            }
            (Err(rejected), None) => {
                let message = self.class_not_found(claim.effective_class());
                self.report_rejected(claim, PendingReason::ClassNotFound, message, rejected);
            }
        }
    }

    /// A claim that names no class while there is a default: see [`VolumeSwitches::classless_before_default`].
    fn classless(&mut self, claim: &'a Claim, default: &'a StorageClass) {
        let VolumeSwitches { classless_before_default } = self.request.switches;
        // A volume that no pod here could reach is worse than one that is made.
        let search = Search { class: "", node: Some(&self.request.node) };
        let found = classless_before_default.then(|| self.best(claim, search, &BTreeSet::new()).ok()).flatten();
        match found {
            Some(volume) => self.bind(claim, volume, ""),
            None => {
                let (claim, class) = (claim_version(claim), default.name.clone());
                self.plan.actions.push(VolumeAction::SetClass { claim, class });
            }
        }
    }

    fn class_not_found(&self, name: &str) -> String {
        let there: Vec<_> = self.classes.keys().copied().collect();
        let hint = match there.as_slice() {
            [] => "there is none; apply it".to_owned(),
            names => format!("apply it, or use {}", names.join(" or ")),
        };
        format!("storageclass.storage.k8s.io {name:?} not found: {hint}")
    }
}

/// Whether both sides say all that a bond says.
fn complete(claim: &Claim, volume: &domain::volume::Volume) -> bool {
    claim.phase == ClaimPhase::Bound && claim.capacity.is_some() && claim.bound_access_modes == volume.access_modes
}
