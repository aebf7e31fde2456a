//! Everything that was committed, each commit held against every rule about commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::objects::{Change, Commit, State, Stored, is, kind_and_name, uid};
use crate::store::{Expectation, epoch, s12_versions, s13_compare_and_set};
use crate::tallies::Tallies;
use crate::{Violation, claims, hold};

/// A batch.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Keys with their new values; none deletes.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
    /// What it rests on.
    pub expected: Vec<Expectation>,
}

/// What was committed so far.
#[derive(Debug, Default)]
pub struct History {
    state: State,
    revision: u64,
    early: BTreeMap<u64, (Written, i64)>,
    /// Keys of every commit.
    pub keys: BTreeMap<u64, Vec<String>>,
    uids: BTreeSet<String>,
    sets: BTreeMap<String, Value>,
    scaled_away: BTreeSet<String>,
    tallies: Tallies,
    epoch: u64,
    /// Incarnations that somebody outside asked to delete.
    pub deleted_by_people: BTreeSet<String>,
    /// Store keys of sets that people asked to delete at once, without waiting for their pods.
    pub sets_deleted_at_once: BTreeSet<String>,
    /// Rules asked so far.
    pub checks: u64,
}

impl History {
    /// Everything that is stored.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The last commit.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a commit; commits may come out of order. Returns lines about what changed, to be read by people.
    ///
    /// # Errors
    /// The first rule that a commit breaks.
    pub fn take(&mut self, revision: u64, written: Written, now_ms: i64) -> Result<Vec<String>, Violation> {
        hold("S12", revision > self.revision && !self.early.contains_key(&revision), || {
            format!("revision {revision} is given out again")
        })?;
        self.early.insert(revision, (written, now_ms));
        let mut lines = Vec::new();
        while let Some((written, now_ms)) = self.early.remove(&(self.revision + 1)) {
            lines.extend(self.apply(self.revision + 1, &written, now_ms)?);
        }
        Ok(lines)
    }

    /// Whether commits are known of which earlier ones are not.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    fn apply(&mut self, revision: u64, written: &Written, now_ms: i64) -> Result<Vec<String>, Violation> {
        let changes: Vec<Change> = changes(&self.state, revision, written);
        let commit = Commit { revision, changes: &changes, before: &self.state, now_ms };
        s12_versions(&commit, self.revision, &self.uids)?;
        s13_compare_and_set(&commit, &written.expected)?;
        crate::s13_sets_go_when_asked(&commit, &self.sets_deleted_at_once)?;
        crate::s2_canonical_identity(&commit)?;
        crate::s2_takes_only_its_own(&commit)?;
        crate::s3_ordered_creation(&commit)?;
        crate::s4_to_s8_ordered_deletion(&commit, &self.deleted_by_people)?;
        crate::s6_partition(&commit)?;
        crate::s7_on_delete(&commit, &self.deleted_by_people)?;
        crate::s9_claim_is_deleted_for_a_reason(&commit, &self.sets, &self.scaled_away)?;
        crate::s20_revisions(&commit)?;
        crate::s20_pods_are_of_one_template(&commit)?;
        crate::s20_pods_stay_what_they_are(&commit)?;
        crate::s21_status(&commit)?;
        self.tallies.check(&commit)?;
        crate::s22_one_set_at_a_time(&commit)?;
        self.checks += 16;
        if let Some(epoch) = epoch(&commit) {
            hold("S18", epoch > self.epoch, || format!("epoch {epoch} follows {}", self.epoch))?;
            self.epoch = epoch;
        }
        self.scaled_away.extend(claims::scaled_away(&commit, &self.sets));
        let lines = changes.iter().map(describe).collect();
        self.keys.insert(revision, changes.iter().map(|change| change.key.clone()).collect());
        let wrote = commit.of("statefulsets").filter_map(|change| Some(uid(&change.new.as_ref()?.value).to_owned()));
        let (wrote, pods_changed): (Vec<_>, _) = (wrote.collect(), commit.of("pods").next().is_some());
        for change in changes {
            self.remember(change);
        }
        self.tallies.note(&self.state, &wrote, pods_changed);
        self.revision = revision;
        Ok(lines)
    }

    fn remember(&mut self, change: Change) {
        match change.new {
            Some(new) => {
                self.uids.insert(uid(&new.value).to_owned());
                if is(&change.key, "statefulsets") {
                    self.sets.insert(uid(&new.value).to_owned(), (*new.value).clone());
                }
                self.state.insert(change.key, new);
            }
            None => _ = self.state.remove(&change.key),
        }
    }

    /// States that may be found after a crash: with none, one, two, ... of the batches that were under way.
    #[must_use]
    pub fn candidates(&self, pending: &[Written]) -> Vec<(u64, State)> {
        let mut found = vec![(self.revision, self.state.clone())];
        for written in pending {
            let (revision, state) = found.last().cloned().unwrap_or_default();
            let commit = Commit { revision, changes: &[], before: &state, now_ms: 0 };
            let changes = changes(&state, revision + 1, written);
            if s13_compare_and_set(&commit, &written.expected).is_err() || changes.is_empty() {
                continue;
            }
            let mut next = state.clone();
            for change in changes {
                match change.new {
                    Some(new) => _ = next.insert(change.key, new),
                    None => _ = next.remove(&change.key),
                }
            }
            found.push((revision + 1, next));
        }
        found
    }
}

fn changes(state: &State, revision: u64, written: &Written) -> Vec<Change> {
    let changed = written.writes.iter().filter_map(|(key, bytes)| {
        let old = state.get(key).cloned();
        let new = bytes.as_ref().map(|bytes| Stored {
            value: Arc::new(serde_json::from_slice(bytes).unwrap_or(Value::Null)),
            bytes: bytes.clone(),
            revision,
        });
        (old.is_some() || new.is_some()).then(|| Change { key: key.clone(), old, new })
    });
    changed.collect()
}

/// A change in words.
fn describe(change: &Change) -> String {
    let what = match (&change.old, &change.new) {
        (None, _) => "creates",
        (_, None) => "removes",
        _ => "changes",
    };
    let name =
        kind_and_name(&change.key).map_or(change.key.clone(), |(kind, space, name)| format!("{kind} {space}/{name}"));
    let value = change.new.as_ref().map(|new| &*new.value).unwrap_or(&Value::Null);
    let detail = match kind_and_name(&change.key).map(|(kind, ..)| kind) {
        Some("pods") => {
            let going = if crate::objects::deleting(value) { " going" } else { "" };
            let ready = if crate::objects::ready(value) { " ready" } else { "" };
            let revision = crate::text(value, crate::order::REVISION_LABEL);
            format!(" {}{ready}{going} {revision} uid {}", crate::text(value, "/status/phase"), uid(value))
        }
        Some("statefulsets") => format!(
            " generation {} replicas {} status {}",
            value["metadata"]["generation"],
            value["spec"]["replicas"],
            counts(&value["status"])
        ),
        Some("decisions") => format!(" {}", crate::text(value, "/summary")),
        Some("events") => format!(" {}", crate::text(value, "/message")),
        _ => String::new(),
    };
    format!("{what} {name}{detail}")
}

fn counts(status: &Value) -> String {
    let fields =
        ["replicas", "readyReplicas", "updatedReplicas", "currentRevision", "updateRevision", "observedGeneration"];
    fields.map(|field| status.get(field).map_or("-".to_owned(), Value::to_string)).join("/")
}
