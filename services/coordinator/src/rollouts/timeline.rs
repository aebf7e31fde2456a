//! From what is seen to change to the spans of rollouts. Pure: whoever watches says what time it is.
//!
//! A pod goes through phases, one after the other: `volume`, `start`, `ready`, `soak`; at its end `drain` and `stop`. Each
//! is recorded when it ends, below the span of its ordinal, which ends when the pod is available. What nothing of this
//! shows, such as a planner that is away or a claim that is awaited, is a span of its own that says so.

mod incarnation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use domain::{Timestamp, Wait, WaitReason, WaitRun};
use serde::Deserialize as _;
use serde_json::Value;
use service_kit::telemetry::{PastSpan, SpanAddress};

use self::incarnation::{Incarnation, Phase, moment};
use super::{Rollout, place};
use crate::objects::time;
use crate::pods::read::claim_names;
use crate::pods::trouble;
use crate::store::StoreRevision;
use crate::world::Object;

/// What is told anew after a start may have been lost with the process before: what it had recorded within this time.
const UNSENT_MAX: Duration = Duration::from_secs(2);

/// An ordinal that a rollout works on.
#[derive(Debug)]
struct Course {
    set: String,
    name: String,
    since: Timestamp,
    /// When something of it was seen last.
    last: Timestamp,
}

/// A set whose rollout is under way.
#[derive(Debug)]
struct Running {
    rollout: Rollout,
    namespace: String,
    name: String,
    generation: i64,
    min_ready: Duration,
    /// What holds it up and no phase of a pod shows, and since when.
    wait: Option<(Timestamp, Wait)>,
}

/// All rollouts under way.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    sets: BTreeMap<String, Running>,
    pods: HashMap<String, Incarnation>,
    ordinals: HashMap<SpanAddress, Course>,
    /// Pods that soak, by when they have done so, and those that did not get there.
    soaking: BTreeSet<(Timestamp, String)>,
    /// Pods whose names are being withdrawn, and those that are gone meanwhile.
    draining: BTreeSet<String>,
    /// Ordinals whose span is recorded, of rollouts under way: one that is worked on again has that span already.
    recorded: HashMap<SpanAddress, String>,
    spans: Vec<PastSpan>,
}

impl Timeline {
    /// Spans that have ended since the last call.
    pub(super) fn take(&mut self) -> Vec<PastSpan> {
        std::mem::take(&mut self.spans)
    }

    /// When the mere passing of time ends a span.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.soaking.first().map(|(at, _)| *at)
    }

    /// A set was stored, or is gone.
    pub(super) fn set_changed(&mut self, now: Timestamp, set: &Object, stored: bool) {
        let uid = set.uid().0;
        let rollout = Rollout::of(&set.value).filter(|_| stored);
        if let Some(running) = self.sets.get(&uid)
            && rollout.map(|rollout| rollout.root) != Some(running.rollout.root)
        {
            let outcome = if stored { "superseded" } else { "deleted" };
            self.end(&uid, now, outcome, rollout.filter(|rollout| rollout.completed_at.is_none()));
        }
        let Some(rollout) = rollout else { return };
        match rollout.completed_at {
            Some(completed) => self.end(&uid, completed, "complete", None),
            None => self.follow(uid, set, rollout),
        }
    }

    fn follow(&mut self, uid: String, set: &Object, rollout: Rollout) {
        let number = |pointer| set.value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let min_ready = Duration::from_secs(u64::try_from(number("/spec/minReadySeconds")).unwrap_or(0));
        let wait = self.sets.get_mut(&uid).and_then(|running| running.wait.take());
        let running = Running {
            rollout,
            namespace: set.key.namespace.clone(),
            name: set.key.name.clone(),
            generation: number("/metadata/generation"),
            min_ready,
            wait,
        };
        self.sets.insert(uid, running);
    }

    /// Ends the rollout of a set. What its pods are in the middle of goes on in `next`, if there is one.
    fn end(&mut self, uid: &str, now: Timestamp, outcome: &'static str, next: Option<Rollout>) {
        let Some(mut running) = self.sets.remove(uid) else { return };
        // A pass that goes along with a report may decide what ends it before the report is seen here.
        let pods = self.pods.values().filter(|pod| pod.set == uid).map(|pod| pod.since);
        let ordinals = self.ordinals.values().filter(|course| course.set == uid).map(|course| course.last);
        let now = pods.chain(ordinals).fold(now, Timestamp::max);
        self.end_wait(&mut running, now);
        let (mut moved, mut kept) = (Vec::new(), HashMap::new());
        for (pod, incarnation) in self.pods.drain() {
            if incarnation.set == uid { moved.push((pod, incarnation)) } else { drop(kept.insert(pod, incarnation)) }
        }
        self.pods = kept;
        for (pod, mut incarnation) in moved {
            self.spans.extend(incarnation.span(&pod, now, Some(outcome)));
            if let Some(next) = next {
                incarnation.place = next.of_pod(&incarnation.name);
                incarnation.since = now;
                self.begin(&incarnation, now);
                self.pods.insert(pod, incarnation);
            }
        }
        let next_root = next.map(|next| next.root);
        let ended: Vec<SpanAddress> = self
            .ordinals
            .iter()
            .filter(|(place, course)| {
                course.set == uid && next_root.is_none_or(|root| root.below(&course.name) != **place)
            })
            .map(|(place, _)| *place)
            .collect();
        for place in ended {
            self.record_ordinal(place, running.rollout.root, None);
        }
        self.recorded.retain(|_, set| set != uid);
        self.spans.push(running.span(uid, now, outcome));
    }

    /// A pod was stored at `revision`, or is gone.
    pub(super) fn pod_changed(&mut self, now: Timestamp, pod: &Object, stored: bool, revision: StoreRevision) {
        let uid = pod.uid().0;
        if !stored {
            self.pod_gone(now, &uid);
            return;
        }
        let Some(set) = pod.controller_uid() else { return };
        let Some(running) = self.sets.get(set) else { return };
        let (min_ready, own) = (running.min_ready, running.rollout.of_pod(&pod.key.name));
        if !self.pods.contains_key(&uid) {
            if place(&pod.value) != Some(own) {
                return;
            }
            let begins = if claim_names(&pod.value).next().is_some() { Phase::Volume } else { Phase::Start };
            let incarnation = Incarnation {
                set: set.to_owned(),
                name: pod.key.name.clone(),
                place: own,
                phase: if pod.deleting() { Phase::Available } else { begins },
                since: now,
                available_at: None,
                withdrawn_at: None,
                trouble: None,
            };
            self.begin(&incarnation, now);
            self.pods.insert(uid.clone(), incarnation);
        }
        self.advance(now, &uid, pod, min_ready, revision);
    }

    fn advance(&mut self, now: Timestamp, uid: &str, pod: &Object, min_ready: Duration, revision: StoreRevision) {
        let Some(incarnation) = self.pods.get_mut(uid) else { return };
        let seen = Phase::of(pod);
        incarnation.trouble = trouble::of(pod).map(|trouble| format!("{}: {}", trouble.cause, trouble.words));
        if seen == Phase::Drain {
            if incarnation.phase < Phase::Drain {
                let interrupted = incarnation.span(uid, now, Some("the pod was asked to go"));
                self.spans.extend(interrupted);
                (incarnation.phase, incarnation.since) = (Phase::Drain, now);
                (incarnation.available_at, incarnation.withdrawn_at) = (None, Some(revision));
                let begun = Course::of(incarnation, now);
                self.ordinals.entry(incarnation.place).or_insert(begun);
                self.draining.insert(uid.to_owned());
            }
            return;
        }
        if incarnation.phase == Phase::Soak && seen < Phase::Soak {
            let interrupted = incarnation.span(uid, now, Some("the pod is no longer ready"));
            self.spans.extend(interrupted);
            (incarnation.phase, incarnation.since, incarnation.available_at) = (Phase::Ready, now, None);
        }
        while incarnation.phase < seen {
            let ended = incarnation.span(uid, now, None);
            self.spans.extend(ended);
            (incarnation.phase, incarnation.since) = (incarnation.phase.next(), now);
        }
        if incarnation.phase == Phase::Soak && incarnation.available_at.is_none() {
            let at = now.plus(min_ready);
            incarnation.available_at = Some(at);
            self.soaking.insert((at, uid.to_owned()));
        }
        self.passed(now);
    }

    fn pod_gone(&mut self, now: Timestamp, uid: &str) {
        let Some(incarnation) = self.pods.remove(uid) else { return };
        let error = (incarnation.phase < Phase::Drain).then_some("the pod is gone");
        self.spans.extend(incarnation.span(uid, now, error));
        if let Some(course) = self.ordinals.get_mut(&incarnation.place) {
            course.last = now;
        }
    }

    /// Names are served as of `revision`.
    pub(super) fn published(&mut self, now: Timestamp, revision: StoreRevision) {
        self.draining.retain(|uid| {
            let pod = self.pods.get_mut(uid).filter(|pod| pod.phase == Phase::Drain);
            let Some(incarnation) = pod else { return false };
            let withdrawn = incarnation.withdrawn_at.is_some_and(|at| at <= revision);
            if withdrawn {
                self.spans.extend(incarnation.span(uid, now, None));
                (incarnation.phase, incarnation.since) = (Phase::Stop, now);
            }
            !withdrawn
        });
    }

    /// Time has passed: who was ready for long enough is available, which ends the work on its ordinal.
    pub(super) fn passed(&mut self, now: Timestamp) {
        while let Some((at, uid)) = self.soaking.pop_first() {
            if at > now {
                self.soaking.insert((at, uid));
                return;
            }
            let Some(incarnation) = self.pods.get_mut(&uid).filter(|pod| pod.available_at == Some(at)) else {
                continue;
            };
            if at > incarnation.since {
                self.spans.extend(incarnation.span(&uid, at, None));
            }
            (incarnation.phase, incarnation.since, incarnation.available_at) = (Phase::Available, at, None);
            let (place, root) =
                (incarnation.place, self.sets.get(&incarnation.set).map(|running| running.rollout.root));
            if let Some(root) = root {
                self.record_ordinal(place, root, Some(at));
            }
        }
    }

    fn begin(&mut self, incarnation: &Incarnation, now: Timestamp) {
        if incarnation.phase != Phase::Available {
            self.ordinals.entry(incarnation.place).or_insert_with(|| Course::of(incarnation, now));
        }
    }

    fn record_ordinal(&mut self, place: SpanAddress, root: SpanAddress, end: Option<Timestamp>) {
        let Some(course) = self.ordinals.remove(&place) else { return };
        if self.recorded.insert(place, course.set.clone()).is_some() {
            return;
        }
        self.spans.push(PastSpan {
            attributes: vec![("k8s.pod.name", course.name.clone())],
            name: course.name.into(),
            address: place,
            parent: Some(root),
            start: course.since,
            end: end.unwrap_or(course.last),
            error: None,
        });
    }

    /// A pass decided something about the set with this uid.
    pub(super) fn decided(&mut self, now: Timestamp, set: &str, record: &Value) {
        let Some(mut running) = self.sets.remove(set) else { return };
        let waits = record.get("waits").map(Vec::<WaitRun>::deserialize).and_then(Result::ok).unwrap_or_default();
        let news = waits.into_iter().find(|wait| !is_shown_by_phases(&wait.reason));
        let news = news.map(|WaitRun { ordinal, reason, .. }| Wait { ordinal, reason });
        if running.wait.as_ref().map(|(_, wait)| wait) != news.as_ref() {
            self.end_wait(&mut running, now);
            running.wait = news.map(|wait| (now, wait));
        }
        self.sets.insert(set.to_owned(), running);
    }

    fn end_wait(&mut self, running: &mut Running, now: Timestamp) {
        let Some((since, wait)) = running.wait.take() else { return };
        let reason = wait.reason.to_string();
        let mut attributes = vec![("setkeeper.wait.reason", reason.clone())];
        attributes.extend(wait.ordinal.map(|ordinal| ("setkeeper.ordinal", ordinal.to_string())));
        self.spans.push(PastSpan {
            name: format!("wait: {reason}").into(),
            address: running.rollout.root.below(&format!("wait/{}/{reason}", since.0)),
            parent: Some(running.rollout.root),
            start: since,
            end: now,
            attributes,
            error: None,
        });
    }

    /// A timeline that has seen nothing, and does not tell of the ordinals that this one has told of.
    pub(super) fn anew(&mut self) -> Self {
        Self { recorded: std::mem::take(&mut self.recorded), ..Self::default() }
    }

    /// Takes up what somebody else was in the middle of: `set` with its pods. `decided_at`: when the process before decided
    /// something about it last; none where this is the same process, which only has not looked for a while.
    pub(super) fn resume(&mut self, now: Timestamp, set: &Object, pods: &[&Object], decided_at: Option<Timestamp>) {
        let Some(rollout) = Rollout::of(&set.value) else { return };
        let uid = set.uid().0;
        let lost = |at: Timestamp| at.plus(UNSENT_MAX) >= now;
        if rollout.completed_at.is_some_and(|completed| !lost(completed)) {
            return;
        }
        self.follow(uid.clone(), set, rollout);
        let moments = pods.iter().flat_map(|pod| [moment(pod, "Ready"), moment(pod, "PodScheduled")]).flatten();
        let seen = moments.chain(decided_at).fold(rollout.started_at, Timestamp::max).min(now);
        let latest = pods.iter().filter_map(|pod| moment(pod, "Ready")).max();
        for pod in pods {
            self.resume_pod(now, pod, rollout, latest);
        }
        if let Some(completed) = rollout.completed_at {
            self.end(&uid, completed, "complete", None);
        } else if decided_at.is_some() {
            self.spans.push(PastSpan {
                // From the last sign of life in what is stored; the end itself nobody wrote down.
                name: "wait: no coordinator".into(),
                address: rollout.root.below(&format!("away/{}", seen.0)),
                parent: Some(rollout.root),
                start: seen,
                end: now,
                attributes: vec![("setkeeper.wait.reason", "the coordinator was started anew".to_owned())],
                error: None,
            });
        }
    }

    fn resume_pod(&mut self, now: Timestamp, pod: &Object, rollout: Rollout, latest: Option<Timestamp>) {
        let Some(set) = pod.controller_uid() else { return };
        let own = rollout.of_pod(&pod.key.name);
        if place(&pod.value) != Some(own) {
            return;
        }
        let created = time(pod.text("/metadata/creationTimestamp")).unwrap_or(now);
        let phase = Phase::of(pod);
        let since = match phase {
            Phase::Start => moment(pod, "PodScheduled"),
            Phase::Ready => time(pod.text("/status/startTime")),
            Phase::Soak => moment(pod, "Ready"),
            Phase::Drain => time(pod.text("/metadata/deletionTimestamp")).map(|end| end.min(now)),
            _ => None,
        };
        let mut incarnation = Incarnation {
            set: set.to_owned(),
            name: pod.key.name.clone(),
            place: own,
            phase,
            since: since.unwrap_or(created).max(created),
            available_at: None,
            withdrawn_at: Some(StoreRevision::default()),
            trouble: None,
        };
        if phase == Phase::Soak {
            let min_ready = self.sets.get(set).map(|running| running.min_ready).unwrap_or_default();
            let at = incarnation.since.plus(min_ready);
            // Those that were told of long ago are not told of again.
            if latest.is_some_and(|latest| at.plus(UNSENT_MAX) < latest) {
                self.recorded.insert(own, set.to_owned());
                incarnation.phase = Phase::Available;
            } else {
                incarnation.available_at = Some(at);
                self.soaking.insert((at, pod.uid().0));
            }
        }
        self.ordinals.insert(own, Course { since: created, ..Course::of(&incarnation, created) });
        if phase == Phase::Drain {
            self.draining.insert(pod.uid().0);
        }
        self.pods.insert(pod.uid().0, incarnation);
        self.passed(now);
    }
}

impl Course {
    fn of(incarnation: &Incarnation, since: Timestamp) -> Self {
        Self { set: incarnation.set.clone(), name: incarnation.name.clone(), since, last: since }
    }
}

impl Running {
    fn span(&self, uid: &str, end: Timestamp, outcome: &'static str) -> PastSpan {
        PastSpan {
            name: format!("rollout {}", self.name).into(),
            address: self.rollout.root,
            parent: self.rollout.caller,
            start: self.rollout.started_at,
            end,
            attributes: vec![
                ("k8s.namespace.name", self.namespace.clone()),
                ("k8s.statefulset.name", self.name.clone()),
                ("k8s.statefulset.uid", uid.to_owned()),
                ("setkeeper.generation", self.generation.to_string()),
                ("setkeeper.outcome", outcome.to_owned()),
            ],
            error: None,
        }
    }
}

/// Whether the phases of a pod show that something waits for it.
fn is_shown_by_phases(reason: &WaitReason) -> bool {
    matches!(
        reason,
        WaitReason::Pending { .. }
            | WaitReason::NotReady { .. }
            | WaitReason::NotYetAvailable { .. }
            | WaitReason::Terminating { .. }
            | WaitReason::Missing { .. }
            | WaitReason::Ended { .. }
            | WaitReason::ScalingDown { .. }
            | WaitReason::BudgetSpent { .. }
    )
}
