//! From a decision to transactions. Nothing is chosen here: the decision says all of it.

use std::collections::BTreeSet;

use api::manifest::{self, Kind};
use domain::{
    Guard, Ordinal, Phase, PodCreation, PodDeletion, PodIdentity, Revision, RevisionChange, RevisionName, SetStatus,
    Step, Timestamp, pod_name,
};
use serde_json::{Value, json};

use super::scene::Scene;
use super::{Decision, identity, status, templates};
use crate::events::{self, Event};
use crate::objects::{object_mut, time_text};
use crate::pods::placement::{self, Unplaceable};
use crate::pods::{build, lifecycle};
use crate::rollouts;
use crate::volumes::read::single_user;
use crate::world::{Key, Transaction, World, controller_reference};

/// Writes of one transaction. A larger plan is committed in pieces, each resting on the set being unchanged; this keeps
/// one commit well below the store's bound, and its fsync short.
const WRITES_MAX: usize = 512;

/// Bytes of one transaction, roughly: half of what the store takes at once, so that a large template does not make a
/// plan that can never be committed.
const BYTES_MAX: usize = crate::store::BATCH_BYTES_MAX / 2;

/// Who says so, in events.
pub(super) const COMPONENT: &str = "statefulset-controller";

/// What to commit, in order, and what it amounts to.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) transactions: Vec<Transaction>,
    pub(super) steps: Vec<Step>,
    /// Whether what it leaves behind is to be looked at anew at once: a pod is gone, the template is another, or a revision
    /// is no longer in use.
    pub(super) goes_on: bool,
}

struct Writer<'a> {
    world: &'a World,
    scene: &'a Scene,
    now: Timestamp,
    done: Vec<Transaction>,
    open: Transaction,
    steps: Vec<Step>,
    /// Pods whose deletion is written: both planners may ask for one.
    deleted: BTreeSet<Ordinal>,
    /// Members whose claims change hands: in the words of Kubernetes their pod is updated.
    updated: BTreeSet<Ordinal>,
    /// Names of the claims that are created.
    claims_made: BTreeSet<&'a str>,
    goes_on: bool,
}

/// Builds the transactions of a decision. The last one holds the status and may be empty otherwise.
pub(super) fn transactions<'a>(
    world: &'a World,
    scene: &'a Scene,
    decision: &'a Decision,
    now: Timestamp,
) -> Result<Execution, String> {
    let mut writer = Writer {
        world,
        scene,
        now,
        done: Vec::new(),
        open: Transaction::default(),
        steps: Vec::new(),
        deleted: BTreeSet::new(),
        updated: BTreeSet::new(),
        claims_made: decision.claims.create.iter().map(|(key, ..)| &*key.name).collect(),
        goes_on: decision.update.revert.is_some(),
    };
    for change in &decision.update.revisions {
        writer.change_revision(change)?;
    }
    for event in &decision.claims.events {
        writer.event(event);
        writer.breathe();
    }
    for (ordinal, claim, owners) in &decision.claims.owners {
        writer.own(*ordinal, claim, owners);
    }
    for (key, claim, why) in &decision.claims.create {
        writer.create_claim(key, claim, why);
    }
    for (creation, identity) in decision.order.create.iter().zip(&decision.identities) {
        writer.create_pod(decision, creation, identity)?;
    }
    for event in decision.refusals.iter().filter_map(|refusal| refusal.event.as_ref()) {
        writer.event(event);
        writer.breathe();
    }
    writer.serve_early(decision.order.cold_start);
    for deletion in decision.order.delete.iter().chain(&decision.update.replace) {
        writer.delete_pod(deletion)?;
    }
    writer.repair_identities(decision);
    writer.finish(decision)
}

impl Writer<'_> {
    fn step(&mut self, action: &str, object: &str, why: impl Into<String>) {
        self.steps.push(Step { action: action.to_owned(), object: object.to_owned(), why: why.into() });
    }

    fn event(&mut self, event: &Event) {
        let about = (&self.scene.set.key, self.scene.set.uid().0);
        events::record(&mut self.open, self.world, (about.0, &about.1), COMPONENT, event, self.now);
    }

    /// Closes the open transaction if it is large. Status goes last, so the set itself is only ever guarded here.
    fn breathe(&mut self) {
        if self.open.len() >= WRITES_MAX || self.open.bytes() >= BYTES_MAX {
            self.open.unchanged(&self.scene.set);
            self.done.push(std::mem::take(&mut self.open));
        }
    }

    fn change_revision(&mut self, change: &RevisionChange) -> Result<(), String> {
        let stored = |name: &str| {
            let found = self.scene.revisions.iter().find(|revision| revision.key.name == name).cloned();
            found.ok_or_else(|| format!("the update planner names a revision that is not stored: {name}"))
        };
        match change {
            RevisionChange::Create(revision) => {
                let key = Key::new(Kind::ControllerRevision, &self.scene.set.key.namespace, &revision.name.0);
                let object = self.revision_object(&key, revision)?;
                self.open.create(key, object);
                self.step("create ControllerRevision", &revision.name.0, "the template is new");
            }
            RevisionChange::Renumber { name, number } => {
                let old = stored(&name.0)?;
                let mut value = old.value.clone();
                value["revision"] = (*number).into();
                self.open.update(&old, value);
                self.step("renumber ControllerRevision", &name.0, "an earlier template is the present one again");
            }
            RevisionChange::Prune { name } => {
                let old = stored(&name.0)?;
                self.open.delete(&old);
                self.step("delete ControllerRevision", &name.0, "no pod uses it and the history limit is exceeded");
            }
        }
        Ok(())
    }

    fn revision_object(&self, key: &Key, revision: &Revision) -> Result<Value, String> {
        let data: Value = serde_json::from_str(&revision.data).map_err(|error| error.to_string())?;
        let set = &self.scene.set;
        let labels = data.pointer("/spec/template/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        let hash = revision.name.0.rsplit_once('-').map(|(_, hash)| hash).unwrap_or_default();
        let mut object = json!({
            "apiVersion": Kind::ControllerRevision.api_version(),
            "kind": "ControllerRevision",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "uid": service_kit::random::uid(),
                "creationTimestamp": time_text(self.now),
                "labels": labels,
                "ownerReferences": [controller_reference(set)],
            },
            "data": data,
            "revision": revision.number,
        });
        let metadata = object_mut(&mut object, "metadata");
        metadata["labels"]["controller.kubernetes.io/hash"] = hash.into();
        if let Some(annotations) = set.value.pointer("/metadata/annotations") {
            metadata.insert("annotations".into(), annotations.clone());
        }
        Ok(object)
    }

    fn own(&mut self, ordinal: Ordinal, claim: &crate::world::Object, owners: &Value) {
        let member = self.scene.snapshot.pod(ordinal).filter(|pod| self.scene.snapshot.spec.contains(pod.ordinal));
        if member.is_some_and(|pod| pod.phase != Phase::Pending) {
            self.updated.insert(ordinal);
        }
        let mut value = claim.value.clone();
        object_mut(&mut value, "metadata").insert("ownerReferences".into(), owners.clone());
        self.open.update(claim, value);
        self.step("change owners of PersistentVolumeClaim", &claim.key.name, "the retention policy says so");
        self.breathe();
    }

    fn create_claim(&mut self, key: &Key, claim: &Value, why: &str) {
        self.open.create(key.clone(), claim.clone());
        let set = &self.scene.set.key.name;
        let message = match templates::claim_ordinal(&self.scene.set.value, &key.name) {
            Some(ordinal) => {
                format!("Create Claim {} Pod {} in StatefulSet {set} success", key.name, pod_name(set, ordinal))
            }
            None => format!("Create Claim {} in StatefulSet {set} success", key.name),
        };
        self.event(&Event::normal("SuccessfulCreate", message));
        self.step("create PersistentVolumeClaim", &key.name, why);
        self.breathe();
    }

    fn create_pod(
        &mut self,
        decision: &Decision,
        creation: &PodCreation,
        identity: &PodIdentity,
    ) -> Result<(), String> {
        let template = self.template(decision, &creation.revision.0)?;
        let pod = build::pod(&self.scene.set, &template, identity, self.now);
        let mut pod = self.placed_already(pod);
        rollouts::mark(&mut pod, &self.scene.set, &identity.name);
        let key = Key::new(Kind::Pod, &self.scene.set.key.namespace, &identity.name);
        self.guard(creation.ordinal, creation.guard);
        let recalled = decision.update.recall.contains(&creation.ordinal);
        if recalled {
            self.open.absent(key);
        } else {
            self.open.create(key, pod);
        }
        let set = &self.scene.set.key.name;
        let message = format!("Create Pod {} in StatefulSet {set} successful", identity.name);
        self.event(&Event::normal("SuccessfulCreate", message));
        self.step("create Pod", &identity.name, format!("ordinal {} is missing", creation.ordinal));
        if recalled {
            self.recall(&identity.name, &creation.revision);
        }
        self.breathe();
        Ok(())
    }

    /// Says of a pod that it was deleted in the pass that created it. No machine has it yet, so nothing of it stays.
    fn recall(&mut self, name: &str, revision: &RevisionName) {
        let set = &self.scene.set.key.name;
        self.event(&Event::normal("SuccessfulDelete", format!("Delete Pod {name} in StatefulSet {set} successful")));
        self.step("delete Pod", name, format!("it was created at the outdated revision {revision}"));
        self.goes_on = true;
    }

    /// A pod whose claims are bound needs no second look to get its machine. One that has to wait says why from the
    /// beginning: of a claim that is made with it what will be found once both are stored.
    fn placed_already(&mut self, pod: Value) -> Value {
        let namespace = &self.scene.set.key.namespace;
        match self.world.view(|view| placement::place(view, &pod, namespace)) {
            // A claim for one pod only is given away in one place, which sees every pod that wants it.
            Ok((_, claims)) if claims.iter().any(|claim| single_user(claim)) => pod,
            Ok((node, claims)) => {
                claims.iter().for_each(|claim| self.open.unchanged(claim));
                placement::placed(&pod, &node, self.now)
            }
            Err(Unplaceable::ClaimMissing(claim)) if self.claims_made.contains(&*claim) => {
                let why = Unplaceable::ClaimUnbound { claim, why: String::new() };
                placement::unplaceable(&pod, &why, self.now)
            }
            Err(why) => placement::unplaceable(&pod, &why, self.now),
        }
    }

    fn template(&self, decision: &Decision, revision: &str) -> Result<Value, String> {
        let all = self.scene.revisions.iter().chain(&self.scene.foreign_revisions);
        let stored = all.into_iter().find(|stored| stored.key.name == revision);
        if let Some(template) = stored.and_then(|stored| templates::of_revision(stored.value.get("data")?)) {
            return Ok(template);
        }
        let fresh = decision.update.revisions.iter().find_map(|change| match change {
            RevisionChange::Create(fresh) if *fresh.name.0 == *revision => {
                manifest::template_from_revision(&fresh.data)
            }
            _ => None,
        });
        fresh.ok_or_else(|| format!("the update planner names a revision that does not exist: {revision}"))
    }

    fn delete_pod(&mut self, deletion: &PodDeletion) -> Result<(), String> {
        let pod = self.scene.pod(deletion.ordinal).filter(|pod| pod.uid() == deletion.uid);
        let Some(pod) = pod.cloned() else {
            return Err(format!("a planner deletes a pod that it was not shown: ordinal {}", deletion.ordinal));
        };
        self.guard(deletion.ordinal, deletion.guard);
        if self.deleted.insert(deletion.ordinal) {
            self.stop(&pod);
        } else if self.scene.snapshot.switches.delete_once {
            return Ok(());
        }
        let set = &self.scene.set.key.name;
        let message = format!("Delete Pod {} in StatefulSet {set} successful", pod.key.name);
        self.event(&Event::normal("SuccessfulDelete", message));
        self.step("delete Pod", &pod.key.name, deletion.why.clone());
        self.breathe();
        Ok(())
    }

    fn stop(&mut self, pod: &crate::world::Object) {
        lifecycle::delete(&mut self.open, pod, None, self.now);
        self.goes_on |= self.open.pending(&pod.key).is_none();
        if let Some(mut stopping) = self.open.pending(&pod.key).cloned()
            && rollouts::mark(&mut stopping, &self.scene.set, &pod.key.name)
        {
            self.open.update(pod, stopping);
        }
    }

    /// Makes the transaction rest on the pods that the decision rests on.
    fn guard(&mut self, ordinal: Ordinal, guard: Guard) {
        let below = match guard {
            Guard::Pod => return,
            Guard::Predecessors => ordinal,
            Guard::AllPods => Ordinal(Ordinal::MAX.0 + 1),
        };
        self.open.pods_untouched(&self.scene.set.key, below, self.scene.revision);
    }

    /// Has the names of pods served before they are ready while a set is started as a whole, and no longer after that.
    fn serve_early(&mut self, cold_start: bool) {
        let snapshot = &self.scene.snapshot;
        // Those out of range too: without them the others may be too few.
        let waits = |pod: &domain::Pod| cold_start && !pod.is_ready();
        let pods = self.scene.members.iter().zip(&snapshot.pods).filter(|(member, _)| !member.deleting);
        for (member, early) in pods.map(|(member, pod)| (member, waits(pod))) {
            if member.served_early != early {
                let pod = &member.object;
                self.open.update(pod, build::served_early(pod, early));
                let why = if early { "its set is started as a whole" } else { "its set has started" };
                self.step(if early { "serve early" } else { "serve when ready" }, &pod.key.name, why);
                self.breathe();
            }
        }
    }

    /// Puts back the labels by which a single pod is found.
    fn repair_identities(&mut self, decision: &Decision) {
        let reached = |ordinal| decision.failure.as_ref().is_none_or(|failure| ordinal <= failure.last);
        let refused = |ordinal| decision.refusals.iter().any(|refusal| refusal.ordinal == ordinal);
        for (ordinal, pod) in identity::unmarked(self.scene) {
            if self.deleted.contains(&ordinal) || !reached(ordinal) || refused(ordinal) {
                continue;
            }
            let repaired = identity::marked(self.open.pending(&pod.key).unwrap_or(&pod.value), ordinal, &pod.key.name);
            self.open.update(pod, repaired);
            self.updated.insert(ordinal);
            self.step("repair labels of Pod", &pod.key.name, "the label with its name is missing or wrong");
            self.breathe();
        }
        for ordinal in std::mem::take(&mut self.updated) {
            let set = &self.scene.set.key.name;
            let message = format!("Update Pod {} in StatefulSet {set} successful", pod_name(set, ordinal));
            self.event(&Event::normal("SuccessfulUpdate", message));
            self.breathe();
        }
    }

    /// Says that an update is complete, which Kubernetes does not.
    fn tell_promotion(&mut self, status: &SetStatus) {
        let before = &self.scene.snapshot.status.current_revision;
        let promoted = !before.0.is_empty() && *before != status.current_revision;
        // Nobody needs the revision before any more.
        self.goes_on |= promoted;
        if promoted && self.scene.snapshot.switches.publish_conditions {
            let set = &self.scene.set.key.name;
            let message = format!("StatefulSet {set} is at revision {}, was at {before}", status.current_revision);
            self.event(&Event::normal("RolloutComplete", message));
        }
    }

    /// The set with the template of an earlier revision, because the update missed its deadline.
    fn reverted(&mut self, status: Option<Value>, decision: &Decision, revision: &str) -> Result<Value, String> {
        let template = self.template(decision, revision)?;
        let mut value = status.unwrap_or_else(|| self.scene.set.value.clone());
        value["spec"]["template"] = template;
        rollouts::next_generation(&mut value, self.now);
        let (set, update) = (&self.scene.set.key.name, &decision.update.status.update_revision);
        let why = format!("{update} did not become available before its progress deadline");
        let message = format!("StatefulSet {set} goes back to revision {revision}: {why}");
        self.event(&Event::warning("ProgressDeadlineExceeded", message));
        self.step("revert StatefulSet", set, why);
        Ok(value)
    }

    fn finish(mut self, decision: &Decision) -> Result<Execution, String> {
        self.tell_promotion(&decision.update.status);
        let set = &self.scene.set;
        let status = status::decided(self.scene, decision, &decision.waits(), self.now);
        let value = match &decision.update.revert {
            Some(revision) => Some(self.reverted(status, decision, &revision.0)?),
            None => status,
        };
        match value {
            Some(value) => self.open.update(set, value),
            None if !self.open.is_empty() => self.open.unchanged(set),
            None => {}
        }
        self.done.push(self.open);
        Ok(Execution { transactions: self.done, steps: self.steps, goes_on: self.goes_on })
    }
}
