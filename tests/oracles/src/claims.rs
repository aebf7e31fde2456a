//! S9: claims go only for a reason.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Ordinal, RetentionRule, claim_name};
use model::checks::{self, ClaimView};
use serde_json::Value;

use crate::objects::{Commit, State, all, deleting, text, uid};
use crate::{Violation, kind_and_name};

/// Ordinals that are tried to find the one of a claim.
const ORDINALS_MAX: u32 = 12;

/// The ordinal of a claim of a set.
fn ordinal(claim: &str, namespace: &str, set: &Value) -> Option<Ordinal> {
    let templates = set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten();
    let set_name = text(set, "/metadata/name");
    let here = namespace == text(set, "/metadata/namespace");
    templates.filter(|_| here).map(|template| text(template, "/metadata/name")).find_map(|template| {
        (0..ORDINALS_MAX).map(Ordinal).find(|ordinal| claim_name(template, set_name, *ordinal) == claim)
    })
}

/// Sets that have, or had, a claim of this name, each with the ordinal.
fn belongs<'a>(
    claim: &'a str,
    namespace: &'a str,
    sets: &'a BTreeMap<String, Value>,
) -> impl Iterator<Item = (&'a Value, Ordinal)> {
    sets.values().filter_map(move |set| Some((set, ordinal(claim, namespace, set)?)))
}

/// S9: a claim is deleted only after a scale-down whose policy says so, once its pod is gone, or with its set, if the policy
/// says so. `sets` are all sets as they last were, `scaled_away` the claims whose pods went while they were out of range.
///
/// # Errors
/// Where one is deleted for no reason.
pub fn s9_claim_is_deleted_for_a_reason(
    commit: &Commit<'_>,
    sets: &BTreeMap<String, Value>,
    scaled_away: &BTreeSet<String>,
) -> Result<(), Violation> {
    for change in commit.of("persistentvolumeclaims") {
        let Some(old) = change.old.as_ref().map(|old| &*old.value).filter(|old| !deleting(old)) else { continue };
        let goes = change.new.as_ref().is_none_or(|new| deleting(&new.value) || uid(&new.value) != uid(old));
        let Some((_, namespace, name)) = kind_and_name(&change.key).filter(|_| goes) else { continue };
        let owned_by = |set: &Value| owners(old).any(|owner| owner == uid(set));
        let judged: Vec<_> = belongs(name, namespace, sets)
            .filter_map(|(set, ordinal)| Some((set, view(commit, set, ordinal, scaled_away.contains(uid(old)))?)))
            // A set that is gone decides over what was its own.
            .filter(|(set, view)| !view.set_gone || owned_by(set))
            .map(|(_, view)| checks::s9_claim_is_deleted_for_a_reason(&view))
            .collect();
        if !judged.iter().any(Result::is_ok) {
            judged.into_iter().next().unwrap_or(Ok(()))?;
        }
    }
    Ok(())
}

fn owners(claim: &Value) -> impl Iterator<Item = &str> {
    let owners = claim.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    owners.filter_map(|owner| owner.get("uid")?.as_str())
}

fn view(commit: &Commit<'_>, set: &Value, ordinal: Ordinal, scaled_away: bool) -> Option<ClaimView> {
    let spec = api::manifest::set_spec(set).ok()?;
    let (namespace, set_name) = (text(set, "/metadata/namespace"), text(set, "/metadata/name"));
    let stored = commit.before.get(&format!("/objects/statefulsets/{namespace}/{set_name}"));
    let stored = stored.filter(|stored| uid(&stored.value) == uid(set));
    let pod = format!("/objects/pods/{namespace}/{}", domain::pod_name(set_name, ordinal));
    let in_range = spec.contains(ordinal) && stored.is_some();
    Some(ClaimView {
        ordinal: ordinal.0 as usize,
        // Once the pod has gone out of range, nothing brings its data back.
        in_range: in_range && !scaled_away,
        has_pod: commit.before.contains_key(&pod) && !scaled_away,
        when_scaled_delete: spec.retention.when_scaled == RetentionRule::Delete,
        when_deleted_delete: spec.retention.when_deleted == RetentionRule::Delete,
        set_gone: stored.is_none_or(|stored| deleting(&stored.value)),
    })
}

/// Claims that may go because a commit removes their pod while it is out of range.
pub(crate) fn scaled_away(commit: &Commit<'_>, sets: &BTreeMap<String, Value>) -> Vec<String> {
    let mut away = Vec::new();
    let gone = commit.of("pods").filter(|change| change.new.is_none());
    for change in gone {
        let Some((_, namespace, pod)) = kind_and_name(&change.key) else { continue };
        for (key, claim) in all(commit.before, "persistentvolumeclaims") {
            let Some((_, found, name)) = kind_and_name(key).filter(|(_, found, _)| *found == namespace) else {
                continue;
            };
            for (set, ordinal) in belongs(name, found, sets) {
                let Ok(spec) = api::manifest::set_spec(set) else { continue };
                let its_pod = domain::pod_name(text(set, "/metadata/name"), ordinal) == pod;
                if its_pod && !spec.contains(ordinal) && spec.retention.when_scaled == RetentionRule::Delete {
                    away.push(uid(claim).to_owned());
                }
            }
        }
    }
    away
}

/// Claims that should have gone after a scale-down: those that were given to a pod to go with. As in Kubernetes, and as the
/// README says, others stay: those that an earlier set of this name left, and those whose pod happened to be absent when the
/// set was scaled, so that nothing could take them along (seed 136).
pub(crate) fn leftovers<'a>(state: &'a State, set: &'a Value) -> impl Iterator<Item = &'a str> {
    let set_name = text(set, "/metadata/name");
    let spec = api::manifest::set_spec(set).unwrap_or_default();
    let templates: Vec<&str> = set
        .pointer("/spec/volumeClaimTemplates")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|template| text(template, "/metadata/name"))
        .collect();
    let owned = |claim: &Value| {
        let owners = claim.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.into_iter().flatten().any(|owner| owner["kind"] == "Pod")
    };
    all(state, "persistentvolumeclaims").filter(move |(_, claim)| owned(claim)).filter_map(move |(key, _)| {
        let (_, _, name) = kind_and_name(key)?;
        let ordinal = templates.iter().find_map(|template| {
            (0..ORDINALS_MAX).map(Ordinal).find(|ordinal| claim_name(template, set_name, *ordinal) == name)
        })?;
        let goes = spec.retention.when_scaled == RetentionRule::Delete && !spec.contains(ordinal);
        goes.then_some(name)
    })
}
