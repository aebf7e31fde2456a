//! How far a rolling update is, in the words of kubectl (StatefulSet rules, section 16).

mod partition;

use domain::WaitReason;
use serde_json::Value;

pub use self::partition::reach;
use crate::manifest::PAUSED_ANNOTATION;
use crate::object::{list, number, text};

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// It goes on.
    Waiting(String),
    /// It is done.
    Done(String),
    /// It exceeded its deadline.
    Stuck(String),
    /// It cannot be told.
    Unavailable(String),
}

/// How far the rolling update of a set is: what kubectl says, and where that is to wait although the set says that its
/// deadline has passed, that.
#[must_use]
pub fn rollout(set: &Value) -> Rollout {
    let rollout = of_kubectl(set);
    let observed = number(set, "/status/observedGeneration") >= number(set, "/metadata/generation");
    let progressing = progressing(set).filter(|condition| {
        text(condition, "/status") == "False" && text(condition, "/reason") == "ProgressDeadlineExceeded"
    });
    match (rollout, progressing) {
        (Rollout::Waiting(_), Some(condition)) if observed => {
            let (name, message) = (text(set, "/metadata/name"), text(condition, "/message"));
            Rollout::Stuck(format!("statefulset {name:?} exceeded its progress deadline: {message}"))
        }
        (rollout, _) => rollout,
    }
}

/// The condition that tells whether it goes on, and what holds it up.
fn progressing(set: &Value) -> Option<&Value> {
    list(set, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Progressing")
}

/// The trace of the latest rollout of a set, where traces are recorded.
#[must_use]
pub fn trace_id(set: &Value) -> Option<&str> {
    Some(text(set, "/status/rollout/traceId")).filter(|trace| !trace.is_empty())
}

/// Whether updates of a set stand still because somebody wants it.
#[must_use]
pub fn is_paused(set: &Value) -> bool {
    let annotation = set.pointer("/metadata/annotations").and_then(|all| all.get(PAUSED_ANNOTATION));
    set.pointer("/spec/paused") == Some(&Value::Bool(true)) || annotation.is_some_and(|paused| paused == "true")
}

fn of_kubectl(set: &Value) -> Rollout {
    let strategy = text(set, "/spec/updateStrategy/type");
    if strategy != "RollingUpdate" && !strategy.is_empty() {
        return Rollout::Unavailable("rollout status is only available for RollingUpdate strategy type".to_owned());
    }
    let observed = number(set, "/status/observedGeneration");
    if observed == 0 || observed < number(set, "/metadata/generation") {
        return Rollout::Waiting("Waiting for statefulset spec update to be observed...".to_owned());
    }
    let replicas = set.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let ready = number(set, "/status/readyReplicas");
    if ready < replicas {
        return Rollout::Waiting(format!("Waiting for {} pods to be ready...", replicas - ready));
    }
    let updated = number(set, "/status/updatedReplicas");
    if set.pointer("/spec/updateStrategy/rollingUpdate").is_some_and(Value::is_object) {
        let wanted = replicas - number(set, "/spec/updateStrategy/rollingUpdate/partition");
        // After kubectl's words, so that who looks for those finds them.
        let reach = reach(set).map_or_else(String::new, |pods| format!(" (the partition lets {pods} go)"));
        if updated < wanted {
            return Rollout::Waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {wanted} new pods have been updated...{reach}"
            ));
        }
        return Rollout::Done(format!("partitioned roll out complete: {updated} new pods have been updated...{reach}"));
    }
    let (current, update) = (text(set, "/status/currentRevision"), text(set, "/status/updateRevision"));
    if current != update {
        return Rollout::Waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {update}..."
        ));
    }
    let at_current = number(set, "/status/currentReplicas");
    Rollout::Done(format!("statefulset rolling update complete {at_current} pods at revision {current}..."))
}

/// How far it is, for a line that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Pods that the rollout is done with.
    pub done: u64,
    /// Pods that the set wants.
    pub wanted: u64,
    /// Counts, and why it goes no further.
    pub text: String,
    /// Why it goes no further; empty where nothing waits.
    pub why: String,
    /// Whether that is more than the usual turns of an update: pods are not ready, or somebody paused it.
    pub held: bool,
}

/// Counts of a set, and what it waits for: the message of its condition Progressing.
#[must_use]
pub fn progress(set: &Value) -> Progress {
    let count = |pointer: &str| u64::try_from(number(set, pointer)).unwrap_or_default();
    let wanted = set.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let (ready, updated) = (count("/status/readyReplicas"), count("/status/updatedReplicas"));
    let mut why = progressing(set).map_or("", |condition| text(condition, "/message")).to_owned();
    if is_paused(set) {
        let name = text(set, "/metadata/name");
        let paused = format!("updates are paused: `setkeeper rollout resume sts/{name}` lets them go on");
        let said = WaitReason::Paused.to_string();
        // The set says so too, without the command.
        why = match why.as_str() {
            "" => paused,
            message if message.contains(&said) => message.replacen(&said, &paused, 1),
            message => format!("{paused}; {message}"),
        };
    }
    let mut text = format!("{updated}/{wanted} new, {ready}/{wanted} ready");
    if !why.is_empty() {
        text.push_str("; ");
        text.push_str(&why);
    }
    let held = ready < wanted || is_paused(set);
    Progress { done: ready.min(updated).min(wanted), wanted, text, why, held }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(strategy: &Value, status: &Value) -> Value {
        json!({ "metadata": { "name": "web", "generation": 2 }, "spec": { "replicas": 3, "updateStrategy": strategy }, "status": status })
    }

    /// A set as the coordinator stores it: three pods, the highest of which does not become ready.
    fn stuck(progressing: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": { "name": "web", "namespace": "default", "generation": 3 },
            "spec": { "replicas": 3, "podManagementPolicy": "OrderedReady",
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0, "maxUnavailable": 1 } } },
            "status": { "observedGeneration": 3, "replicas": 3, "readyReplicas": 2, "availableReplicas": 2,
                "currentReplicas": 2, "updatedReplicas": 2, "currentRevision": "web-a", "updateRevision": "web-a",
                "conditions": [
                    { "type": "Available", "status": "False", "reason": "PodsUnavailable" },
                    progressing,
                ] },
        })
    }

    #[test]
    fn s_184_a_partition_is_done_with_its_own_part() {
        let block = json!({ "rollingUpdate": { "partition": 2 } });
        let status = json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1 });
        let done =
            "partitioned roll out complete: 1 new pods have been updated... (the partition lets web-2 and above go)";
        assert_eq!(rollout(&set(&block, &status)), Rollout::Done(done.to_owned()));
    }

    #[test]
    fn s_187_a_stuck_set_says_which_pod_and_why() {
        let waiting = stuck(&json!({ "type": "Progressing", "status": "True", "reason": "Waiting",
            "message": "waiting for pod 2 to become ready" }));
        assert_eq!(rollout(&waiting), Rollout::Waiting("Waiting for 1 pods to be ready...".to_owned()));
        assert_eq!(progress(&waiting).why, "waiting for pod 2 to become ready");
        let exceeded = stuck(&json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "pod 2: ImagePullBackOff" }));
        let text = "statefulset \"web\" exceeded its progress deadline: pod 2: ImagePullBackOff";
        assert_eq!(rollout(&exceeded), Rollout::Stuck(text.to_owned()));
        // What was said of an earlier spec is no news of this one.
        let mut newer = exceeded;
        newer["metadata"]["generation"] = 4.into();
        assert!(matches!(rollout(&newer), Rollout::Waiting(_)));
    }

    #[test]
    fn s_188_readiness_is_enough_for_kubectl() {
        let block = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } });
        let status =
            json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3, "availableReplicas": 1 });
        let done = "partitioned roll out complete: 3 new pods have been updated...";
        assert_eq!(rollout(&set(&block, &status)), Rollout::Done(done.to_owned()));
    }

    #[test]
    fn a_pause_is_said_whichever_way_it_was_made() {
        let waits = json!({ "type": "Progressing", "status": "True",
            "message": "updates are paused: resume the rollout; waiting for pod 2 to terminate" });
        let mut own = stuck(&waits);
        own["spec"]["paused"] = true.into();
        let mut plain = stuck(&waits);
        plain["metadata"]["annotations"] = json!({ PAUSED_ANNOTATION: "true" });
        for set in [own, plain] {
            let why = progress(&set).why;
            assert_eq!(
                why,
                "updates are paused: `setkeeper rollout resume sts/web` lets them go on; waiting for pod 2 to terminate"
            );
        }
    }

    #[test]
    fn progress_says_what_is_waited_for() {
        let strategy = json!({ "type": "RollingUpdate" });
        let status = json!({ "readyReplicas": 2, "updatedReplicas": 1, "conditions": [
            { "type": "Progressing", "status": "True", "message": "waiting for pod 2 to become ready" }] });
        let progress = progress(&set(&strategy, &status));
        assert_eq!((progress.done, progress.wanted), (1, 3));
        assert_eq!(progress.text, "1/3 new, 2/3 ready; waiting for pod 2 to become ready");
    }

    #[test]
    fn s_183_s_185_s_186_the_words_follow_the_order_of_the_checks() {
        let block = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } });
        let no_block = json!({ "type": "RollingUpdate" });
        let waiting = |text: &str| Rollout::Waiting(text.to_owned());
        let done = |text: &str| Rollout::Done(text.to_owned());
        for (strategy, status, expected) in [
            (
                &json!({ "type": "OnDelete" }),
                json!({}),
                Rollout::Unavailable("rollout status is only available for RollingUpdate strategy type".to_owned()),
            ),
            (&block, json!({}), waiting("Waiting for statefulset spec update to be observed...")),
            (
                &block,
                json!({ "observedGeneration": 1, "readyReplicas": 3 }),
                waiting("Waiting for statefulset spec update to be observed..."),
            ),
            (
                &block,
                json!({ "observedGeneration": 2, "readyReplicas": 1 }),
                waiting("Waiting for 2 pods to be ready..."),
            ),
            (
                &block,
                json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1 }),
                waiting(
                    "Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated... \
                     (the partition lets web-1 and above go)",
                ),
            ),
            (
                &block,
                json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 2 }),
                done(
                    "partitioned roll out complete: 2 new pods have been updated... (the partition lets web-1 and above go)",
                ),
            ),
            (
                &no_block,
                json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 2,
                        "currentRevision": "web-a", "updateRevision": "web-b" }),
                waiting("waiting for statefulset rolling update to complete 2 pods at revision web-b..."),
            ),
            (
                &no_block,
                json!({ "observedGeneration": 2, "readyReplicas": 3, "currentReplicas": 3,
                        "currentRevision": "web-b", "updateRevision": "web-b" }),
                done("statefulset rolling update complete 3 pods at revision web-b..."),
            ),
        ] {
            assert_eq!(rollout(&set(strategy, &status)), expected);
        }
    }
}
