//! S12 to S16: the store.

use std::collections::{BTreeMap, BTreeSet};

use crate::objects::{Commit, State, deleting, is, uid};
use crate::{Violation, hold};

/// A precondition of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// The key is not there.
    Absent(String),
    /// The key was last written by this commit.
    ModifiedAt(String, u64),
    /// The key has this value.
    StoredAs(String, Vec<u8>),
    /// No key of a series was written after a commit.
    Untouched {
        /// What comes before the number.
        stem: String,
        /// Numbers below this one are meant.
        below: u32,
        /// One of them that is not meant.
        but: Option<u32>,
        /// The commit.
        since: u64,
    },
}

/// S12: revisions rise by one, no uid is used twice, a generation rises by one exactly when the spec changes, and what is
/// observed never falls and is never ahead.
///
/// # Errors
/// Where they do not.
pub fn s12_versions(commit: &Commit<'_>, last: u64, uids: &BTreeSet<String>) -> Result<(), Violation> {
    hold("S12", commit.revision == last + 1, || format!("revision {} follows {last}", commit.revision))?;
    for change in commit.changes {
        let Some(new) = change.new.as_ref().map(|new| &*new.value) else { continue };
        let old = change.old.as_ref().map(|old| &*old.value);
        let fresh = old.is_none_or(|old| uid(old) != uid(new));
        // Events keep their name and are made anew when they were removed; nobody holds on to them.
        if fresh && !uid(new).is_empty() {
            hold("S12", !uids.contains(uid(new)), || format!("uid {} of {} is used again", uid(new), change.key))?;
        }
        let (Some(old), true) = (old.filter(|_| !fresh), is(&change.key, "statefulsets")) else { continue };
        let number =
            |value: &serde_json::Value, pointer: &str| value.pointer(pointer).and_then(|n| n.as_i64()).unwrap_or(0);
        let (before, after) = (number(old, "/metadata/generation"), number(new, "/metadata/generation"));
        let expected = before + i64::from(old["spec"] != new["spec"]);
        hold("S12", after == expected, || format!("{}: generation {after} where {expected} should be", change.key))?;
        let (seen_before, seen) =
            (number(old, "/status/observedGeneration"), number(new, "/status/observedGeneration"));
        hold("S12", seen >= seen_before && seen <= after, || {
            format!("{}: observed generation {seen} after {seen_before}, generation {after}", change.key)
        })?;
    }
    Ok(())
}

/// S13: a batch whose preconditions do not hold changes nothing.
///
/// # Errors
/// Where it was committed.
pub fn s13_compare_and_set(commit: &Commit<'_>, expected: &[Expectation]) -> Result<(), Violation> {
    for one in expected {
        let (key, wanted) = match one {
            Expectation::Absent(key) => (key, None),
            Expectation::ModifiedAt(key, revision) => (key, Some(*revision)),
            Expectation::StoredAs(key, value) => {
                let as_wanted = commit.before.get(key).is_some_and(|stored| stored.bytes == *value);
                hold("S13", as_wanted, || {
                    format!("revision {} was committed although {key} was stored otherwise", commit.revision)
                })?;
                continue;
            }
            Expectation::Untouched { stem, below, but, since } => {
                s13_untouched(commit, stem, (*below, *but), *since)?;
                continue;
            }
        };
        let found = commit.before.get(key).map(|stored| stored.revision);
        hold("S13", found == wanted, || {
            format!("revision {} was committed although {key} was at {found:?}, not {wanted:?}", commit.revision)
        })?;
    }
    Ok(())
}

/// What is there of a series is no newer than what was seen of it. What was removed meanwhile, the state before does not tell.
fn s13_untouched(
    commit: &Commit<'_>,
    stem: &str,
    (below, but): (u32, Option<u32>),
    since: u64,
) -> Result<(), Violation> {
    for (key, _) in commit.before.iter().filter(|(_, stored)| stored.revision > since) {
        let number = key.strip_prefix(stem).and_then(|digits| digits.parse::<u32>().ok());
        let meant =
            number.is_some_and(|number| number < below && Some(number) != but && *key == format!("{stem}{number}"));
        hold("S13", !meant, || {
            format!("revision {} was committed although {key} was written after {since}", commit.revision)
        })?;
    }
    Ok(())
}

/// S13: a set goes only when its own incarnation was told to, or at once when people asked for that. `at_once` are the keys
/// of sets of which they did; a mark that an earlier set of this name bore is none of this one.
///
/// # Errors
/// Where one goes unasked.
pub fn s13_sets_go_when_asked(commit: &Commit<'_>, at_once: &BTreeSet<String>) -> Result<(), Violation> {
    for change in commit.of("statefulsets") {
        let Some(old) = change.old.as_ref().map(|old| &*old.value) else { continue };
        let goes = change.new.as_ref().is_none_or(|new| uid(&new.value) != uid(old));
        let asked = deleting(old) || at_once.contains(&change.key);
        hold("S13", !goes || asked, || {
            format!("{} with uid {} goes, and nobody has asked for that", change.key, uid(old))
        })?;
    }
    Ok(())
}

/// S14 and S15: what a crash left is what was acknowledged, or that and some of what was under way, whole and in order.
/// `found` is what was recovered, `candidates` the states that may have been.
///
/// # Errors
/// Where it is none of them.
pub fn s14_s15_recovered_is_a_prefix(
    found: &BTreeMap<String, Vec<u8>>,
    revision: u64,
    acknowledged: &State,
    acknowledged_revision: u64,
    candidates: &[State],
) -> Result<usize, Violation> {
    let same = |state: &State| {
        state.len() == found.len() && state.iter().all(|(key, stored)| found.get(key) == Some(&stored.bytes))
    };
    hold("S14", revision >= acknowledged_revision, || {
        format!("revision {acknowledged_revision} was acknowledged, and revision {revision} was recovered")
    })?;
    if let Some(place) = candidates.iter().position(same) {
        return Ok(place);
    }
    let lost = acknowledged.iter().find(|(key, stored)| found.get(*key) != Some(&stored.bytes));
    let extra = found.keys().find(|key| !acknowledged.contains_key(*key));
    let rule = if lost.is_some() { "S14" } else { "S15" };
    let how = format!("recovered at {revision} is no prefix: lost {:?}, extra {extra:?}", lost.map(|(key, _)| key));
    Err(Violation { rule, how })
}

/// S16: what a watcher is told at `revision` after `last` is all that happened in between under `prefix`, in order.
///
/// # Errors
/// Where something is missing, or was never committed.
pub fn s16_watch_is_gapless(
    last: u64,
    revision: u64,
    keys: &[String],
    commits: &BTreeMap<u64, Vec<String>>,
    prefix: &str,
) -> Result<(), Violation> {
    hold("S16", revision > last, || format!("revision {revision} is told after {last}"))?;
    let concerns = |keys: &[String]| keys.iter().any(|key| key.starts_with(prefix));
    let missed = commits.range(last + 1..revision).find(|(_, keys)| concerns(keys));
    hold("S16", missed.is_none(), || format!("revision {:?} is not told before {revision}", missed.map(|(at, _)| at)))?;
    let committed: Vec<_> =
        commits.get(&revision).into_iter().flatten().filter(|key| key.starts_with(prefix)).collect();
    hold("S16", committed.iter().copied().eq(keys.iter()), || {
        format!("of revision {revision} {keys:?} is told, {committed:?} was committed")
    })
}

/// The epoch that a commit writes, if it does.
pub(crate) fn epoch(commit: &Commit<'_>) -> Option<u64> {
    let change = commit.changes.iter().find(|change| change.key == "/setkeeper/epoch")?;
    std::str::from_utf8(&change.new.as_ref()?.bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{Change, Stored};

    #[test]
    fn a_set_goes_when_it_itself_was_asked_to() {
        let key = "/objects/statefulsets/default/web".to_owned();
        let set = |uid: &str, marked: bool| {
            let value = json!({ "metadata": { "uid": uid, "deletionTimestamp": marked.then_some("now") } });
            Some(Stored { bytes: value.to_string().into_bytes(), value: Arc::new(value), revision: 1 })
        };
        let judged = |old, new, at_once: &[&String]| {
            let changes = [Change { key: key.clone(), old, new }];
            let commit = Commit { revision: 2, changes: &changes, before: &State::new(), now_ms: 0 };
            s13_sets_go_when_asked(&commit, &at_once.iter().map(|key| (*key).clone()).collect())
        };
        assert_eq!(judged(set("a", true), None, &[]), Ok(()));
        assert_eq!(judged(set("a", false), None, &[&key]), Ok(()));
        assert_eq!(judged(set("a", false), set("a", true), &[]), Ok(()));
        assert!(judged(set("a", false), None, &[]).is_err());
        assert!(judged(set("a", false), set("b", false), &[]).is_err());
    }
}
