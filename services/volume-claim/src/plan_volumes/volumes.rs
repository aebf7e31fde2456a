//! Phases of volumes, and what becomes of them when their claims are gone (volume rules 3.5 and 5).

use domain::Uid;
use domain::volume::{ReclaimPolicy, Volume, VolumeAction, VolumePhase};

use super::{Planner, Standing, volume_version};

impl<'a> Planner<'a> {
    pub(super) fn plan_volumes(&mut self) {
        for volume in self.volumes.values().copied().collect::<Vec<_>>() {
            let Some(standing) = self.standings.get(volume.name.as_str()).copied() else { continue };
            if !self.taken.contains(volume.name.as_str()) {
                self.volume(volume, standing);
            }
        }
    }

    fn volume(&mut self, volume: &'a Volume, standing: Standing) {
        match standing {
            Standing::Bound | Standing::HalfBound => self.phase(volume, VolumePhase::Bound, ""),
            Standing::Lost => self.lost(volume),
            Standing::Free | Standing::Reserved | Standing::Released if volume.deleting => self.leave(volume),
            Standing::Free | Standing::Reserved => self.phase(volume, VolumePhase::Available, ""),
            Standing::Released => self.released(volume),
        }
    }

    fn phase(&mut self, volume: &Volume, phase: VolumePhase, message: &str) {
        if volume.phase != phase {
            let (volume, message) = (volume_version(volume), message.to_owned());
            self.plan.actions.push(VolumeAction::SetVolumePhase { volume, phase, message });
        }
    }

    /// Its claim took another volume. What was made for the claim goes; what we chose is free again; what somebody
    /// reserved stays reserved.
    fn lost(&mut self, volume: &'a Volume) {
        if !volume.provisioned_by.is_empty() && volume.reclaim_policy == ReclaimPolicy::Delete {
            if volume.deleting { self.leave(volume) } else { self.released(volume) }
        } else {
            let keep_reservation = !volume.bound_by_controller;
            self.plan.actions.push(VolumeAction::Unbind { volume: volume_version(volume), keep_reservation });
        }
    }

    /// Its claim is gone. First everybody can see that; what the policy says follows.
    fn released(&mut self, volume: &'a Volume) {
        let settled = matches!(volume.phase, VolumePhase::Released | VolumePhase::Failed);
        if !settled {
            if volume.reclaim_policy == ReclaimPolicy::Recycle {
                let message = "the reclaim policy Recycle is deprecated and treated as Retain: nothing is wiped";
                self.event(volume_version(volume).object, "RecyclerNotSupported", message);
            }
            return self.phase(volume, VolumePhase::Released, "");
        }
        match volume.reclaim_policy {
            ReclaimPolicy::Retain | ReclaimPolicy::Recycle => self.phase(volume, VolumePhase::Released, ""),
            ReclaimPolicy::Delete if !volume.is_ours() => self.not_ours(volume),
            ReclaimPolicy::Delete if self.in_use(volume) => {}
            ReclaimPolicy::Delete => {
                self.plan.actions.push(VolumeAction::DeleteVolume { volume: volume_version(volume) });
            }
        }
    }

    /// Nobody here made it, so nobody here deletes its data.
    fn not_ours(&mut self, volume: &'a Volume) {
        if volume.phase != VolumePhase::Failed {
            let message = "error getting deleter volume plugin: this volume was made by hand, so its data is never \
                           deleted here; delete it yourself, or set the reclaim policy to Retain";
            self.event(volume_version(volume).object, "VolumeFailedDelete", message);
            self.phase(volume, VolumePhase::Failed, message);
        }
    }

    /// A volume that nothing is bound to and that is to go: its directory first, if its policy says so.
    fn leave(&mut self, volume: &'a Volume) {
        let delete = volume.reclaim_policy == ReclaimPolicy::Delete;
        if delete && volume.is_ours() && volume.holds_directory {
            if !self.in_use(volume) {
                let claim_uid = Uid(volume.name.trim_start_matches("pvc-").to_owned());
                self.plan.actions.push(VolumeAction::Deprovision { volume: volume_version(volume), claim_uid });
            }
        } else if volume.protected || volume.holds_directory {
            self.plan.actions.push(VolumeAction::ReleaseVolume { volume: volume_version(volume) });
        }
    }

    /// Whether a pod may still have the volume although its claim is gone. A claim goes only after its pods, unless
    /// somebody forced it.
    fn in_use(&self, volume: &Volume) -> bool {
        let Some(one) = &volume.claim_ref else { return false };
        let used = (one.namespace.as_str(), one.name.as_str());
        !self.claims.contains_key(&used)
            && self.users.get(&used).is_some_and(|users| users.iter().any(|user| !user.node.is_empty()))
    }
}
