//! S20, S21: revision records and status.

use serde_json::Value;

use crate::objects::{Commit, all, controller, deleting, text, uid};
use crate::order::REVISION_LABEL;
use crate::{Violation, hold};

/// S20: equal templates have one revision, numbers are unique, and what is in use is not pruned.
///
/// # Errors
/// Where they have not.
pub fn s20_revisions(commit: &Commit<'_>) -> Result<(), Violation> {
    for change in commit.of("controllerrevisions") {
        let (old, new) = (change.old.as_ref().map(|old| &*old.value), change.new.as_ref().map(|new| &*new.value));
        match (old, new) {
            (_, Some(new)) => {
                let others = all(commit.before, "controllerrevisions").filter(|(key, other)| {
                    *key != change.key && controller(other).is_some() && controller(other) == controller(new)
                });
                for (key, other) in others {
                    let other = commit.after(key).unwrap_or(other);
                    hold("S20", other["data"] != new["data"], || format!("{} has the template of {key}", change.key))?;
                    hold("S20", other["revision"] != new["revision"], || {
                        format!("{} has the number of {key}", change.key)
                    })?;
                }
            }
            (Some(old), None) => pruned(commit, &change.key, old)?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn pruned(commit: &Commit<'_>, key: &str, revision: &Value) -> Result<(), Violation> {
    let Some(owner) = controller(revision) else { return Ok(()) };
    let set = all(commit.before, "statefulsets").find(|(_, set)| uid(set) == owner && !deleting(set));
    let Some((_, set)) = set else { return Ok(()) };
    let name = text(revision, "/metadata/name");
    let in_use = [text(set, "/status/currentRevision"), text(set, "/status/updateRevision")].contains(&name);
    let carried =
        all(commit.before, "pods").any(|(_, pod)| controller(pod) == Some(owner) && text(pod, REVISION_LABEL) == name);
    hold("S20", !in_use && !carried, || format!("{key} is pruned and in use"))
}

/// S21: no counter is negative or larger than the pods there are, and available pods are ready.
///
/// # Errors
/// Where one is.
pub fn s21_status(commit: &Commit<'_>) -> Result<(), Violation> {
    for change in commit.of("statefulsets") {
        let Some(new) = change.new.as_ref().map(|new| &*new.value) else { continue };
        if change.old.as_ref().is_some_and(|old| old.value["status"] == new["status"]) {
            continue;
        }
        let count = |field: &str| new["status"].get(field).and_then(Value::as_i64).unwrap_or(0);
        let all = ["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"];
        let fits = all.iter().all(|field| (0..=count("replicas")).contains(&count(field)));
        hold("S21", fits && count("availableReplicas") <= count("readyReplicas"), || {
            format!("{}: the counts contradict each other: {}", change.key, new["status"])
        })?;
    }
    Ok(())
}
