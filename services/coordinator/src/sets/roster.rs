//! The pods of every set, kept from pass to pass, so that a pass costs what has changed and not what there is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::manifest::Kind;
use api::manifest::selector::Selector;
use domain::{Candidate, Kinship, Ordinal, Pod, Pods, RevisionName, SetRef, Uid, kinship, pod_ordinal};

use super::coming::Coming;
use super::identity;
use super::scene::REVISION_LABEL;
use crate::objects::{condition, time};
use crate::pods::{build, read::phase, trouble};
use crate::store::StoreRevision;
use crate::world::{Key, Object, View};

#[cfg(test)]
mod tests;

/// Sets that are remembered. To forget all of them costs each one look at all its pods.
const SETS_MAX: usize = 16_384;

/// So many changed pods are looked at one by one, and one in so many; all of them cost less where more have changed.
const CHANGED_MIN: usize = 8;
const CHANGED_PART: usize = 8;

/// A pod that a set controls and that has an ordinal.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its ordinal.
    pub(crate) ordinal: Ordinal,
    /// The pod.
    pub(crate) object: Arc<Object>,
    /// Whether it is being deleted.
    pub(crate) deleting: bool,
    /// Whether it carries its own name as a label.
    pub(crate) marked: bool,
    /// Whether its names are served before it is ready.
    pub(crate) served_early: bool,
}

/// The pods of a set at one store revision, but for one that may be ahead of it.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    revision: StoreRevision,
    /// Pods that the set controls and that have an ordinal, ascending by it.
    pub(crate) members: Arc<Vec<Member>>,
    /// The same, as planners see them.
    pub(crate) pods: Pods,
    /// Pods that the set controls although its selector, or their name, says that they are not its own; by key.
    pub(crate) strays: Vec<Arc<Object>>,
    /// A pod that is here as it will be once a report of it is stored.
    pub(crate) ahead: Option<Key>,
}

/// The rosters of all sets.
#[derive(Debug, Default)]
pub(crate) struct Rosters {
    sets: Mutex<HashMap<Uid, Roster>>,
}

impl Rosters {
    /// The pods of a set as the view has them, but for one as a report says, if that is of the pod as the view has it.
    pub(crate) fn of(
        &self,
        view: &View<'_>,
        set: &SetRef,
        selector: Option<&Selector>,
        coming: Option<&Coming>,
    ) -> Roster {
        // Nobody else needs it meanwhile: a set has one pass at a time. If it were so, its pods would be looked at twice.
        let known = self.all().remove(&set.uid);
        let owner = Owner { set, selector };
        let mut roster = owner.roster(view, known);
        if let Some(coming) = coming {
            owner.look_ahead(view, coming, &mut roster);
        }
        let mut all = self.all();
        if all.len() >= SETS_MAX {
            all.clear();
        }
        all.insert(set.uid.clone(), roster.clone());
        roster
    }

    /// The set is gone.
    pub(crate) fn forget(&self, set: &Uid) {
        self.all().remove(set);
    }

    /// There are no other sets than these.
    pub(crate) fn keep(&self, sets: &HashSet<Uid>) {
        self.all().retain(|set, _| sets.contains(set));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uid, Roster>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose pods they are. Neither its name nor its selector ever changes.
struct Owner<'a> {
    set: &'a SetRef,
    selector: Option<&'a Selector>,
}

impl Owner<'_> {
    fn roster(&self, view: &View<'_>, known: Option<Roster>) -> Roster {
        known.and_then(|known| self.brought_up(view, known)).unwrap_or_else(|| self.anew(view))
    }

    fn anew(&self, view: &View<'_>) -> Roster {
        let (mut members, mut strays) = (Vec::new(), Vec::new());
        for pod in view.controlled_by(&self.set.uid.0, Kind::Pod) {
            match self.kinship(pod) {
                Kinship::Member(ordinal) => members.push(Member::of(ordinal, pod)),
                Kinship::Stray => strays.push(pod.clone()),
                Kinship::Orphan(_) | Kinship::Stranger => {}
            }
        }
        members.sort_unstable_by_key(|member| member.ordinal);
        let mut pods = Pods::default();
        for member in &members {
            let pod = seen(member.ordinal, &member.object, &pods);
            pods.push(pod.into());
        }
        Roster { revision: view.revision(), members: Arc::new(members), pods, strays, ahead: None }
    }

    /// The roster with what has changed since; none where that is not known, or so much that all of it costs less.
    fn brought_up(&self, view: &View<'_>, mut roster: Roster) -> Option<Roster> {
        let changed = view.pods_changed(&self.set.uid.0, roster.revision)?;
        if changed.len() > CHANGED_MIN.max(roster.members.len() / CHANGED_PART) {
            return None;
        }
        let ahead = roster.ahead.take();
        changed.into_iter().chain(&ahead).for_each(|key| self.put(key, view.get(key), &mut roster));
        roster.revision = view.revision();
        Some(roster)
    }

    /// Has a pod of the set be here as it will be. It is looked at again when the roster is brought up to date.
    fn look_ahead(&self, view: &View<'_>, coming: &Coming, roster: &mut Roster) {
        let key = &coming.stored.key;
        let is_member = matches!(self.kinship(&coming.will_be), Kinship::Member(_));
        if is_member && view.get(key).is_some_and(|pod| Arc::ptr_eq(&pod, &coming.stored)) {
            self.put(key, Some(coming.will_be.clone()), roster);
            roster.ahead = Some(key.clone());
        }
    }

    fn put(&self, key: &Key, pod: Option<Arc<Object>>, roster: &mut Roster) {
        if key.namespace != self.set.namespace {
            return;
        }
        let mine = |pod: &Arc<Object>| pod.controller_uid() == Some(&self.set.uid.0);
        let pod = pod.filter(mine);
        let kinship = pod.as_ref().map(|pod| self.kinship(pod));
        roster.strays.retain(|stray| stray.key != *key);
        if let (Some(pod), Some(Kinship::Stray)) = (&pod, kinship) {
            let place = roster.strays.partition_point(|stray| stray.key < *key);
            roster.strays.insert(place, pod.clone());
        }
        let Some(ordinal) = pod_ordinal(&self.set.name, &key.name) else { return };
        let member = pod.filter(|_| matches!(kinship, Some(Kinship::Member(_))));
        let place = roster.members.binary_search_by_key(&ordinal, |member| member.ordinal);
        let members = Arc::make_mut(&mut roster.members);
        match (place, member) {
            (Ok(place), Some(pod)) => {
                members[place] = Member::of(ordinal, &pod);
                roster.pods[place] = seen(ordinal, &pod, &roster.pods).into();
            }
            (Ok(place), None) => {
                members.remove(place);
                roster.pods.remove(place);
            }
            (Err(place), Some(pod)) => {
                members.insert(place, Member::of(ordinal, &pod));
                let pod = seen(ordinal, &pod, &roster.pods);
                roster.pods.insert(place, pod.into());
            }
            (Err(_), None) => {}
        }
    }

    fn kinship(&self, pod: &Object) -> Kinship {
        // A reference holds within a namespace only, whatever somebody writes into another one.
        if pod.key.namespace != self.set.namespace {
            return Kinship::Stranger;
        }
        let selected = self.selector.is_none_or(|selector| is_selected(selector, pod));
        kinship(self.set, candidate(pod, selected))
    }
}

impl Member {
    fn of(ordinal: Ordinal, pod: &Arc<Object>) -> Self {
        Self {
            ordinal,
            deleting: pod.deleting(),
            marked: identity::is_marked(pod),
            served_early: build::is_served_early(pod),
            object: pod.clone(),
        }
    }
}

/// Whether a selector selects an object.
pub(super) fn is_selected(selector: &Selector, object: &Object) -> bool {
    selector.matches_value(object.metadata("labels").unwrap_or(&serde_json::Value::Null))
}

/// A pod, as far as it says whose it is.
pub(super) fn candidate(pod: &Object, selected: bool) -> Candidate<'_> {
    Candidate { name: &pod.key.name, controller: pod.controller_uid(), selected, terminating: pod.deleting() }
}

/// A pod as planners see it, among the others of its set. Mostly it has the revision of an outermost one; those that are at
/// one revision share its name.
fn seen(ordinal: Ordinal, pod: &Object, others: &Pods) -> Pod {
    let revision = |name: &str| {
        let mut known = others.first().into_iter().chain(others.last()).filter_map(|pod| pod.revision.as_ref());
        known.find(|known| *known.0 == *name).cloned().unwrap_or_else(|| RevisionName(name.into()))
    };
    let ready = condition(&pod.value, "Ready");
    let field = |name: &str| ready.and_then(|condition| condition.get(name)?.as_str());
    Pod {
        ordinal,
        uid: pod.uid(),
        version: pod.version.0,
        phase: phase(pod),
        ready: field("status") == Some("True"),
        ready_since: field("lastTransitionTime").and_then(time),
        terminating: pod.deleting(),
        stops_by: time(pod.text("/metadata/deletionTimestamp")),
        revision: pod.label(REVISION_LABEL).filter(|name| !name.is_empty()).map(revision),
        created_at: time(pod.text("/metadata/creationTimestamp")).unwrap_or_default(),
        cause: trouble::of(pod).map(|trouble| trouble.cause),
    }
}
