//! The conditions of a set, for whoever waits for one: `Available`, `Progressing`, and, once they have been true,
//! `Stuck`, `Healing` and `ColdStart`. Kubernetes has none (StatefulSet rules, section 18). Conditions of others stay.

use domain::{Cause, Ordinal, Snapshot, Stuck, Timestamp, Wait, WaitRun};
use serde_json::{Map, Value};

use super::super::Decision;
use super::super::scene::Scene;
use super::super::stored::{COLD_START, STUCK, holds};
use crate::objects::{condition, set_condition, time_text};
use crate::pods::trouble;

/// Broken pods of an outdated revision are being replaced.
const HEALING: &str = "Healing";

/// Reasons and pods that a message names; the decision record has them all.
const NAMED_MAX: usize = 3;

/// What conditions are made of.
pub(super) struct Conditions<'a> {
    pub(super) scene: &'a Scene,
    /// None where nobody could decide.
    pub(super) decision: Option<&'a Decision>,
    pub(super) waits: &'a [Wait],
    pub(super) now: Timestamp,
}

impl Conditions<'_> {
    /// Writes them into a status whose counters are written.
    pub(super) fn write(&self, fields: &mut Map<String, Value>) {
        self.available(fields);
        self.progressing(fields);
        let Some(decision) = self.decision else { return };
        let stuck = self.stuck_words(&decision.update.stuck);
        let class = decision.update.stuck.first().and_then(|stuck| self.cause(stuck));
        let class = class.map_or_else(|| "Unknown".to_owned(), |cause| format!("{cause:?}"));
        self.rare(fields, STUCK, stuck.as_deref().map(|words| (class.as_str(), words)));
        let healing = self.healing(decision);
        self.rare(fields, HEALING, healing.as_deref().map(|words| ("BrokenPods", words)));
        let cold_start = decision.order.cold_start;
        let words = "no pod was healthy: all start together, and their names are served before they are ready";
        self.rare(fields, COLD_START, cold_start.then_some(("TotalOutage", words)));
    }

    fn available(&self, fields: &mut Map<String, Value>) {
        // Of the ordinals that are wanted: a pod out of range is no stand-in for one that is missing.
        let told = &self.scene.told;
        let (replicas, available) = (told.spec.replicas, told.spec.size().saturating_sub(told.unavailable_members()));
        let mut message = format!("{available} of {replicas} pods are available");
        if let Some(words) = self.scene.any_lost_machine() {
            message.push_str(&format!(", as far as is known: {words}"));
        }
        let (truth, reason) =
            if available >= replicas { ("True", "AllPodsAvailable") } else { ("False", "PodsUnavailable") };
        set_condition(fields, "Available", truth, (reason, &message), self.now);
    }

    /// As Deployments tell it: true while it gets on and when it is done, false after the deadline.
    fn progressing(&self, fields: &mut Map<String, Value>) {
        let stuck = match self.decision {
            Some(decision) => self.stuck_words(&decision.update.stuck),
            // What was found before holds until somebody can look.
            None => holds(&self.scene.set.value, STUCK).then(|| self.stored_message(STUCK)),
        };
        let (truth, reason, message) = if done(&self.scene.told, fields) {
            ("True", "Complete", String::new())
        } else if let Some(words) = stuck {
            ("False", "ProgressDeadlineExceeded", words)
        } else if self.scene.snapshot.spec.paused {
            ("Unknown", "Paused", self.waiting_words())
        } else if self.waits.is_empty() {
            ("True", "Working", String::new())
        } else {
            ("True", "Waiting", self.waiting_words())
        };
        set_condition(fields, "Progressing", truth, (reason, &message), self.now);
    }

    /// A condition that most sets never have: written when it becomes true, and from then on.
    fn rare(&self, fields: &mut Map<String, Value>, kind: &str, why: Option<(&str, &str)>) {
        let known = condition(&self.scene.set.value, kind).is_some();
        match why {
            Some(why) => set_condition(fields, kind, "True", why, self.now),
            None if known => set_condition(fields, kind, "False", ("", ""), self.now),
            None => {}
        }
    }

    /// What is healed: what this pass replaces although it is not available, then whatever was healed before, until every
    /// pod is healthy.
    fn healing(&self, decision: &Decision) -> Option<String> {
        let snapshot = &self.scene.snapshot;
        let replaced = decision.update.replace.iter().filter_map(|deletion| snapshot.pod(deletion.ordinal));
        let broken: Vec<String> =
            replaced.filter(|pod| snapshot.unavailable(pod)).map(|pod| pod.ordinal.to_string()).collect();
        let goes_on = holds(&self.scene.set.value, HEALING) && self.scene.told.first_unhealthy().is_some();
        match broken.as_slice() {
            [] => goes_on.then(|| self.stored_message(HEALING)),
            broken => Some(format!("replacing broken pods of an outdated revision: {}", named(broken))),
        }
    }

    fn stored_message(&self, kind: &str) -> String {
        let stored = condition(&self.scene.set.value, kind);
        stored.and_then(|condition| condition.get("message")?.as_str()).unwrap_or_default().to_owned()
    }

    /// Which pods are stuck, and why; none where none is.
    fn stuck_words(&self, stuck: &[Stuck]) -> Option<String> {
        let words: Vec<String> = stuck.iter().map(|stuck| self.of_one(stuck)).collect();
        (!words.is_empty()).then(|| named(&words))
    }

    fn of_one(&self, stuck: &Stuck) -> String {
        let name = domain::pod_name(&self.scene.set.key.name, stuck.ordinal);
        let since = time_text(stuck.since);
        let lost = self.scene.lost_machine(stuck.ordinal);
        if !self.scene.snapshot.spec.contains(stuck.ordinal) {
            let why = lost.map(|words| format!(": {words}")).unwrap_or_default();
            return format!("{name} should have stopped by {since}{why}");
        }
        let trouble = self.scene.pod(stuck.ordinal).and_then(|pod| trouble::of(pod));
        let held = self.hindrance(stuck.ordinal).map(|(_, words)| words);
        let why = match (lost, &trouble, held, stuck.cause) {
            (Some(words), ..) => words.to_owned(),
            (_, Some(trouble), ..) if !trouble.words.is_empty() => format!("{}: {}", trouble.cause, trouble.words),
            (.., Some(words), _) => words,
            (.., Some(cause)) => cause.to_string(),
            _ => "nobody says why".to_owned(),
        };
        format!("{name} has not been available since {since}: {why}")
    }

    fn cause(&self, stuck: &Stuck) -> Option<Cause> {
        stuck.cause.or_else(|| self.hindrance(stuck.ordinal).map(|(cause, _)| cause))
    }

    /// What holds back the pod of an ordinal that has none: its class, and the words.
    fn hindrance(&self, ordinal: Ordinal) -> Option<(Cause, String)> {
        let missing = !self.scene.snapshot.has_pod(ordinal);
        let mut own = self.waits.iter().filter(|wait| missing && wait.ordinal == Some(ordinal));
        own.find_map(|wait| Some((wait.reason.hindrance(ordinal)?, wait.reason.to_string())))
    }

    fn waiting_words(&self) -> String {
        let mut seen: Vec<String> = Vec::new();
        for wait in WaitRun::of(self.waits) {
            let text = wait.reason.to_string();
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        // Who waits for a pod that nobody can see waits for its machine.
        if let Some(words) = self.scene.lost_machine_waited_for() {
            seen.insert(0, words.to_owned());
        }
        named(&seen)
    }
}

/// Whether every ordinal has a pod that is updated and available, and the update is the current revision.
fn done(snapshot: &Snapshot, fields: &Map<String, Value>) -> bool {
    let replicas = snapshot.spec.replicas;
    let counts = ["availableReplicas", "replicas", "updatedReplicas"];
    let observed = fields.get("observedGeneration").and_then(Value::as_i64) == Some(snapshot.generation.0);
    let members = snapshot.unavailable_members() == 0;
    let one_revision = fields.get("currentRevision") == fields.get("updateRevision");
    // A set of no pods may keep the revision that it comes from (switch `keep_current_at_zero`).
    observed && members && (one_revision || replicas == 0) && counts.iter().all(|name| count(fields, name) == replicas)
}

fn count(fields: &Map<String, Value>, name: &str) -> u32 {
    fields.get(name).and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// The first few, and how many more.
fn named(words: &[String]) -> String {
    let shown = words.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    match words.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
