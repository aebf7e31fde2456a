//! What a machine reports of a pod, and when others may see it.
//!
//! Readiness is announced only when the pod's names are served (DNS rules, N4): the names come first, the status after.

use std::sync::Arc;
use std::time::Duration;

use api::manifest::Kind;
use api::proto::coordinator::v1::ReportPodStatusRequest;
use domain::{Timestamp, Uid};
use serde_json::{Map, Value};
use service_kit::Context;
use service_kit::telemetry::SpanAddress;

use crate::events::{self, Event};
use crate::machines::fence;
use crate::names::Names;
use crate::objects::{condition, object_mut, set_condition};
use crate::rollouts;
use crate::sets::{Expected, Sets};
use crate::store::{CommitError, StoreRevision};
use crate::world::{Key, Object, Transaction, World};

/// Tries of one report against others who write the same pod at the same time. Each loss means someone else won.
const TRIES_MAX: u32 = 16;

/// How long a report waits for the names of a pod that became ready. The machine reports again after that.
pub(crate) const ANNOUNCE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a pod that its machine calls ready is not: its names do not lead to it yet.
pub(crate) const NAMES_NOT_SERVED: &str = "NamesNotServed";

/// Why a report is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// No such incarnation is stored.
    #[error("pod {key} with uid {uid} is not stored: clean it up")]
    Gone {
        /// Which.
        key: Key,
        /// Which incarnation.
        uid: Uid,
    },
    /// The status makes no sense.
    #[error("status: {0}")]
    Invalid(String),
    /// Another machine runs this pod.
    #[error("pod {key} runs on machine {node:?}, not on the one that reports")]
    OtherMachine {
        /// Which.
        key: Key,
        /// Who has it.
        node: String,
    },
    /// The names of a ready pod could not be served in time.
    #[error("the names of {key} are not served yet: {why}")]
    NotServed {
        /// Which.
        key: Key,
        /// Why.
        why: String,
    },
    /// The store cannot take it now.
    #[error("the report could not be stored")]
    Store(#[from] CommitError),
}

/// Takes reports.
#[derive(Debug, Clone)]
pub(crate) struct Reports {
    pub(crate) world: Arc<World>,
    pub(crate) names: Arc<Names>,
    pub(crate) sets: Arc<Sets>,
    pub(crate) context: Context,
}

/// One report.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// Who reports.
    pub(crate) node: String,
    /// Which pod.
    pub(crate) key: Key,
    /// Which incarnation.
    pub(crate) uid: Uid,
    /// Its status.
    pub(crate) status: Map<String, Value>,
    /// Whether nothing of it is left on the machine.
    pub(crate) stopped: bool,
}

impl Report {
    /// Reads a report off the wire.
    pub(crate) fn new(request: &ReportPodStatusRequest) -> Result<Self, ReportError> {
        let status: Value =
            serde_json::from_slice(&request.status).map_err(|error| ReportError::Invalid(error.to_string()))?;
        let Value::Object(status) = status else { return Err(ReportError::Invalid("must be an object".to_owned())) };
        let phase = status.get("phase").and_then(Value::as_str).unwrap_or_default();
        if !["Pending", "Running", "Succeeded", "Failed", "Unknown"].contains(&phase) {
            return Err(ReportError::Invalid(format!(
                "phase: {phase:?} is none of Pending, Running, Succeeded, Failed"
            )));
        }
        let key = Key::new(Kind::Pod, &request.namespace, &request.name);
        let (node, uid) = (request.node.clone(), Uid(request.uid.clone()));
        Ok(Self { node, key, uid, status, stopped: request.stopped })
    }
}

/// What came of serving the names of a pod.
#[derive(Debug, Default)]
struct Announced {
    /// The place of the pod in its rollout, and from when to when that was done. By the time the report is stored the rollout
    /// may be complete, and no longer under way.
    served: Option<(SpanAddress, Timestamp, Timestamp)>,
    /// What a pass goes along with meanwhile, if the pod becomes ready.
    expected: Option<Expected>,
}

impl Reports {
    /// Stores a report and returns the revision that holds it.
    pub(crate) async fn take(&self, report: &Report) -> Result<StoreRevision, ReportError> {
        let mut served = None;
        for _ in 0..TRIES_MAX {
            let gone = || ReportError::Gone { key: report.key.clone(), uid: report.uid.clone() };
            let pod = self.world.get(&report.key).filter(|pod| pod.uid() == report.uid).ok_or_else(gone)?;
            if fence::is_released(&pod) {
                self.names.withdraw(&pod.key);
                return Err(gone());
            }
            let node = pod.text("/spec/nodeName");
            if node != report.node {
                return Err(ReportError::OtherMachine { key: report.key.clone(), node: node.to_owned() });
            }
            let mut transaction = Transaction::default();
            let (mut refused, mut expected) = (None, None);
            if report.stopped && pod.deleting() && pod.finalizers().next().is_none() {
                transaction.delete(&pod);
            } else if let Some(value) = merged(&pod, &self.reported(report, &pod)) {
                match self.announce(&pod, &value).await {
                    Ok(announced) => {
                        // What took its time is told once, with the try that took it.
                        served = served.or(announced.served);
                        expected = announced.expected;
                        transaction.update(&pod, value);
                    }
                    Err(error) => {
                        self.not_served(&mut transaction, &pod, value, &error);
                        refused = Some(error);
                    }
                }
            } else {
                self.names.withdraw(&pod.key);
            }
            match self.sets.commit_report(transaction, expected).await {
                Ok(revision) => {
                    if let Some((place, began, ended)) = served.filter(|_| refused.is_none()) {
                        rollouts::named(place, &pod, began, ended);
                    }
                    return refused.map_or(Ok(revision), Err);
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReportError::NotServed { key: report.key.clone(), why: "too many writers at once".to_owned() })
    }

    /// The status to store. A deleted pod that a finalizer holds has ended once its machine says so: nothing of it runs
    /// that its removal would have to wait for.
    fn reported(&self, report: &Report, pod: &Object) -> Map<String, Value> {
        let mut status = report.status.clone();
        let ended = status.get("phase").is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
        if report.stopped && pod.deleting() && !ended {
            status.insert("phase".to_owned(), "Failed".into());
        }
        status
    }

    /// Stores all of a report but that the pod is ready, and why not: its names are not served. The machine reports
    /// again, so this heals by itself.
    fn not_served(&self, transaction: &mut Transaction, pod: &Object, mut value: Value, error: &ReportError) {
        let now = self.context.clock.now();
        let status = object_mut(&mut value, "status");
        let before = condition(&pod.value, "Ready").cloned();
        let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
        if let Some(place) = conditions.and_then(|all| all.iter_mut().find(|one| one["type"] == "Ready")) {
            // As it was, so that its time of transition stays.
            *place = before.map_or_else(|| serde_json::json!({ "type": "Ready", "status": "False" }), Value::Object);
        }
        let message = error.to_string();
        set_condition(status, "Ready", "False", (NAMES_NOT_SERVED, &message), now);
        if value != pod.value {
            let event = Event::warning(NAMES_NOT_SERVED, message);
            events::record(transaction, &self.world, (&pod.key, &pod.uid().0), "coordinator", &event, now);
            transaction.update(pod, value);
        }
    }

    /// Serves the names of a pod that becomes ready, before anyone can read so. Meanwhile a pass may plan what follows.
    async fn announce(&self, pod: &Arc<Object>, value: &Value) -> Result<Announced, ReportError> {
        if pod.deleting() || !names_appear(&pod.value, value) {
            self.names.withdraw(&pod.key);
            return Ok(Announced::default());
        }
        // At no revision yet.
        let after = Arc::new(Object::new(pod.key.clone(), value.clone(), StoreRevision::default()));
        let (began, place) = (self.context.clock.now(), rollouts::place_under_way(&self.world, pod));
        let expected = self.sets.expect_before_names(pod, &after);
        let asked = self.context.clock.monotonic();
        let announced = tokio::time::timeout(ANNOUNCE_WAIT_MAX, self.names.announce(&after)).await;
        let why = match announced {
            Ok(Ok(())) => {
                let served = place.map(|place| (place, began, self.context.clock.now()));
                self.sets.names_took(Some(self.context.clock.monotonic().saturating_sub(asked)));
                let expected = expected.filter(Expected::may_be_followed).or_else(|| self.sets.expect(pod, &after));
                return Ok(Announced { served, expected });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "identity-dns did not answer in time".to_owned(),
        };
        self.sets.names_took(None);
        Err(ReportError::NotServed { key: pod.key.clone(), why })
    }
}

/// Whether a status change makes names appear that lead to a ready pod. An address alone is published when it is stored.
fn names_appear(before: &Value, after: &Value) -> bool {
    let ready =
        |value: &Value| condition(value, "Ready").is_some_and(|ready| ready.get("status").is_some_and(|s| s == "True"));
    let ip = |value: &Value| value.pointer("/status/podIP").cloned();
    ready(after) && (!ready(before) || ip(after) != ip(before))
}

/// The pod with the reported status; none if that changes nothing. What the machine does not report is kept: PodScheduled
/// is the coordinator's own, and conditions of others (readiness gates) belong to whoever set them.
fn merged(pod: &Object, reported: &Map<String, Value>) -> Option<Value> {
    let mut status = reported.clone();
    let theirs = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let named =
        |condition: &Value, among: &[Value]| among.iter().any(|other| other.get("type") == condition.get("type"));
    let ours = pod.value.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = ours.into_iter().filter(|condition| !named(condition, &theirs)).collect();
    conditions.extend(theirs);
    status.insert("conditions".to_owned(), Value::Array(conditions));
    let mut value = pod.value.clone();
    value.as_object_mut()?.insert("status".to_owned(), Value::Object(status));
    (value != pod.value).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_keeps_the_conditions_of_others_and_writes_nothing_twice() {
        let key = Key::new(Kind::Pod, "default", "web-0");
        let stored = json!({"metadata": {"uid": "u"}, "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]}});
        let pod = Object::new(key.clone(), stored, StoreRevision(1));
        let report = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let first = merged(&pod, report.as_object().unwrap()).unwrap();
        let kinds: Vec<_> =
            first["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
        assert_eq!(kinds, ["PodScheduled", "Ready"]);
        assert!(names_appear(&pod.value, &first));
        let again = Object::new(key, first, StoreRevision(2));
        assert_eq!(merged(&again, report.as_object().unwrap()), None);
    }
}
