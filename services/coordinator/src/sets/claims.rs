//! The claims of a set, as volume-claim plans them (StatefulSet rules, sections 3.3 and 11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::manifest::Kind;
use api::proto::volume_claim::v1::PlanSetRequest;
use api::proto::volume_claim::v1::volume_claim_service_client::VolumeClaimServiceClient;
use domain::volume::{
    ClaimCreation, ClaimOrdinal, ClaimTemplate, OwnerReference, SetClaim, SetClaimsPlan, SetClaimsRequest,
};
use domain::{Intent, Ordinal, OrdinalPlan, Phase, Pod, PodManagementPolicy, Snapshot, Wait, WaitReason};
use serde_json::{Map, Value, json};

use super::identity;
use super::planners::{PlannerError, Planners};
use super::scene::Scene;
use super::templates::{claim_names_of, claim_ordinal, claim_templates};
use crate::apply::finalizers;
use crate::events::Event;
use crate::objects::{object_mut, texts, time_text};
use crate::volumes::read;
use crate::world::{Key, Object, World};

const SERVICE: &str = "volume-claim";

/// Reason of events about a pod or claim that cannot be created.
const FAILED_CREATE: &str = "FailedCreate";

/// What is to become of a set's claims, with the objects it is about.
#[derive(Debug, Default)]
pub(super) struct ClaimPlan {
    /// Key, object and reason of each claim to create.
    pub(super) create: Vec<(Key, Value, String)>,
    /// Claims that change hands: of which ordinal, and all their owners from now on.
    pub(super) owners: Vec<(Ordinal, Arc<Object>, Value)>,
    /// Ordinals whose pod must not be created now, and why.
    pub(super) waits: Vec<Wait>,
    /// What to tell people.
    pub(super) events: Vec<Event>,
}

impl ClaimPlan {
    /// Whether the pod of an ordinal must not be created now.
    pub(super) fn blocks(&self, ordinal: Ordinal) -> bool {
        self.waits.iter().any(|wait| wait.ordinal == Some(ordinal))
    }

    /// Leaves out what was said when the set began to wait for the same claims.
    pub(super) fn only_news(&mut self, waited_for: &[Wait]) {
        if self.waits.iter().all(|wait| waited_for.contains(wait)) {
            self.events.retain(|event| event.reason != FAILED_CREATE);
        }
    }

    /// Leaves the owners of an ordinal's claims as they are, also of those that are made.
    pub(super) fn disown(&mut self, set: &Value, ordinal: Ordinal) {
        self.owners.retain(|(of, ..)| *of != ordinal);
        let made = self.create.iter_mut().filter(|(key, ..)| claim_ordinal(set, &key.name) == Some(ordinal));
        for (_, claim, _) in made {
            object_mut(claim, "metadata").remove("ownerReferences");
        }
    }

    /// At what a pass fails where no claim wakes a set (switch `wait_for_claims`), so that it is repeated: claims that are
    /// being deleted. For one that waits to be collected Kubernetes does not even do that.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Ordinal, WaitReason, String)> {
        self.waits.iter().filter_map(|wait| match &wait.reason {
            WaitReason::ClaimTerminating { claim } => {
                Some((wait.ordinal?, wait.reason.clone(), format!("pvc {claim} is being deleted")))
            }
            _ => None,
        })
    }
}

impl Planners {
    /// Claims to create and to change hands, and ordinals that must wait for theirs. A pass that fails comes only to the
    /// ordinals in range up to `last`.
    pub(super) async fn claims(
        &self,
        world: &World,
        scene: &Scene,
        order: &OrdinalPlan,
        last: Option<Ordinal>,
    ) -> Result<ClaimPlan, PlannerError> {
        if claim_templates(&scene.set.value).next().is_none() {
            return Ok(ClaimPlan::default());
        }
        let (request, stored) = question(world, scene, order, last);
        let mut client = service_kit::sized_client!(VolumeClaimServiceClient::new(self.volume_claim.clone()));
        let answer = client.plan_set(PlanSetRequest::from(request)).await.map_err(PlannerError::call(SERVICE))?;
        let plan = SetClaimsPlan::try_from(answer.into_inner()).map_err(PlannerError::answer(SERVICE))?;
        assemble(scene, plan, &stored)
    }
}

type Stored = BTreeMap<String, Arc<Object>>;

fn question(world: &World, scene: &Scene, order: &OrdinalPlan, last: Option<Ordinal>) -> (SetClaimsRequest, Stored) {
    let snapshot = &scene.snapshot;
    let stop = walk_stop(snapshot);
    let handled = snapshot.pods.iter().filter(|pod| is_handled(snapshot, stop, pod));
    let without: BTreeSet<Ordinal> = identity::without_their_claims(scene).collect();
    let existing = handled.map(|pod| {
        let known = ClaimOrdinal::of(&snapshot.spec, pod);
        // To be put right such a pod needs what one that is created does.
        if without.contains(&pod.ordinal) { ClaimOrdinal { pod: None, ..known } } else { known }
    });
    let coming = order.create.iter().map(ClaimOrdinal::to_create);
    let reached = |one: &ClaimOrdinal| last.is_none_or(|last| one.in_range && one.ordinal <= last);
    let mut ordinals: Vec<_> = existing.chain(coming).filter(reached).collect();
    ordinals.sort_by_key(|ordinal| ordinal.ordinal);
    let set = &scene.set;
    let stored: Stored = world.view(|view| {
        let names = ordinals.iter().flat_map(|ordinal| claim_names_of(&set.value, ordinal.ordinal));
        let names: BTreeSet<String> = names.collect();
        let find = |name: String| view.get(&Key::new(Kind::PersistentVolumeClaim, &set.key.namespace, &name));
        names.into_iter().filter_map(find).map(|claim| (claim.key.name.clone(), claim)).collect()
    });
    let request = SetClaimsRequest {
        set: snapshot.set.clone(),
        intent: snapshot.intent,
        retention: snapshot.spec.retention,
        match_labels: texts(set.value.pointer("/spec/selector/matchLabels")),
        templates: claim_templates(&set.value).map(template).collect(),
        ordinals,
        scaling_down: scaling_down(snapshot),
        claims: stored.values().map(|claim| set_claim(claim)).collect(),
        switches: snapshot.switches,
    };
    (request, stored)
}

/// Where Kubernetes' ordered walk through the range stops, none where it comes to every pod: it does not pass the first
/// pod that is not healthy (StatefulSet rules, section 7, steps R3 to R7, switch `visit_every_member`). So a scale-down
/// that was withdrawn costs a claim.
pub(super) fn walk_stop(snapshot: &Snapshot) -> Option<Ordinal> {
    let walks = snapshot.spec.policy == PodManagementPolicy::OrderedReady && snapshot.intent == Intent::Keep;
    if snapshot.switches.visit_every_member || !walks {
        return None;
    }
    snapshot.first_unhealthy().map(|(ordinal, _)| ordinal)
}

/// Whether the claims of this pod are looked at. Those of the pod at which a walk stops are only while it is pending; and
/// no walk comes to those of a pod that has ended (step R1).
fn is_handled(snapshot: &Snapshot, stop: Option<Ordinal>, pod: &Pod) -> bool {
    let before = |stop| pod.ordinal < stop || (pod.ordinal == stop && pod.phase == Phase::Pending);
    let ended = pod.phase.terminal() && !snapshot.switches.visit_every_member;
    !snapshot.spec.contains(pod.ordinal) || (stop.is_none_or(before) && !ended)
}

/// Whether pods out of range may be deleted now: always under Parallel, else once every pod in range is healthy.
fn scaling_down(snapshot: &Snapshot) -> bool {
    let healthy = snapshot.members().filter(|pod| snapshot.healthy(pod)).count();
    snapshot.spec.policy == PodManagementPolicy::Parallel || healthy == snapshot.spec.size() as usize
}

fn template(template: &Value) -> ClaimTemplate {
    ClaimTemplate {
        name: template.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        labels: texts(template.pointer("/metadata/labels")),
        annotations: texts(template.pointer("/metadata/annotations")),
    }
}

fn set_claim(claim: &Object) -> SetClaim {
    SetClaim {
        name: claim.key.name.clone(),
        uid: claim.uid(),
        version: claim.version.0,
        deleting: claim.deleting(),
        labels: texts(claim.value.pointer("/metadata/labels")),
        made_for: texts(claim.value.pointer("/metadata/annotations"))
            .remove(domain::volume::SET_ANNOTATION)
            .unwrap_or_default(),
        owners: read::owners(&claim.value),
    }
}

fn assemble(scene: &Scene, plan: SetClaimsPlan, stored: &Stored) -> Result<ClaimPlan, PlannerError> {
    let mut assembled = ClaimPlan { waits: plan.waits, ..ClaimPlan::default() };
    for creation in plan.create {
        let spec = claim_templates(&scene.set.value)
            .filter(|template| template.pointer("/metadata/name").is_some_and(|name| *name == creation.template))
            .last()
            .and_then(|template| template.get("spec"));
        let unknown = || PlannerError::answer(SERVICE)(format!("no claim template {:?}", creation.template));
        let spec = spec.cloned().ok_or_else(unknown)?;
        let key = Key::new(Kind::PersistentVolumeClaim, &scene.set.key.namespace, &creation.name);
        let why = format!("ordinal {} has no claim of template {}", creation.ordinal, creation.template);
        let object = claim(&key, &creation, spec, scene);
        assembled.create.push((key, object, why));
    }
    for change in plan.owners {
        let claim = stored.get(&change.claim).filter(|claim| claim.uid() == change.uid);
        let unknown = || PlannerError::answer(SERVICE)(format!("it was not shown claim {:?}", change.claim));
        let owners: Vec<Value> = change.owners.iter().map(owner).collect();
        assembled.owners.push((change.ordinal, claim.cloned().ok_or_else(unknown)?, Value::Array(owners)));
    }
    let events = plan.events.into_iter().map(|event| Event {
        warning: event.warning,
        reason: event.reason,
        message: event.message,
    });
    assembled.events = events.collect();
    Ok(assembled)
}

fn claim(key: &Key, creation: &ClaimCreation, spec: Value, scene: &Scene) -> Value {
    let texts = |map: &BTreeMap<String, String>| -> Map<String, Value> {
        map.iter().map(|(name, text)| (name.clone(), text.as_str().into())).collect()
    };
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": service_kit::random::uid(),
            "creationTimestamp": time_text(scene.snapshot.now),
            "labels": texts(&creation.labels),
        },
        "spec": spec,
        "status": { "phase": "Pending" },
    });
    if !creation.annotations.is_empty() {
        object["metadata"]["annotations"] = Value::Object(texts(&creation.annotations));
    }
    if !creation.owners.is_empty() {
        object["metadata"]["ownerReferences"] = creation.owners.iter().map(owner).collect();
    }
    finalizers(Kind::PersistentVolumeClaim, &mut object);
    object
}

fn owner(reference: &OwnerReference) -> Value {
    read::owner_json(reference)
}
