//! S21: what a status counts is what there was, all of it at one moment.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::objects::{Commit, State, all, controller, deleting, ready, text, uid};
use crate::order::REVISION_LABEL;
use crate::{Violation, hold};

/// What of a status is counted, and at which revisions.
const COUNTS: [&str; 6] =
    ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "currentRevision", "updateRevision"];

/// A pod as a status counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Whether it says that it is ready.
    pub ready: bool,
    /// Whether it is going.
    pub going: bool,
    /// Its revision.
    pub revision: String,
}

/// How the pods of each set were since its status was written last, by the set's uid, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tallies(BTreeMap<String, Vec<Vec<Counted>>>);

impl Tallies {
    /// Holds each status that a commit writes against what there was.
    pub(crate) fn check(&self, commit: &Commit<'_>) -> Result<(), Violation> {
        for change in commit.of("statefulsets") {
            let (Some(old), Some(new)) = (&change.old, &change.new) else { continue };
            // A pass that could not decide says so in a condition, and leaves the counts alone.
            let same = COUNTS.iter().all(|field| old.value["status"][field] == new.value["status"][field]);
            if same || uid(&old.value) != uid(&new.value) {
                continue;
            }
            let set = uid(&new.value);
            let since = self.0.get(set).map(Vec::as_slice).unwrap_or_default();
            let goes = |change: &&crate::Change| {
                let ours = change.old.as_ref().is_some_and(|old| controller(&old.value) == Some(set));
                ours && change.new.as_ref().is_none_or(|new| deleting(&new.value))
            };
            let going = commit.of("pods").filter(goes).count() as u64;
            s21_counts_are_of_one_moment(&new.value["status"], since, going)?;
        }
        Ok(())
    }

    /// Notes how pods are after a commit: `wrote` are sets whose object it wrote, from which on older pods count no more.
    pub(crate) fn note(&mut self, state: &State, wrote: &[String], pods_changed: bool) {
        if !pods_changed && wrote.is_empty() {
            return;
        }
        for (_, set) in all(state, "statefulsets") {
            let now = tally(state, uid(set));
            let since = self.0.entry(uid(set).to_owned()).or_default();
            if wrote.iter().any(|wrote| wrote == uid(set)) {
                since.clear();
            }
            if since.last() != Some(&now) {
                since.push(now);
            }
        }
    }
}

fn tally(state: &State, set: &str) -> Vec<Counted> {
    let pods = all(state, "pods").filter(|(_, pod)| controller(pod) == Some(set));
    let counted = pods.map(|(_, pod)| Counted {
        ready: ready(pod),
        going: deleting(pod),
        revision: text(pod, REVISION_LABEL).to_owned(),
    });
    counted.collect()
}

/// S21: the counters are a function of the pods at one moment since the status was written last (`since`), whether or not the
/// set has come to rest. What the commit itself takes away (`going` pods) may be missing from `currentReplicas`.
///
/// # Errors
/// Where at none of them there were so many.
pub fn s21_counts_are_of_one_moment(status: &Value, since: &[Vec<Counted>], going: u64) -> Result<(), Violation> {
    let count = |field: &str| status.get(field).and_then(Value::as_u64).unwrap_or(0);
    let (current, update) = (text(status, "/currentRevision"), text(status, "/updateRevision"));
    let fits = |pods: &Vec<Counted>| {
        let many = |which: &dyn Fn(&Counted) -> bool| pods.iter().filter(|pod| which(pod)).count() as u64;
        let at_current = many(&|pod| !pod.going && pod.revision == current);
        count("replicas") == pods.len() as u64
            && count("readyReplicas") == many(&|pod| pod.ready)
            && count("updatedReplicas") == many(&|pod| !pod.going && pod.revision == update)
            && (at_current.saturating_sub(going)..=at_current).contains(&count("currentReplicas"))
    };
    // A set whose first status this is has had no pods yet.
    let fits = since.iter().any(fits) || since.is_empty() && fits(&Vec::new());
    hold("S21", fits, || format!("{status} counts pods that there were not at any one moment: {since:?}"))
}
