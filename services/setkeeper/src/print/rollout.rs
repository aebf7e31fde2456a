//! How far a rolling update is, in the words of kubectl (StatefulSet rules, section 16).

use serde_json::Value;

use super::json::{list, number, text};

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rollout {
    /// It goes on.
    Waiting(String),
    /// It is done.
    Done(String),
    /// It cannot be told.
    Unavailable(String),
}

/// How far the rolling update of a set is.
#[must_use]
pub(crate) fn rollout(set: &Value) -> Rollout {
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
        if updated < wanted {
            return Rollout::Waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {wanted} new pods have been updated..."
            ));
        }
        return Rollout::Done(format!("partitioned roll out complete: {updated} new pods have been updated..."));
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
pub(crate) struct Progress {
    /// Pods that the rollout is done with.
    pub(crate) done: u64,
    /// Pods that the set wants.
    pub(crate) wanted: u64,
    /// Counts, and why it goes no further.
    pub(crate) text: String,
    /// Why it goes no further; empty where nothing waits.
    pub(crate) why: String,
}

/// Counts of a set, and what it waits for: the message of its condition Progressing.
#[must_use]
pub(crate) fn progress(set: &Value) -> Progress {
    let count = |pointer: &str| u64::try_from(number(set, pointer)).unwrap_or_default();
    let wanted = set.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let (ready, updated) = (count("/status/readyReplicas"), count("/status/updatedReplicas"));
    let conditions = list(set, "/status/conditions");
    let progressing = conditions.iter().find(|condition| text(condition, "/type") == "Progressing");
    let why = progressing.map_or("", |condition| text(condition, "/message")).to_owned();
    let mut text = format!("{updated}/{wanted} new, {ready}/{wanted} ready");
    if !why.is_empty() {
        text.push_str("; ");
        text.push_str(&why);
    }
    Progress { done: ready.min(updated).min(wanted), wanted, text, why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(strategy: &Value, status: &Value) -> Value {
        json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 3, "updateStrategy": strategy }, "status": status })
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
    fn the_words_follow_the_order_of_the_checks() {
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
                waiting("Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated..."),
            ),
            (
                &block,
                json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 2 }),
                done("partitioned roll out complete: 2 new pods have been updated..."),
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
