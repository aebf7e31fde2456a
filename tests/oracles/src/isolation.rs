//! S22: sets keep to themselves.

use serde_json::Value;

use crate::objects::{Commit, all, controller, text, uid};
use crate::{Violation, kind_and_name};

/// S22: a commit that carries out a decision about one set changes no pod and no revision of another, and nothing in another
/// namespace.
///
/// # Errors
/// Where it does.
pub fn s22_one_set_at_a_time(commit: &Commit<'_>) -> Result<(), Violation> {
    let decisions = commit.of("decisions").filter_map(|change| change.new.as_ref());
    let sets: Vec<(&str, &str)> = decisions
        .map(|new| (text(&new.value, "/metadata/namespace"), text(&new.value, "/metadata/labels/setkeeper.dev~1set")))
        .collect();
    let [(namespace, set)] = sets[..] else { return Ok(()) };
    let stored = all(commit.before, "statefulsets")
        .find(|(key, _)| kind_and_name(key) == Some(("statefulsets", namespace, set)));
    let Some((_, stored)) = stored else { return Ok(()) };
    for change in commit.changes {
        let Some((kind, found, _)) = kind_and_name(&change.key) else { continue };
        let value: Option<&Value> = change.new.as_ref().or(change.old.as_ref()).map(|stored| &*stored.value);
        let owner = value.and_then(controller);
        let owned = matches!(kind, "pods" | "controllerrevisions");
        let ours = found == namespace && (!owned || owner.is_none_or(|owner| owner == uid(stored)));
        model::checks::s22_only_our_own(ours, &change.key)?;
    }
    Ok(())
}
