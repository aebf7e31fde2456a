//! One set and everything a pass over it must know, taken from the world at one revision; a pod may be seen as a report says
//! that it will be.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::manifest::selector::Selector;
use api::manifest::{self, Kind};
use api::question::{EncodedSnapshot, UpdateQuestion};
use domain::{
    Generation, Intent, Kinship, Ordinal, Revision, RevisionName, SetRef, SetSpec, SetStatus, Snapshot, Switches,
    Timestamp, is_revision_name_of, kinship,
};
use serde_json::Value;

use super::coming::Coming;
use super::roster::{Member, Roster, Rosters, candidate, is_selected};
use super::stored;
use crate::machines::lifecycle;
use crate::objects::time;
use crate::store::StoreRevision;
use crate::world::{Key, Object, View, World, owners};

/// Label that names a pod's revision.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

/// Finalizer of a set whose pods stop in order before it goes.
pub(crate) const ORDERED_DELETION: &str = "setkeeper.dev/ordered-deletion";

/// A set at one store revision, but for a report that is on its way.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The revision of all that it shows as it is stored.
    pub(crate) revision: StoreRevision,
    /// The set.
    pub(crate) set: Arc<Object>,
    /// Pods that this set controls and that have an ordinal, ascending by it; at the same places as those of the snapshot.
    pub(crate) members: Arc<Vec<Member>>,
    /// Revision records that this set controls.
    pub(crate) revisions: Vec<Arc<Object>>,
    /// Revision records of others that have a name which one of this set could get.
    pub(crate) foreign_revisions: Vec<Arc<Object>>,
    /// Pods that this set controls although its selector, or their name, says that they are not its own.
    pub(crate) strays: Vec<Arc<Object>>,
    /// Pods of this set's names that nobody controls.
    pub(crate) orphans: Vec<Arc<Object>>,
    /// Revision records of this set's labels that nobody controls.
    pub(crate) orphan_revisions: Vec<Arc<Object>>,
    /// The set with every pod as it is stored.
    pub(crate) snapshot: Snapshot,
    /// The same as planners are told it, with steady pods in runs: what is reckoned from it does not grow with them.
    pub(crate) told: Snapshot,
    /// What is known of machines that say nothing or are fenced, in words, by name.
    pub(super) lost_machines: BTreeMap<String, String>,
    /// A report that it shows as if it were stored.
    pub(super) coming: Option<Coming>,
}

/// What a pass looks at a set with.
#[derive(Debug)]
pub(crate) struct Glance {
    /// Whether every pod is to stop.
    pub(crate) draining: bool,
    pub(crate) switches: Switches,
    pub(crate) now: Timestamp,
    /// Since when somebody looks after sets without a break.
    pub(crate) watched_since: Timestamp,
    /// A report that is to be shown as if it were stored, if it still says something new.
    pub(super) coming: Option<Coming>,
}

/// Why a set cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("stored set {key} is invalid: {why}")]
pub(crate) struct InvalidSet {
    key: Key,
    why: String,
}

impl Scene {
    /// Looks at a set; none if it does not exist.
    pub(crate) fn take(
        world: &World,
        rosters: &Rosters,
        key: &Key,
        glance: Glance,
    ) -> Result<Option<Self>, InvalidSet> {
        world.view(|view| {
            let Some(set) = view.get(key) else { return Ok(None) };
            let spec = manifest::set_spec(&set.value).map_err(|why| InvalidSet {
                key: key.clone(),
                why: why.first().map(ToString::to_string).unwrap_or_default(),
            })?;
            Ok(Some(Self::of(view, rosters, set, spec, glance)))
        })
    }

    fn of(view: &View<'_>, rosters: &Rosters, set: Arc<Object>, spec: SetSpec, glance: Glance) -> Self {
        let Glance { draining, switches, now, watched_since, coming } = glance;
        let incarnation = set_ref(&set);
        let selector = set.value.pointer("/spec/selector").and_then(|value| Selector::from_label_selector(value).ok());
        let roster = rosters.of(view, &incarnation, selector.as_ref(), coming.as_ref());
        let Roster { members, pods, strays, ahead, .. } = roster;
        let revisions: Vec<_> = view.controlled_by(&incarnation.uid.0, Kind::ControllerRevision).cloned().collect();
        let generation = Generation(set.value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1));
        let foreign_revisions = foreign_revisions(view, &set, &revisions, generation);
        let (orphans, orphan_revisions) = orphans(view, &set, selector.as_ref(), switches);
        let snapshot = Snapshot {
            set: incarnation,
            generation,
            intent: intent(&set, draining),
            status: stored::counters(&set.value),
            pods,
            failures: stored::failures(&set.value),
            outages: stored::outages(&set.value),
            formed: stored::formed(&set.value, &spec),
            cold_start: stored::holds(&set.value, stored::COLD_START),
            resumed_at: stored::resumed_at(&set.value, now).filter(|_| !spec.paused),
            watched_since: Some(watched_since),
            switches,
            spec,
            now,
        };
        let revision = view.revision();
        let told = snapshot.in_runs();
        let coming = coming.filter(|_| ahead.is_some());
        Self {
            revision,
            set,
            members,
            revisions,
            foreign_revisions,
            strays,
            orphans,
            orphan_revisions,
            snapshot,
            told,
            lost_machines: lifecycle::lost(view),
            coming,
        }
    }

    /// What the update planner is asked.
    pub(crate) fn update_question(&self, snapshot: &EncodedSnapshot) -> UpdateQuestion {
        let template = self.set.value.pointer("/spec/template").unwrap_or(&Value::Null);
        let data = manifest::template_revision_data(template);
        let read = |objects: &[Arc<Object>]| -> Vec<Revision> {
            objects.iter().filter_map(|object| object.revision(revision).cloned()).collect()
        };
        let (revisions, foreign) = (read(&self.revisions), read(&self.foreign_revisions));
        let newest = revisions.iter().max_by_key(|revision| revision.number);
        let equal_after_defaulting = newest
            .filter(|newest| newest.data != data)
            .and_then(|newest| manifest::template_from_revision(&newest.data).map(|template| (newest, template)))
            .filter(|(_, template)| {
                manifest::template_revision_data(&manifest::redefault_template(template.clone())) == data
            })
            .map(|(newest, _)| newest.name.clone());
        UpdateQuestion::new(snapshot, data, (revisions, foreign), equal_after_defaulting)
    }

    /// What both planners are told: a snapshot of this scene's pods, its own or like it.
    pub(crate) fn encoded(&self, told: &Snapshot) -> EncodedSnapshot {
        EncodedSnapshot::new(told, |pod| self.pod(pod.ordinal).expect("it is a member").encoded(pod))
    }

    /// What is known of the machine of an ordinal's pod, where that says nothing.
    pub(super) fn lost_machine(&self, ordinal: Ordinal) -> Option<&str> {
        let pod = self.pod(ordinal).filter(|_| !self.lost_machines.is_empty())?;
        self.lost_machines.get(pod.text("/spec/nodeName")).map(String::as_str)
    }

    /// The same of any machine of its pods, if there is one.
    pub(super) fn any_lost_machine(&self) -> Option<&str> {
        let mut pods = self.members.iter().filter(|_| !self.lost_machines.is_empty());
        pods.find_map(|member| self.lost_machines.get(member.object.text("/spec/nodeName"))).map(String::as_str)
    }

    /// The same of a machine for whose pod others may wait, if there is one.
    pub(super) fn lost_machine_waited_for(&self) -> Option<&str> {
        let unhealthy = self.told.pods.iter().filter(|pod| self.told.ailment(pod).is_some());
        unhealthy.filter_map(|pod| self.lost_machine(pod.ordinal)).next()
    }

    /// The pod of an ordinal.
    pub(crate) fn pod(&self, ordinal: Ordinal) -> Option<&Arc<Object>> {
        let place = self.members.binary_search_by_key(&ordinal, |member| member.ordinal).ok()?;
        self.members.get(place).map(|member| &member.object)
    }
}

/// Identity of a set.
pub(crate) fn set_ref(set: &Object) -> SetRef {
    SetRef { namespace: set.key.namespace.clone(), name: set.key.name.clone(), uid: set.uid() }
}

fn intent(set: &Object, draining: bool) -> Intent {
    if set.deleting() {
        Intent::Delete
    } else if draining {
        Intent::Drain
    } else {
        Intent::Keep
    }
}

/// Pods and revisions that were left behind when a set of this name was deleted without them.
fn orphans(
    view: &View<'_>,
    set: &Object,
    selector: Option<&Selector>,
    switches: Switches,
) -> (Vec<Arc<Object>>, Vec<Arc<Object>>) {
    let none = (Vec::new(), Vec::new());
    let (Some(selector), false) = (selector, set.deleting()) else { return none };
    let prefix = format!("{}-", set.key.name);
    let free = |kind, prefix: &str| {
        view.free(kind, &set.key.namespace, prefix)
            .into_iter()
            .filter(|free| !free.deleting() && is_selected(selector, free))
    };
    // Those out of range too: they are adopted, then condemned.
    let incarnation = set_ref(set);
    let is_orphan = |pod: &Arc<Object>| matches!(kinship(&incarnation, candidate(pod, true)), Kinship::Orphan(_));
    let pods = free(Kind::Pod, &prefix).filter(is_orphan);
    let by_name = switches.adopt_revisions_by_name;
    let revisions = free(Kind::ControllerRevision, if by_name { &prefix } else { "" });
    let named = |revision: &Arc<Object>| !by_name || is_revision_name_of(&set.key.name, &revision.key.name);
    (pods.collect(), revisions.filter(named).collect())
}

/// Revision records of others that have a name which one of this set could get. Where the template is known by its revision
/// nobody asks.
fn foreign_revisions(view: &View<'_>, set: &Object, own: &[Arc<Object>], generation: Generation) -> Vec<Arc<Object>> {
    let SetStatus { observed_generation, update_revision, .. } = stored::counters(&set.value);
    let known = own.iter().any(|revision| *revision.key.name == *update_revision.0);
    if known && observed_generation == generation.0 {
        return Vec::new();
    }
    let Key { namespace, name, .. } = &set.key;
    let foreign = |revision: &Arc<Object>| {
        let mine = revision.controller_uid() == Some(&set.uid().0);
        is_revision_name_of(name, &revision.key.name) && !mine && !revision.deleting() && stays(view, revision)
    };
    view.named(Kind::ControllerRevision, namespace, &format!("{name}-")).into_iter().filter(foreign).collect()
}

/// Whether a revision record is not about to be collected: whoever controls it exists.
fn stays(view: &View<'_>, revision: &Object) -> bool {
    let Some(uid) = revision.controller_uid() else { return true };
    let controls = |owner: &&Value| owner.get("uid").is_some_and(|found| found == uid);
    let name = owners(&revision.value).find(controls).and_then(|owner| owner.get("name")?.as_str());
    let owner = name.and_then(|name| view.get(&Key::new(Kind::StatefulSet, &revision.key.namespace, name)));
    owner.is_some_and(|owner| owner.uid().0 == uid)
}

fn revision(object: &Object) -> Option<Revision> {
    Some(Revision {
        name: RevisionName(object.key.name.as_str().into()),
        number: object.value.get("revision")?.as_i64()?,
        data: manifest::template_revision_data(&super::templates::of_revision(object.value.get("data")?)?),
        created_at: time(object.text("/metadata/creationTimestamp")).unwrap_or_default(),
    })
}
