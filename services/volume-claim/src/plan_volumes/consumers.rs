//! Claims that wait for a pod (volume rules 3.3): bound when a pod that uses them can be placed, all of a pod's claims
//! or none.

use std::collections::{BTreeMap, BTreeSet};

use domain::volume::{Claim, ClaimPhase, ClaimUser, PendingReason, Rejection, StorageClass, Volume};

use super::matching::Search;
use super::{ClaimKey, Planner, key};

type PodKey<'a> = (domain::Timestamp, &'a str, &'a str, &'a str);

/// What serves one claim.
enum Choice<'a> {
    Volume(&'a Volume),
    Make(&'a StorageClass),
}

/// Why a claim of a pod cannot be served.
struct Obstacle<'a> {
    claim: ClaimKey<'a>,
    reason: PendingReason,
    message: String,
    rejected: Vec<Rejection>,
}

impl<'a> Planner<'a> {
    /// Serves the claims in `waiting` whose pods allow it; oldest pod first.
    pub(super) fn plan_consumers(&mut self, waiting: &[&'a Claim]) {
        let mut obstacles: BTreeMap<ClaimKey<'a>, Obstacle<'a>> = BTreeMap::new();
        for (pod, mut claims) in self.pods_of(waiting) {
            claims.retain(|claim| !self.served.contains(&key(claim)));
            // Small ones first, so that a large volume is not spent on a small claim.
            claims.sort_by_key(|claim| (claim.request, key(claim)));
            match self.choose(&pod, &claims) {
                Ok(choices) => {
                    for (claim, choice) in claims.into_iter().zip(choices) {
                        self.serve(claim, &choice);
                    }
                }
                Err(obstacle) => {
                    for claim in claims {
                        obstacles.entry(key(claim)).or_insert_with(|| obstacle.seen_from(key(claim), pod.3));
                    }
                }
            }
        }
        for claim in waiting.iter().filter(|claim| !self.served.contains(&key(claim))).copied().collect::<Vec<_>>() {
            match obstacles.remove(&key(claim)) {
                Some(one) => self.report_rejected(claim, one.reason, one.message, one.rejected),
                None => {
                    let message = "waiting for first consumer to be created before binding";
                    self.report(claim, PendingReason::WaitForFirstConsumer, message);
                }
            }
        }
    }

    /// Pods that want to run and use one of the claims, each with those it uses.
    fn pods_of(&self, waiting: &[&'a Claim]) -> BTreeMap<PodKey<'a>, Vec<&'a Claim>> {
        let mut pods: BTreeMap<PodKey<'a>, Vec<&'a Claim>> = BTreeMap::new();
        for claim in waiting {
            let users = self.users.get(&key(claim)).into_iter().flatten();
            for user in users.filter(|user| !user.ending) {
                let pod = (user.created_at, user.namespace.as_str(), user.pod_uid.0.as_str(), user.pod.as_str());
                let claims = pods.entry(pod).or_default();
                if claims.last().is_none_or(|last| key(last) != key(claim)) {
                    claims.push(claim);
                }
            }
        }
        pods
    }

    /// What serves each of a pod's claims, or what is in the way of one.
    fn choose(&self, pod: &PodKey<'a>, claims: &[&'a Claim]) -> Result<Vec<Choice<'a>>, Obstacle<'a>> {
        let Some(first) = claims.first() else { return Ok(Vec::new()) };
        let node = &self.request.node;
        let waits = |claim, message| Obstacle {
            claim,
            reason: PendingReason::WaitForPodScheduled,
            message,
            rejected: Vec::new(),
        };
        if node.name.is_empty() {
            return Err(waits(key(first), "no machine has registered yet".to_owned()));
        }
        let same = |user: &&ClaimUser| (&*user.namespace, &*user.pod_uid.0, &*user.pod) == (pod.1, pod.2, pod.3);
        for user in self.request.users.iter().filter(same) {
            if let Some(message) = self.in_the_way(user, claims) {
                return Err(waits(key(first), format!("waiting for pod {} to be scheduled: {message}", pod.3)));
            }
        }
        let mut besides = BTreeSet::new();
        let mut choices = Vec::with_capacity(claims.len());
        for claim in claims {
            let class = self.classes.get(claim.effective_class()).expect("claims that wait have a class");
            let search = Search { class: claim.effective_class(), node: Some(node) };
            let choice = match self.best(claim, search, &besides) {
                Ok(volume) => Choice::Volume(volume),
                Err(rejected) => match self.refusal(claim, class) {
                    None => Choice::Make(class),
                    Some((reason, message)) => return Err(Obstacle { claim: key(claim), reason, message, rejected }),
                },
            };
            if let Choice::Volume(volume) = choice {
                besides.insert(volume.name.as_str());
            }
            choices.push(choice);
        }
        Ok(choices)
    }

    /// What about another use of the same pod keeps it from being placed; none for the claims about to be served.
    fn in_the_way(&self, user: &ClaimUser, claims: &[&Claim]) -> Option<String> {
        if !user.node.is_empty() && user.node != self.request.node.name {
            return Some(format!("its machine {:?} is not here", user.node));
        }
        let name = user.claim.as_str();
        let used = (user.namespace.as_str(), name);
        if claims.iter().any(|claim| key(claim) == used) || self.served.contains(&used) {
            return None;
        }
        match self.claims.get(&used) {
            None => Some(format!("claim {name:?} does not exist")),
            Some(claim) if claim.deleting => Some(format!("claim {name:?} is being deleted")),
            Some(claim) if claim.phase == ClaimPhase::Lost => Some(format!("claim {name:?} has lost its volume")),
            Some(claim) if !claim.bind_completed => Some(format!("claim {name:?} is not bound")),
            // A pod runs on one machine: what is made for it here would be of no use to it elsewhere.
            Some(claim) if !self.reaches(claim) => Some(format!(
                "the volume of claim {name:?} cannot be reached from machine {:?}",
                self.request.node.name
            )),
            Some(_) => None,
        }
    }

    /// Whether the volume of a bound claim can be used on this machine.
    fn reaches(&self, claim: &Claim) -> bool {
        let volume = self.volumes.get(claim.volume_name.as_str());
        volume.is_none_or(|volume| volume.reachable_from(&self.request.node))
    }

    fn serve(&mut self, claim: &'a Claim, choice: &Choice<'a>) {
        match choice {
            Choice::Volume(volume) => {
                let node = self.request.node.name.clone();
                self.bind(claim, volume, &node);
            }
            Choice::Make(class) => self.make(claim, class),
        }
    }
}

impl<'a> Obstacle<'a> {
    /// The same obstacle for a claim of the same pod.
    fn seen_from(&self, claim: ClaimKey<'a>, pod: &str) -> Obstacle<'a> {
        if claim == self.claim || self.reason == PendingReason::WaitForPodScheduled {
            let (message, rejected) = (self.message.clone(), self.rejected.clone());
            return Obstacle { claim, reason: self.reason, message, rejected };
        }
        let message =
            format!("waiting for pod {pod} to be scheduled: its claim {:?} waits: {}", self.claim.1, self.message);
        Obstacle { claim, reason: PendingReason::WaitForPodScheduled, message, rejected: Vec::new() }
    }
}
