//! READY, STATUS and RESTARTS of a pod (pod rules, section 15).

use domain::Timestamp;
use serde_json::Value;

use super::age::age;
use super::json::{list, number, text};

/// What a line of a table says about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodSummary {
    /// Containers that are ready, sidecars included.
    pub(crate) ready: usize,
    /// Containers that there are, sidecars included.
    pub(crate) total: usize,
    /// One word on how it is.
    pub(crate) status: String,
    /// Restarts of all containers.
    pub(crate) restarts: i64,
    /// When the last restart began; empty where there was none.
    pub(crate) last_restart: String,
    /// Whether the condition Ready is True.
    pub(crate) is_ready: bool,
}

impl PodSummary {
    /// `1/1`.
    #[must_use]
    pub(crate) fn ready_column(&self) -> String {
        format!("{}/{}", self.ready, self.total)
    }

    /// `2 (5m ago)`.
    #[must_use]
    pub(crate) fn restarts_column(&self, now: Timestamp) -> String {
        if self.restarts == 0 || self.last_restart.is_empty() {
            return self.restarts.to_string();
        }
        format!("{} ({} ago)", self.restarts, age(&self.last_restart, now))
    }
}

/// Sums up a pod.
#[must_use]
pub(crate) fn summarize(pod: &Value) -> PodSummary {
    let reason = text(pod, "/status/reason");
    let phase = text(pod, "/status/phase");
    let mut summary = PodSummary {
        ready: 0,
        total: list(pod, "/spec/containers").len(),
        status: if reason.is_empty() { phase.to_owned() } else { reason.to_owned() },
        restarts: 0,
        last_restart: String::new(),
        is_ready: condition(pod, "Ready"),
    };
    let initialising = init_containers(pod, &mut summary);
    if !initialising || condition(pod, "Initialized") {
        containers(pod, &mut summary);
    }
    let terminal = matches!(phase, "Succeeded" | "Failed");
    if !text(pod, "/metadata/deletionTimestamp").is_empty() && !terminal {
        summary.status = "Terminating".to_owned();
    }
    summary
}

/// Returns whether the pod is still initialising.
fn init_containers(pod: &Value, summary: &mut PodSummary) -> bool {
    let specs = list(pod, "/spec/initContainers");
    let sidecar = |name: &str| {
        let spec = specs.iter().find(|spec| text(spec, "/name") == name);
        spec.is_some_and(|spec| text(spec, "/restartPolicy") == "Always")
    };
    summary.total += specs.iter().filter(|spec| text(spec, "/restartPolicy") == "Always").count();
    let mut done = 0;
    let mut initialising = false;
    for status in list(pod, "/status/initContainerStatuses") {
        let sidecar = sidecar(text(status, "/name"));
        count_restarts(status, summary);
        if sidecar && status["started"] == true {
            summary.ready += usize::from(status["ready"] == true);
            done += 1;
            continue;
        }
        let terminated = status.pointer("/state/terminated");
        if terminated.is_some_and(|state| number(state, "/exitCode") == 0) && !sidecar {
            done += 1;
            continue;
        }
        if initialising {
            continue;
        }
        initialising = true;
        summary.status = match terminated {
            Some(state) => format!("Init:{}", ended(state)),
            None => match text(status, "/state/waiting/reason") {
                "" | "PodInitializing" => format!("Init:{done}/{}", specs.len()),
                reason => format!("Init:{reason}"),
            },
        };
    }
    initialising
}

fn containers(pod: &Value, summary: &mut PodSummary) {
    let mut running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        count_restarts(status, summary);
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            summary.status = waiting.to_owned();
        } else if let Some(state) = status.pointer("/state/terminated") {
            summary.status = ended(state);
        } else if status["ready"] == true && status.pointer("/state/running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" && running {
        summary.status = if summary.is_ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn ended(state: &Value) -> String {
    match (text(state, "/reason"), number(state, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(state, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn count_restarts(status: &Value, summary: &mut PodSummary) {
    summary.restarts += number(status, "/restartCount");
    let ended = text(status, "/lastState/terminated/finishedAt");
    // RFC 3339 in UTC sorts as text.
    if ended > summary.last_restart.as_str() {
        summary.last_restart = ended.to_owned();
    }
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: Value) -> Value {
        json!({ "metadata": {}, "spec": { "containers": [{ "name": "a" }, { "name": "b" }],
                "initContainers": [{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }] }, "status": status })
    }

    fn line(pod: &Value) -> String {
        let summary = summarize(pod);
        format!("{} {} {}", summary.ready_column(), summary.status, summary.restarts_column(Timestamp(3_600_000)))
    }

    #[test]
    fn a_pod_is_summed_up_as_in_kubectl() {
        let running = json!({ "running": {} });
        let done = json!({ "name": "i", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } });
        let sidecar = json!({ "name": "s", "started": true, "ready": true, "state": running });
        let init_done = json!([done, sidecar]);
        let initialized = json!([{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": "True" }]);
        for (status, expected) in [
            (json!({ "phase": "Pending" }), "0/3 Pending 0"),
            (json!({ "phase": "Failed", "reason": "Evicted" }), "0/3 Evicted 0"),
            (
                json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "running": {} } }] }),
                "0/3 Init:0/2 0",
            ),
            (
                json!({ "phase": "Pending", "initContainerStatuses": [done, { "name": "s", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] }),
                "0/3 Init:CrashLoopBackOff 0",
            ),
            (
                json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "terminated": { "exitCode": 3 } } }] }),
                "0/3 Init:ExitCode:3 0",
            ),
            (
                json!({ "phase": "Pending", "initContainerStatuses": init_done,
                    "containerStatuses": [{ "name": "a", "state": { "waiting": { "reason": "ContainerCreating" } } }] }),
                "1/3 ContainerCreating 0",
            ),
            (
                json!({ "phase": "Running", "initContainerStatuses": init_done, "conditions": initialized, "containerStatuses": [
                    { "name": "a", "ready": true, "state": running },
                    { "name": "b", "ready": true, "state": running, "restartCount": 2,
                      "lastState": { "terminated": { "finishedAt": "1970-01-01T00:55:00Z" } } }] }),
                "3/3 Running 2 (5m ago)",
            ),
            (
                json!({ "phase": "Running", "initContainerStatuses": init_done, "containerStatuses": [
                    { "name": "a", "state": { "waiting": { "reason": "CrashLoopBackOff" } } },
                    { "name": "b", "state": { "terminated": { "exitCode": 1, "reason": "Error" } } }] }),
                "1/3 CrashLoopBackOff 0",
            ),
            (
                json!({ "phase": "Running", "initContainerStatuses": init_done, "containerStatuses": [
                    { "name": "a", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } },
                    { "name": "b", "ready": true, "state": running }] }),
                "2/3 NotReady 0",
            ),
            (
                json!({ "phase": "Running", "initContainerStatuses": init_done, "containerStatuses": [
                    { "name": "a", "state": { "terminated": { "exitCode": 137, "signal": 9 } } }] }),
                "1/3 Signal:9 0",
            ),
        ] {
            assert_eq!(line(&pod(status.clone())), expected, "{status}");
        }
    }

    #[test]
    fn a_pod_that_is_going_says_so_until_it_has_ended() {
        let mut going = pod(json!({ "phase": "Running" }));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(summarize(&going).status, "Terminating");
        going["status"]["phase"] = json!("Failed");
        assert_eq!(summarize(&going).status, "Failed");
    }
}
