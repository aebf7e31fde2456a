//! S2 to S8: pods come and go in order, at the right revision, within the budget.

use std::collections::{BTreeMap, BTreeSet};

use domain::{PodManagementPolicy, Profile, SetSpec, UpdateStrategy, pod_ordinal};
use model::checks::{self, Cause, ORDINALS_MAX, PodView, View};
use serde_json::Value;

use crate::objects::{Change, Commit, all, condition, controller, deleting, ended, millis, ready, text, uid};
use crate::{Violation, hold, holds};

/// Label that names a pod's revision.
pub(crate) const REVISION_LABEL: &str = "/metadata/labels/controller-revision-hash";

/// Finalizer of a set whose pods stop in order before it goes.
const ORDERED_DELETION: &str = "setkeeper.dev/ordered-deletion";

/// A set with the pods that it controls, as the shared rules want them.
struct Sight {
    name: String,
    view: View,
    revisions: Vec<String>,
    after: View,
}

impl Sight {
    /// Looks at the set with this uid as a commit finds it; none where it is not stored or too large for the rules.
    fn of(commit: &Commit<'_>, set_uid: &str) -> Option<Self> {
        let (key, set) = all(commit.before, "statefulsets").find(|(_, set)| uid(set) == set_uid)?;
        let spec = api::manifest::set_spec(set).ok()?;
        let name = text(set, "/metadata/name").to_owned();
        let namespace = text(set, "/metadata/namespace");
        if spec.ordinals().any(|ordinal| ordinal.0 as usize >= ORDINALS_MAX) {
            return None;
        }
        // A set that goes without its pods' order, or has gone, leaves them to the collector.
        let told = commit.after(key)?;
        if deleting(told) && !stops_in_order(told) {
            return None;
        }
        let mut revisions = Vec::new();
        let current = text(set, "/status/currentRevision");
        let mut view = skeleton(set, &spec);
        view.stopping |= deleting(told);
        view.current = number(&mut revisions, current);
        view.current_recorded = !current.is_empty();
        view.update = number(&mut revisions, text(told, "/status/updateRevision"));
        for (key, pod) in all(commit.before, "pods") {
            let Some(ordinal) = member(key, pod, namespace, &name, set_uid) else { continue };
            if ordinal < ORDINALS_MAX {
                view.pods[ordinal] = Some(sight(pod, &spec, &mut revisions, commit.now_ms));
            }
        }
        Some(Self { name, after: view.clone(), view, revisions })
    }

    fn ordinal(&self, change: &Change) -> Option<usize> {
        let name = change.key.rsplit('/').next()?;
        pod_ordinal(&self.name, name).map(|ordinal| ordinal.0 as usize).filter(|ordinal| *ordinal < ORDINALS_MAX)
    }
}

/// Sets that a commit concerns, by uid, each with what the commit has done to it so far.
type Sights = BTreeMap<String, Sight>;

/// The set that controls a pod; none where nobody does, or where the rules do not apply to it.
fn of_owner<'a>(sights: &'a mut Sights, commit: &Commit<'_>, pod: &Value) -> Option<&'a mut Sight> {
    let owner = controller(pod)?;
    if !sights.contains_key(owner) {
        sights.insert(owner.to_owned(), Sight::of(commit, owner)?);
    }
    sights.get_mut(owner)
}

fn skeleton(set: &Value, spec: &SetSpec) -> View {
    let mut view = View::new(Profile::Setkeeper.switches());
    view.ordered = spec.policy == PodManagementPolicy::OrderedReady;
    view.on_delete = spec.strategy == UpdateStrategy::OnDelete;
    view.paused = spec.paused;
    view.stopping = deleting(set);
    view.partition = spec.partition();
    view.max_unavailable = spec.max_unavailable();
    for ordinal in spec.ordinals() {
        view.in_range[ordinal.0 as usize] = true;
    }
    let through = set.pointer("/status/formed/through").and_then(Value::as_u64);
    let start = set.pointer("/status/formed/start").and_then(Value::as_u64);
    view.formed = through.filter(|_| start == Some(u64::from(spec.start.0))).map(|through| through as usize);
    view
}

/// Whether a set that goes lets its pods go in order first.
fn stops_in_order(set: &Value) -> bool {
    let finalizers = set.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    finalizers.filter_map(Value::as_str).any(|finalizer| finalizer == ORDERED_DELETION)
}

fn number(revisions: &mut Vec<String>, name: &str) -> u8 {
    let found = revisions.iter().position(|known| known == name);
    let place = found.unwrap_or_else(|| {
        revisions.push(name.to_owned());
        revisions.len() - 1
    });
    u8::try_from(place).unwrap_or(u8::MAX)
}

fn member(key: &str, pod: &Value, namespace: &str, set: &str, set_uid: &str) -> Option<usize> {
    let (_, found, name) = crate::kind_and_name(key)?;
    let ours = found == namespace && controller(pod) == Some(set_uid);
    pod_ordinal(set, name).filter(|_| ours).map(|ordinal| ordinal.0 as usize)
}

fn sight(pod: &Value, spec: &SetSpec, revisions: &mut Vec<String>, now_ms: i64) -> PodView {
    let since = condition(pod, "Ready").and_then(|ready| millis(ready["lastTransitionTime"].as_str()?));
    let waited = since.map_or(0, |since| now_ms.saturating_sub(since));
    let min_ready = i64::from(spec.min_ready_seconds) * 1000;
    let ready = ready(pod);
    let made = millis(text(pod, "/metadata/creationTimestamp"));
    let unready = since.max(made).map_or(0, |since| now_ms.saturating_sub(since));
    let alive = !ready && !deleting(pod) && !ended(pod);
    PodView {
        revision: number(revisions, text(pod, REVISION_LABEL)),
        ready,
        available: ready && (min_ready == 0 || waited >= min_ready),
        stalled: alive && u128::try_from(unready).is_ok_and(|unready| unready >= domain::PATIENCE.as_millis()),
        terminating: deleting(pod),
        ended: ended(pod),
    }
}

/// S2: whoever a set controls has a name that the set gives, written in the one way there is.
///
/// # Errors
/// Where one has not.
pub fn s2_canonical_identity(commit: &Commit<'_>) -> Result<(), Violation> {
    for change in commit.of("pods") {
        let Some(pod) = change.new.as_ref().map(|new| &*new.value) else { continue };
        let Some(owner) = controller(pod) else { continue };
        let set = all(commit.before, "statefulsets").find(|(_, set)| uid(set) == owner);
        let Some((_, set)) = set else { continue };
        let (set, name) = (text(set, "/metadata/name"), text(pod, "/metadata/name"));
        checks::s2_members_are_ours(set, name, true, pod_ordinal(set, name))?;
        hold("S2", pod_ordinal(set, name).is_some(), || format!("pod {name} is controlled by set {set}"))?;
    }
    Ok(())
}

/// S2: a set takes over only a pod that nobody controls and that its selector selects; neither name nor labels alone make
/// one its own.
///
/// # Errors
/// Where it takes another.
pub fn s2_takes_only_its_own(commit: &Commit<'_>) -> Result<(), Violation> {
    for change in commit.of("pods") {
        let (Some(old), Some(new)) = (&change.old, &change.new) else { continue };
        let (before, after) = (controller(&old.value), controller(&new.value));
        let (Some(owner), true) = (after, before != after && uid(&old.value) == uid(&new.value)) else { continue };
        hold("S2", before.is_none(), || format!("{} is taken from {before:?} by {owner}", change.key))?;
        let set = all(commit.before, "statefulsets").find(|(_, set)| uid(set) == owner);
        let Some((_, set)) = set else { continue };
        let (wanted, labels) = (&set["spec"]["selector"]["matchLabels"], &old.value["metadata"]["labels"]);
        hold("S2", holds(wanted, labels), || {
            format!("{} is taken by {}, which selects {wanted}, not {labels}", change.key, text(set, "/metadata/name"))
        })?;
    }
    Ok(())
}

pub(crate) fn created<'a>(commit: &'a Commit<'_>) -> impl Iterator<Item = (&'a Change, &'a Value)> {
    commit.of("pods").filter_map(|change| {
        let replaced = change
            .old
            .as_ref()
            .is_none_or(|old| change.new.as_ref().is_some_and(|new| uid(&new.value) != uid(&old.value)));
        change.new.as_ref().filter(|_| replaced).map(|new| (change, &*new.value))
    })
}

/// S3, and S1 of what is stored: in order, a pod is created only when every lower one in range is available.
///
/// # Errors
/// Where one was not.
pub fn s3_ordered_creation(commit: &Commit<'_>) -> Result<(), Violation> {
    each_creation(commit, |view, ordinal, _| {
        checks::s1_at_most_one(view, ordinal)?;
        checks::s3_predecessors_are_available(view, ordinal)
    })
}

/// S6: a pod is created at the revision of its side of the partition.
///
/// # Errors
/// Where it is not.
pub fn s6_partition(commit: &Commit<'_>) -> Result<(), Violation> {
    each_creation(commit, checks::s6_revision_follows_the_partition)
}

fn each_creation(
    commit: &Commit<'_>,
    rule: impl Fn(&View, usize, u8) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut sights = Sights::new();
    for (change, pod) in created(commit) {
        let Some(sight) = of_owner(&mut sights, commit, pod) else { continue };
        let Some(ordinal) = sight.ordinal(change) else { continue };
        let revision = number(&mut sight.revisions, text(pod, REVISION_LABEL));
        rule(&sight.after, ordinal, revision)?;
        let born =
            PodView { revision, ready: false, available: false, stalled: false, terminating: false, ended: false };
        sight.after.pods[ordinal] = Some(born);
        sight.after.company |= 1 << ordinal;
    }
    Ok(())
}

/// Pods whose deletion a commit requests, with their sets.
fn deletions<'a>(commit: &'a Commit<'_>, by_people: &'a BTreeSet<String>) -> Vec<(&'a Change, &'a Value)> {
    let asked = commit.of("pods").filter_map(|change| {
        let old = change.old.as_ref().map(|old| &*old.value).filter(|old| !deleting(old))?;
        let goes = change.new.as_ref().is_none_or(|new| deleting(&new.value) || uid(&new.value) != uid(old));
        (goes && !by_people.contains(uid(old))).then_some((change, old))
    });
    asked.collect()
}

/// S4, S5, S8: in order, condemned pods go from the highest down; outdated ones too, within the budget. `by_people` are
/// incarnations that somebody outside asked to delete.
///
/// # Errors
/// Where one goes that must not.
pub fn s4_to_s8_ordered_deletion(commit: &Commit<'_>, by_people: &BTreeSet<String>) -> Result<(), Violation> {
    each_deletion(commit, by_people, |view, ordinal, cause| match cause {
        Cause::Ended => Ok(()),
        Cause::ScaleDown => checks::s4_scale_down_in_order(view, ordinal),
        Cause::Update => {
            checks::s5_update_in_order(view, ordinal)?;
            checks::s8_within_the_budget(view, ordinal)
        }
    })
}

/// S7: under OnDelete, and while a set is paused, no pod goes for its revision.
///
/// # Errors
/// Where one does.
pub fn s7_on_delete(commit: &Commit<'_>, by_people: &BTreeSet<String>) -> Result<(), Violation> {
    each_deletion(commit, by_people, |view, ordinal, cause| match cause {
        Cause::Update => checks::s7_held_updates_touch_nobody(view, ordinal),
        Cause::Ended | Cause::ScaleDown => Ok(()),
    })
}

fn each_deletion(
    commit: &Commit<'_>,
    by_people: &BTreeSet<String>,
    rule: impl Fn(&View, usize, Cause) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut sights = Sights::new();
    for (change, pod) in deletions(commit, by_people) {
        let Some(sight) = of_owner(&mut sights, commit, pod) else { continue };
        let Some(ordinal) = sight.ordinal(change) else { continue };
        let cause = match sight.view.pods[ordinal] {
            Some(pod) if pod.ended => Cause::Ended,
            _ if sight.view.stopping || !sight.view.in_range[ordinal] => Cause::ScaleDown,
            _ => Cause::Update,
        };
        rule(&sight.after, ordinal, cause)?;
        if let Some(gone) = &mut sight.after.pods[ordinal] {
            gone.terminating = true;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{State, Stored};

    fn stored(value: Value) -> Option<Stored> {
        Some(Stored { bytes: value.to_string().into_bytes(), value: Arc::new(value), revision: 1 })
    }

    #[test]
    fn neither_a_name_nor_labels_alone_make_a_pod_a_member() {
        let selector = json!({ "matchLabels": { "app": "web" } });
        let set = json!({ "metadata": { "name": "web", "uid": "u" }, "spec": { "selector": selector } });
        let before = State::from([("/objects/statefulsets/default/web".to_owned(), stored(set).expect("some"))]);
        let pod = |app: &str, owner: Option<&str>| {
            let owners: Vec<Value> = owner.map(|uid| json!({ "uid": uid, "controller": true })).into_iter().collect();
            stored(json!({ "metadata": { "uid": "p", "labels": { "app": app }, "ownerReferences": owners } }))
        };
        let judged = |old: Option<Stored>, new: Option<Stored>| {
            let changes = [Change { key: "/objects/pods/default/web-0".to_owned(), old, new }];
            s2_takes_only_its_own(&Commit { revision: 2, changes: &changes, before: &before, now_ms: 0 })
        };
        assert_eq!(judged(pod("web", None), pod("web", Some("u"))), Ok(()), "adopted");
        assert_eq!(judged(pod("web", Some("u")), pod("other", None)), Ok(()), "released");
        assert!(judged(pod("other", None), pod("web", Some("u"))).is_err(), "it has another label");
        assert!(judged(pod("web", Some("x")), pod("web", Some("u"))).is_err(), "it is another's");
    }
}
