//! The claims of one set: pure.
//!
//! Rules: StatefulSet rules 3.3 (what a claim looks like), 7 steps R2, R3 and D, 11 (retention). Deviations from
//! Kubernetes, each for the sake of data and with a switch of its own:
//! - A claim that was handed to a pod because of a scale-down is taken back as soon as its ordinal is in range again,
//!   also while the pod terminates (scenario S-132), after it is gone and before the claim is going (S-134), while the
//!   set drains or is being deleted, and where the policy has become Retain before the claim was collected
//!   (`withdraw_claim_references`).
//! - A claim that was made for another set is refused: names meet through dashes, as `a` + `b-c` and `a-b` + `c` do
//!   (`refuse_foreign_claims`).

use std::collections::BTreeMap;

use domain::volume::{
    ClaimCreation, ClaimOrdinal, ClaimTemplate, OwnerChange, OwnerReference, SET_ANNOTATION, SetClaim, SetClaimsPlan,
    SetClaimsRequest, VolumeEvent,
};
use domain::{Intent, ObjectRef, Phase, RetentionRule, SetRef, Wait, WaitReason, claim_name, pod_name};

/// Kind of a set, in owner references.
const SET_KIND: &str = "StatefulSet";

/// Plans the claims of one set.
#[must_use]
pub fn plan_set(request: &SetClaimsRequest) -> SetClaimsPlan {
    // Of a set that is being deleted Kubernetes looks at nothing any more (section 7, step 9).
    if request.intent == Intent::Delete && !request.switches.withdraw_claim_references {
        return SetClaimsPlan::default();
    }
    let claims = request.claims.iter().map(|claim| (claim.name.as_str(), claim)).collect();
    let mut planner = Planner { request, claims, plan: SetClaimsPlan::default() };
    for ordinal in &request.ordinals {
        match (&ordinal.pod, ordinal.in_range) {
            (None, _) => planner.new_pod(ordinal),
            (Some(_), true) => planner.member(ordinal),
            (Some(_), false) => planner.condemned(ordinal),
        }
    }
    planner.plan
}

struct Planner<'a> {
    request: &'a SetClaimsRequest,
    claims: BTreeMap<&'a str, &'a SetClaim>,
    plan: SetClaimsPlan,
}

/// What a claim's owner references should become.
#[derive(Debug, PartialEq, Eq)]
enum Owners {
    /// They are right, or none of our business.
    Keep,
    /// Another controller owns it, and we do not.
    Foreign,
    /// A set or pod of this name, but not this one, owns it; it is left alone.
    Stale,
    /// They become these.
    Change { owners: Vec<OwnerReference>, why: &'static str, conflict: bool },
}

impl<'a> Planner<'a> {
    /// An ordinal whose pod is to be created: its claims come first (step R2).
    fn new_pod(&mut self, ordinal: &ClaimOrdinal) {
        if self.request.intent != Intent::Keep || !ordinal.in_range {
            return;
        }
        if let Some(reason) = self.hindrance(ordinal) {
            match &reason {
                WaitReason::ClaimForeign { claim, .. } => self.failed(ordinal, claim, &reason.to_string()),
                // Of which Kubernetes says nothing (section 14).
                WaitReason::ClaimStale { claim } if self.request.switches.wait_for_claims => {
                    self.pod_failed(ordinal, &format!("pvc {claim} of an earlier pod is not collected yet"));
                }
                _ => {}
            }
            self.plan.waits.push(Wait { ordinal: Some(ordinal.ordinal), reason });
            return;
        }
        // What a pod that waits finds wrong with its claims is said when it is created, and then once.
        if self.create_missing(ordinal, true) {
            self.correct_owners(ordinal, true);
        }
    }

    /// An ordinal in range that has a pod (steps R3 and R7).
    fn member(&mut self, ordinal: &ClaimOrdinal) {
        let starting = ordinal.pod.as_ref().is_some_and(|pod| pod.phase == Phase::Pending);
        if starting && self.request.intent == Intent::Keep {
            self.create_missing(ordinal, false);
        }
        self.correct_owners(ordinal, false);
    }

    /// An ordinal out of range (step D): its claims are handed to its pod before the pod is deleted. Where they are to be
    /// kept after all they are taken back at once, whatever holds the scale-down up: that waits for nothing.
    fn condemned(&mut self, ordinal: &ClaimOrdinal) {
        let retained = self.request.retention.when_scaled == RetentionRule::Retain;
        let taken_back = retained && self.request.switches.withdraw_claim_references;
        let goes = self.request.scaling_down || self.request.abandoned == Some(ordinal.ordinal);
        if taken_back || (goes && self.request.intent != Intent::Delete) {
            self.correct_owners(ordinal, false);
        }
    }

    /// Why nothing at all may be done for an ordinal without a pod.
    fn hindrance(&self, ordinal: &ClaimOrdinal) -> Option<WaitReason> {
        let found: Vec<_> = self.existing(ordinal).collect();
        let foreign = found.iter().find_map(|claim| Some((claim, self.foreign_owner(claim)?)));
        if let Some((claim, owner)) = foreign.filter(|_| self.request.switches.refuse_foreign_claims) {
            return Some(WaitReason::ClaimForeign { claim: claim.name.clone(), owner });
        }
        let collected = self.request.retention.when_scaled == RetentionRule::Delete;
        let pod = self.pod_name(ordinal);
        // One that is not going yet is given back below.
        let given_back = |claim: &SetClaim| self.request.switches.withdraw_claim_references && !claim.deleting;
        let stale = |claim: &&&SetClaim| !given_back(claim) && claim.owners.iter().any(|owner| owner.is_pod(&pod));
        let claim = found.iter().find(stale).filter(|_| collected)?;
        Some(WaitReason::ClaimStale { claim: claim.name.clone() })
    }

    /// Creates the claims an ordinal lacks, in template order. One that is being deleted does not hold up the others, but
    /// the pod. Whether nothing does.
    fn create_missing(&mut self, ordinal: &ClaimOrdinal, creating_pod: bool) -> bool {
        let mut going = Vec::new();
        for template in templates(self.request) {
            let name = claim_name(&template.name, &self.request.set.name, ordinal.ordinal);
            match self.claims.get(name.as_str()) {
                Some(claim) if claim.deleting => {
                    going.push(name.clone());
                    let reason = WaitReason::ClaimTerminating { claim: name };
                    self.plan.waits.push(Wait { ordinal: Some(ordinal.ordinal), reason });
                }
                Some(_) => {}
                None => {
                    let creation = self.creation(ordinal, template, name);
                    self.plan.create.push(creation);
                }
            }
        }
        let errors: Vec<String> = going.iter().map(|claim| being_deleted(claim)).collect();
        let error = if let [one] = &*errors { one.clone() } else { format!("[{}]", errors.join(", ")) };
        match going.as_slice() {
            [] => {}
            _ if creating_pod => self.pod_failed(ordinal, &error),
            // Of which Kubernetes says nothing (section 14).
            claims if self.request.switches.wait_for_claims => {
                claims.iter().for_each(|claim| self.claim_failed(ordinal, claim, &being_deleted(claim)));
            }
            _ => {}
        }
        going.is_empty()
    }

    /// A claim as it is made (section 3.3), with the owner that it is to have (section 11.3).
    fn creation(&self, ordinal: &ClaimOrdinal, template: &ClaimTemplate, name: String) -> ClaimCreation {
        let mut labels = template.labels.clone();
        labels.extend(self.request.match_labels.clone());
        let mut annotations = template.annotations.clone();
        if self.request.switches.refuse_foreign_claims {
            annotations.insert(SET_ANNOTATION.to_owned(), self.request.set.name.clone());
        }
        let owners = self.wanted(ordinal).into_iter().collect();
        ClaimCreation { ordinal: ordinal.ordinal, name, template: template.name.clone(), labels, annotations, owners }
    }

    fn correct_owners(&mut self, ordinal: &ClaimOrdinal, creating_pod: bool) {
        let found: Vec<_> = self.existing(ordinal).collect();
        for claim in found {
            match self.owners(ordinal, claim) {
                Owners::Stale | Owners::Foreign if creating_pod && self.has_policy() => self.conflicting(claim),
                Owners::Keep | Owners::Stale | Owners::Foreign => {}
                Owners::Change { owners, why, conflict } => {
                    if conflict {
                        self.conflicting(claim);
                    }
                    self.plan.owners.push(OwnerChange {
                        ordinal: ordinal.ordinal,
                        claim: claim.name.clone(),
                        uid: claim.uid.clone(),
                        version: claim.version,
                        owners,
                        why: why.to_owned(),
                    });
                }
            }
        }
    }

    /// The special cases in their order, then the table (StatefulSet rules 11.1, 11.2).
    fn owners(&self, ordinal: &ClaimOrdinal, claim: &SetClaim) -> Owners {
        let set = &self.request.set;
        let pod_name = self.pod_name(ordinal);
        let pod_uid = ordinal.pod.as_ref().map(|pod| &pod.uid);
        let stale_set = claim.owners.iter().any(|owner| owner.is_set(&set.name) && owner.uid != set.uid);
        let earlier_pod =
            |owner: &OwnerReference| owner.is_pod(&pod_name) && pod_uid.is_none_or(|uid| *uid != owner.uid);
        // In range, an earlier pod's reference is a scale-down that was withdrawn: data goes before form.
        let withdrawn = ordinal.in_range && self.request.switches.withdraw_claim_references;
        if stale_set || (!withdrawn && claim.owners.iter().any(earlier_pod)) {
            return Owners::Stale;
        }
        let ours = |owner: &&OwnerReference| owner.uid == set.uid || owner.is_pod(&pod_name);
        let others: Vec<_> = claim.owners.iter().filter(|owner| !ours(owner)).cloned().collect();
        let conflict = self.has_policy() && others.iter().any(|owner| owner.controller);
        let wanted = if conflict { None } else { self.wanted(ordinal) };
        let has = |one: &OwnerReference| claim.owners.iter().any(|owner| owner == one);
        let ours_now = claim.owners.iter().filter(ours).count();
        let right = match &wanted {
            None => ours_now == 0,
            Some(one) => ours_now == 1 && has(one),
        };
        if right {
            return if conflict { Owners::Foreign } else { Owners::Keep };
        }
        let why = match &wanted {
            _ if conflict => "another controller owns it",
            None => "the retention policy keeps it",
            Some(one) if one.kind == SET_KIND => "the retention policy deletes it with the set",
            Some(_) => "the retention policy deletes it after this scale-down",
        };
        let owners = others.into_iter().chain(wanted).collect();
        Owners::Change { owners, why, conflict }
    }

    /// The owner the table gives the claims of an ordinal.
    fn wanted(&self, ordinal: &ClaimOrdinal) -> Option<OwnerReference> {
        let SetRef { name, uid, .. } = &self.request.set;
        let retention = self.request.retention;
        let own = |api_version: &str, kind: &str, name: String, uid: domain::Uid| {
            let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
            OwnerReference { api_version, kind, name, uid, controller: true, block_owner_deletion: true }
        };
        match (&ordinal.pod, ordinal.in_range, retention.when_scaled) {
            (Some(pod), false, RetentionRule::Delete) => {
                Some(own("v1", "Pod", self.pod_name(ordinal), pod.uid.clone()))
            }
            _ if retention.when_deleted == RetentionRule::Delete => {
                Some(own("apps/v1", SET_KIND, name.clone(), uid.clone()))
            }
            _ => None,
        }
    }

    /// Who has a claim that was made for somebody else.
    fn foreign_owner(&self, claim: &SetClaim) -> Option<String> {
        let set = &self.request.set.name;
        let other_set = claim.owners.iter().find(|owner| owner.kind == SET_KIND && owner.name != *set);
        if let Some(owner) = other_set {
            return Some(format!("StatefulSet {}", owner.name));
        }
        if !claim.made_for.is_empty() {
            return (claim.made_for != *set).then(|| format!("StatefulSet {}", claim.made_for));
        }
        // Made by an older version or by hand: labels that contradict the selector were put there for another set.
        let (key, value) = self.request.match_labels.iter().find_map(|(key, ours)| {
            let found = claim.labels.get(key).filter(|found| *found != ours)?;
            Some((key, found))
        })?;
        Some(format!("a set with the label {key}={value}"))
    }

    fn has_policy(&self) -> bool {
        let retention = self.request.retention;
        [retention.when_deleted, retention.when_scaled].contains(&RetentionRule::Delete)
    }

    fn pod_name(&self, ordinal: &ClaimOrdinal) -> String {
        pod_name(&self.request.set.name, ordinal.ordinal)
    }

    /// The claims of an ordinal that exist, in template order.
    fn existing(&self, ordinal: &ClaimOrdinal) -> impl Iterator<Item = &'a SetClaim> {
        templates(self.request).filter_map(move |template| {
            let name = claim_name(&template.name, &self.request.set.name, ordinal.ordinal);
            self.claims.get(name.as_str()).copied()
        })
    }

    fn failed(&mut self, ordinal: &ClaimOrdinal, claim: &str, error: &str) {
        self.claim_failed(ordinal, claim, error);
        self.pod_failed(ordinal, error);
    }

    fn claim_failed(&mut self, ordinal: &ClaimOrdinal, claim: &str, error: &str) {
        let (pod, set) = (self.pod_name(ordinal), &self.request.set.name);
        let message = format!("Create Claim {claim} for Pod {pod} in StatefulSet {set} failed error: {error}");
        self.event("FailedCreate", message);
    }

    fn pod_failed(&mut self, ordinal: &ClaimOrdinal, error: &str) {
        let (pod, set) = (self.pod_name(ordinal), &self.request.set.name);
        self.event("FailedCreate", format!("Create Pod {pod} in StatefulSet {set} failed error: {error}"));
    }

    fn conflicting(&mut self, claim: &SetClaim) {
        let message = format!(
            "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging controller, the \
             retention policy is ignored for this claim",
            claim.name
        );
        self.event("ConflictingController", message);
    }

    fn event(&mut self, reason: &str, message: String) {
        let SetRef { namespace, name, uid } = self.request.set.clone();
        let object = ObjectRef { kind: SET_KIND.to_owned(), namespace, name, uid };
        self.plan.events.push(VolumeEvent { object, warning: true, reason: reason.to_owned(), message });
    }
}

fn being_deleted(claim: &str) -> String {
    format!("pvc {claim} is being deleted")
}

/// The claim templates of a set, in their order. Of several with one name the last counts.
fn templates(request: &SetClaimsRequest) -> impl Iterator<Item = &ClaimTemplate> {
    let all = &request.templates;
    let last = |place: usize, name: &str| all[place + 1..].iter().all(|later| later.name != name);
    all.iter().enumerate().filter(move |(place, template)| last(*place, &template.name)).map(|(_, template)| template)
}

/// What an owner is.
trait Owner {
    fn is_set(&self, name: &str) -> bool;
    fn is_pod(&self, name: &str) -> bool;
}

impl Owner for OwnerReference {
    fn is_set(&self, name: &str) -> bool {
        self.kind == SET_KIND && self.name == name
    }

    fn is_pod(&self, name: &str) -> bool {
        self.kind == "Pod" && self.name == name
    }
}

#[cfg(test)]
mod tests;
