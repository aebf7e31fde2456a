//! Which pods must wait for their claims, and why (volume rules 3.3).

use domain::volume::{AccessMode, Claim, ClaimPhase, ClaimUser, PodWait, PodWaitReason};

use super::{Planner, object};

impl Planner<'_> {
    pub(super) fn plan_pods(&mut self) {
        let waiting = self.request.users.iter().filter(|user| user.node.is_empty() && !user.ending);
        let waits: Vec<_> = waiting.filter_map(|user| self.pod_wait(user)).collect();
        self.plan.pod_waits.extend(waits);
    }

    fn pod_wait(&self, user: &ClaimUser) -> Option<PodWait> {
        let (reason, message) = self.why(user)?;
        let pod = object("Pod", &user.namespace, &user.pod, &user.pod_uid);
        Some(PodWait { pod, claim: user.claim.clone(), reason, message })
    }

    fn why(&self, user: &ClaimUser) -> Option<(PodWaitReason, String)> {
        let name = &user.claim;
        let used = (user.namespace.as_str(), name.as_str());
        let Some(claim) = self.claims.get(&used) else {
            return Some((PodWaitReason::ClaimMissing, format!("persistentvolumeclaim {name:?} not found")));
        };
        if claim.deleting {
            return Some((PodWaitReason::ClaimDeleting, format!("persistentvolumeclaim {name:?} is being deleted")));
        }
        if claim.phase == ClaimPhase::Lost && !self.served.contains(&used) {
            let message = format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                claim.volume_name
            );
            return Some((PodWaitReason::ClaimLost, message));
        }
        if !claim.bind_completed || claim.phase == ClaimPhase::Pending {
            let report = self.plan.pending.iter().find(|report| report.claim.object.uid == claim.uid);
            let because = report.map(|report| format!(": {}", report.message)).unwrap_or_default();
            let message = format!("persistentvolumeclaim {name:?} is not bound{because}");
            return Some((PodWaitReason::ClaimUnbound, message));
        }
        if let Some(volume) = self.volumes.get(claim.volume_name.as_str())
            && !self.request.node.name.is_empty()
            && !volume.reachable_from(&self.request.node)
        {
            let message = format!(
                "volume node affinity conflict: volume {:?} of persistentvolumeclaim {name:?} cannot be reached from \
                 node {:?}",
                volume.name, self.request.node.name
            );
            return Some((PodWaitReason::NodeAffinityConflict, message));
        }
        let by = self.rival(user, claim)?;
        let message = format!("persistentvolumeclaim {name:?} is ReadWriteOncePod and in use by pod {:?}", by.pod);
        Some((PodWaitReason::ClaimInUse, message))
    }

    /// The pod that has a claim which only one may use: one with a node, else the oldest.
    fn rival<'s>(&'s self, user: &ClaimUser, claim: &'s Claim) -> Option<&'s ClaimUser> {
        if !claim.access_modes.contains(&AccessMode::ReadWriteOncePod) {
            return None;
        }
        let users = self.users_of(claim);
        let placed = users.iter().find(|other| !other.node.is_empty());
        let first = placed.or_else(|| users.iter().find(|other| !other.ending))?;
        (first.pod_uid != user.pod_uid).then_some(*first)
    }
}
