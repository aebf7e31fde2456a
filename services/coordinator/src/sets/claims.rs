//! The claims of a set, as volume-claim plans them (StatefulSet rules, sections 3.3 and 11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::manifest::Kind;
use api::proto::volume_claim::v1::PlanSetRequest;
use api::proto::volume_claim::v1::volume_claim_service_client::VolumeClaimServiceClient;
use domain::volume::{
    ClaimCreation, ClaimOrdinal, ClaimTemplate, OwnerReference, SetClaim, SetClaimsPlan, SetClaimsRequest,
};
use domain::{Intent, Ordinal, OrdinalPlan, Phase, Pod, PodManagementPolicy, PodRun, Snapshot, Wait, WaitReason};
use serde_json::{Map, Value, json};

use super::Sets;
use super::identity;
use super::planners::PlannerError;
use super::scene::Scene;
use super::settled::{About, PodAt, Settled};
use super::templates::{claim_names_of, claim_ordinal, claim_templates};
use crate::apply::finalizers;
use crate::events::Event;
use crate::objects::{object_mut, texts, time_text};
use crate::store::StoreRevision;
use crate::volumes::read;
use crate::world::{Key, Object, View};

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

impl Sets {
    /// Claims to create and to change hands, and ordinals that must wait for theirs. A pass that fails comes only to the
    /// ordinals in range up to `last`.
    pub(super) async fn claims(
        &self,
        scene: &Scene,
        order: &OrdinalPlan,
        last: Option<Ordinal>,
    ) -> Result<ClaimPlan, PlannerError> {
        if claim_templates(&scene.set.value).next().is_none() {
            return Ok(ClaimPlan::default());
        }
        let ClaimsQuestion { about, request, stored, settled, at } = self.world.view(|view| {
            let question = ClaimsQuestion::new(view, scene, &self.settled);
            question.asking(view, scene, order, last)
        });
        let (set, condemned) = (request.set.uid.clone(), (request.scaling_down, request.abandoned));
        let asked = settled_by(&request, &scene.snapshot);
        let plan = if request.ordinals.is_empty() {
            SetClaimsPlan::default()
        } else {
            let channel = self.planners.volume_claim.clone();
            let mut client = service_kit::sized_client!(VolumeClaimServiceClient::new(channel));
            let answer = client.plan_set(PlanSetRequest::from(request)).await.map_err(PlannerError::call(SERVICE))?;
            SetClaimsPlan::try_from(answer.into_inner()).map_err(PlannerError::answer(SERVICE))?
        };
        let busy = said_of(&plan);
        let mut ordinals: Vec<PodAt> = asked.into_iter().filter(|(ordinal, _)| !busy.contains(ordinal)).collect();
        ordinals.extend(settled);
        ordinals.sort();
        let assembled = assemble(scene, plan, &stored)?;
        self.settled.note(&set, at, about, condemned, ordinals);
        Ok(assembled)
    }
}

type Stored = BTreeMap<String, Arc<Object>>;

/// What volume-claim is asked, and about which ordinals it need not be.
struct ClaimsQuestion {
    about: About,
    request: SetClaimsRequest,
    /// The claims that it is told of, by name.
    stored: Stored,
    /// Ordinals that it is not asked about.
    settled: Vec<PodAt>,
    /// Where the claims were looked at.
    at: StoreRevision,
}

impl ClaimsQuestion {
    /// About a set, naming no ordinal yet.
    fn new(view: &View<'_>, scene: &Scene, settled: &Settled) -> Self {
        let (set, snapshot) = (&scene.set.value, &scene.snapshot);
        let request = SetClaimsRequest {
            set: snapshot.set.clone(),
            intent: snapshot.intent,
            retention: snapshot.spec.retention,
            match_labels: texts(set.pointer("/spec/selector/matchLabels")),
            templates: claim_templates(set).map(template).collect(),
            ordinals: Vec::new(),
            scaling_down: scaling_down(&scene.told),
            abandoned: scene.told.abandoned(),
            claims: Vec::new(),
            switches: snapshot.switches,
        };
        let about = About::new(&request, &snapshot.spec);
        let settled = settled.take(view, scene, &about, (request.scaling_down, request.abandoned));
        Self { about, request, stored: Stored::new(), settled, at: view.revision() }
    }

    /// With the ordinals that are to be asked about, and their claims.
    fn asking(mut self, view: &View<'_>, scene: &Scene, order: &OrdinalPlan, last: Option<Ordinal>) -> Self {
        let snapshot = &scene.snapshot;
        let stop = walk_stop(snapshot);
        let without: BTreeSet<Ordinal> = identity::without_their_claims(scene).collect();
        // Both ascend by ordinal.
        let mut candidates = std::mem::take(&mut self.settled).into_iter().peekable();
        let mut is_settled = |pod: &Pod| {
            while candidates.next_if(|(ordinal, _)| *ordinal < pod.ordinal).is_some() {}
            candidates.next_if_eq(&(pod.ordinal, pod.version)).is_some()
        };
        let (settled, others): (Vec<&PodRun>, Vec<_>) = snapshot.pods.iter().partition(|pod| is_settled(pod));
        self.settled = settled.into_iter().map(|pod| (pod.ordinal, pod.version)).collect();
        let handled = others.into_iter().filter(|pod| is_handled(snapshot, stop, pod));
        let existing = handled.map(|pod| {
            let known = ClaimOrdinal::of(&snapshot.spec, pod);
            // To be put right such a pod needs what one that is created does.
            if without.contains(&pod.ordinal) { ClaimOrdinal { pod: None, ..known } } else { known }
        });
        let coming = order.create.iter().map(ClaimOrdinal::to_create);
        let reached = |one: &ClaimOrdinal| last.is_none_or(|last| one.in_range && one.ordinal <= last);
        self.request.ordinals = existing.chain(coming).filter(reached).collect();
        self.request.ordinals.sort_by_key(|ordinal| ordinal.ordinal);
        let set = &scene.set;
        let names = self.request.ordinals.iter().flat_map(|ordinal| claim_names_of(&set.value, ordinal.ordinal));
        let names: BTreeSet<String> = names.collect();
        let find = |name: String| view.get(&Key::new(Kind::PersistentVolumeClaim, &set.key.namespace, &name));
        self.stored = names.into_iter().filter_map(find).map(|claim| (claim.key.name.clone(), claim)).collect();
        self.request.claims = self.stored.values().map(|claim| set_claim(claim)).collect();
        self
    }
}

/// The ordinals of a question that are settled if the answer says nothing of them: those that have a pod.
fn settled_by(request: &SetClaimsRequest, snapshot: &Snapshot) -> Vec<PodAt> {
    let with_pod = request.ordinals.iter().filter(|one| one.pod.is_some());
    // A pod that is seen ahead has no version yet, to be known by.
    let known = with_pod.filter_map(|one| Some((one.ordinal, snapshot.pod(one.ordinal)?.version)));
    known.filter(|(_, version)| *version != StoreRevision::default().0).collect()
}

/// The ordinals that a plan says anything of.
fn said_of(plan: &SetClaimsPlan) -> BTreeSet<Ordinal> {
    let created = plan.create.iter().map(|creation| creation.ordinal);
    let changed = plan.owners.iter().map(|change| change.ordinal);
    let waiting = plan.waits.iter().filter_map(|wait| wait.ordinal);
    created.chain(changed).chain(waiting).collect()
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
    snapshot.spec.policy == PodManagementPolicy::Parallel || snapshot.first_unhealthy().is_none()
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
