//! What is told about a pod: phase, conditions, container statuses (pod rules, sections 2 to 4). Pure.

use domain::Timestamp;
use serde_json::{Map, Value, json};

use super::decide::{Intent, View, restarts};
use super::record::{ContainerMemory, ContainerRecord, Memory, Record, Told};
use crate::backend::Exit;
use crate::spec::{Container, Pod, Role};

/// Condition that tells what of the manifest this machine does not enforce.
const ENFORCED: &str = "setkeeper.dev/Enforced";

/// The text that is told while a container rests between two runs.
#[must_use]
pub fn back_off_message(pod: &Pod, container: &Container, delay_seconds: u32) -> String {
    let delay = if delay_seconds < 60 {
        format!("{delay_seconds}s")
    } else {
        format!("{}m{}s", delay_seconds / 60, delay_seconds % 60)
    };
    let meta = &pod.metadata;
    format!(
        "back-off {delay} restarting failed container={} pod={}_{}({})",
        container.name, meta.name, meta.namespace, meta.uid
    )
}

/// Wall-clock time as the API writes it: RFC 3339, whole seconds.
#[must_use]
pub fn rfc3339(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(moment.0).unwrap_or_default();
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The whole status. Conditions that changed are noted in the record.
pub(crate) fn pod_status(view: &View<'_>, record: &mut Record, memory: &Memory) -> Value {
    let pod = view.pod;
    let phase = phase(view, record);
    let mut status = Map::new();
    status.insert("phase".into(), json!(phase));
    if let Some(generation) = pod.metadata.generation {
        status.insert("observedGeneration".into(), json!(generation));
    }
    if let Some(outcome) = record.outcome.as_ref().filter(|outcome| !outcome.reason.is_empty()) {
        status.insert("reason".into(), json!(outcome.reason));
        status.insert("message".into(), json!(outcome.message));
    }
    status.insert("hostIP".into(), json!(view.host_ip));
    status.insert("hostIPs".into(), json!([{"ip": view.host_ip}]));
    if let Some(ip) = record.ip {
        status.insert("podIP".into(), json!(ip.to_string()));
        status.insert("podIPs".into(), json!([{"ip": ip.to_string()}]));
    }
    status.insert("startTime".into(), json!(rfc3339(record.started_at)));
    status.insert("qosClass".into(), json!(qos_class(pod)));
    status.insert("conditions".into(), conditions(view, record, phase));
    let statuses = |init: bool| -> Vec<Value> {
        let wanted = pod.containers().filter(|(role, _)| (*role != Role::Regular) == init);
        wanted.map(|(role, container)| container_status(view, record, memory, role, container)).collect()
    };
    if !pod.spec.init_containers.is_empty() {
        status.insert("initContainerStatuses".into(), json!(statuses(true)));
    }
    status.insert("containerStatuses".into(), json!(statuses(false)));
    Value::Object(status)
}

fn phase(view: &View<'_>, record: &Record) -> &'static str {
    if let Some(outcome) = &record.outcome {
        let over = !record.containers.values().any(ContainerRecord::running);
        if over {
            return if outcome.succeeded { "Succeeded" } else { "Failed" };
        }
    }
    let regular = &view.pod.spec.containers;
    let all_ran = regular.iter().all(|container| record.containers[&container.name].ever_ran());
    if all_ran && !regular.is_empty() { "Running" } else { "Pending" }
}

struct Condition {
    r#type: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

impl Condition {
    fn new(r#type: &'static str, status: bool, reason: &'static str, message: String) -> Self {
        Self { r#type, status, reason, message }
    }
}

fn conditions(view: &View<'_>, record: &mut Record, phase: &str) -> Value {
    let mut all = vec![
        Condition::new("PodReadyToStartContainers", record.sandbox, "", String::new()),
        initialized(view, record, phase),
    ];
    let ready = containers_ready(view, record, phase);
    all.push(pod_ready(view, &ready));
    all.push(ready);
    if !view.not_enforced.is_empty() {
        all.push(Condition::new(ENFORCED, false, "NotEnforced", view.not_enforced.join("; ")));
    }
    let list = all.into_iter().map(|condition| told(view, record, condition));
    let list: Vec<Value> = list.collect();
    json!(list)
}

fn told(view: &View<'_>, record: &mut Record, condition: Condition) -> Value {
    let wall = view.now.wall;
    let fresh = Told { status: condition.status, since: wall };
    let told = record.conditions.entry(condition.r#type.to_owned()).or_insert_with(|| fresh.clone());
    if told.status != condition.status {
        *told = fresh;
    }
    let mut value = json!({
        "type": condition.r#type,
        "status": if condition.status { "True" } else { "False" },
        "lastTransitionTime": rfc3339(told.since),
    });
    if !condition.reason.is_empty() {
        value["reason"] = json!(condition.reason);
    }
    if !condition.message.is_empty() {
        value["message"] = json!(condition.message);
    }
    if let Some(generation) = view.pod.metadata.generation {
        value["observedGeneration"] = json!(generation);
    }
    value
}

fn initialized(view: &View<'_>, record: &Record, phase: &str) -> Condition {
    let ran = |container: &Container| record.containers[&container.name].ever_ran();
    if record.initialized || view.pod.spec.containers.iter().any(ran) {
        let reason = if phase == "Succeeded" { "PodCompleted" } else { "" };
        return Condition::new("Initialized", true, reason, String::new());
    }
    let pending = |container: &&Container| !record.containers[&container.name].done;
    let names = names(view.pod.spec.init_containers.iter().filter(pending));
    if names.is_empty() {
        return Condition::new("Initialized", true, "", String::new());
    }
    let message = format!("containers with incomplete status: [{names}]");
    Condition::new("Initialized", false, "ContainersNotInitialized", message)
}

fn containers_ready(view: &View<'_>, record: &Record, phase: &str) -> Condition {
    match phase {
        "Succeeded" => return Condition::new("ContainersReady", false, "PodCompleted", String::new()),
        "Failed" => return Condition::new("ContainersReady", false, "PodFailed", String::new()),
        _ => {}
    }
    let counted = view.pod.containers().filter(|(role, _)| *role != Role::Init).map(|(_, container)| container);
    let names = names(counted.filter(|container| !record.containers[&container.name].ready));
    if names.is_empty() && phase == "Running" {
        return Condition::new("ContainersReady", true, "", String::new());
    }
    Condition::new("ContainersReady", false, "ContainersNotReady", format!("containers with unready status: [{names}]"))
}

fn pod_ready(view: &View<'_>, containers: &Condition) -> Condition {
    if !containers.status {
        return Condition::new("Ready", false, containers.reason, containers.message.clone());
    }
    let known = &view.pod.status.conditions;
    let open = |gate: &String| !known.iter().any(|known| known.r#type == *gate && known.status == "True");
    let gates = view.pod.spec.readiness_gates.iter().map(|gate| gate.condition_type.clone());
    let open: Vec<String> = gates.filter(open).collect();
    if open.is_empty() {
        return Condition::new("Ready", true, "", String::new());
    }
    let message = format!("conditions of readiness gates that are not True: [{}]", open.join(" "));
    Condition::new("Ready", false, "ReadinessGatesNotReady", message)
}

fn names<'a>(containers: impl Iterator<Item = &'a Container>) -> String {
    containers.map(|container| container.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn container_status(view: &View<'_>, record: &Record, memory: &Memory, role: Role, container: &Container) -> Value {
    let known = &record.containers[&container.name];
    let nothing = ContainerMemory::default();
    let busy = memory.containers.get(&container.name).unwrap_or(&nothing);
    let id = |instance: u32| format!("setkeeper://{}/{}/{instance}", view.pod.metadata.uid, container.name);
    let mut status = json!({
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "restartCount": known.restart_count(),
        "ready": if role == Role::Init { known.done } else { known.ready },
        "started": known.running() && known.started_at.is_some() && known.post_started,
        "state": state(view, record, memory, role, container, known, busy, &id),
        "lastState": {},
    });
    let resting = known.exit.as_ref().filter(|exit| will_restart(view, record, role, container, exit));
    let resting = resting.map(|exit| (exit, &known.last_words, known.instance.unwrap_or(0)));
    let before = known.last_exit.as_ref();
    let before = before.map(|exit| (exit, &known.last_exit_words, known.instance.unwrap_or(1).saturating_sub(1)));
    if let Some((exit, words, instance)) = resting.or(before) {
        status["lastState"] = terminated(exit, words, &id(instance));
    }
    if known.running() || known.exit.is_some() {
        status["containerID"] = json!(id(known.instance.unwrap_or(0)));
    }
    status
}

fn will_restart(view: &View<'_>, record: &Record, role: Role, container: &Container, exit: &Exit) -> bool {
    let alive = view.intent == Intent::Run && record.outcome.is_none();
    alive && restarts(view.pod, role, container, exit.exit_code) && !(role == Role::Init && exit.exit_code == 0)
}

#[expect(clippy::too_many_arguments, reason = "one place computes it; a struct would only rename them")]
fn state(
    view: &View<'_>,
    record: &Record,
    memory: &Memory,
    role: Role,
    container: &Container,
    known: &ContainerRecord,
    busy: &ContainerMemory,
    id: &dyn Fn(u32) -> String,
) -> Value {
    let waiting = |reason: &str, message: &str| {
        let mut waiting = json!({"reason": reason});
        if !message.is_empty() {
            waiting["message"] = json!(message);
        }
        json!({"waiting": waiting})
    };
    if let Some(since) = known.running_since {
        if let Some(failure) = &busy.post_start_failure {
            return waiting("PostStartHookError", failure);
        }
        if !known.post_started {
            return waiting(creating(view.pod), "the postStart hook runs");
        }
        return json!({"running": {"startedAt": rfc3339(since)}});
    }
    if let Some(exit) = &known.exit {
        if will_restart(view, record, role, container, exit) {
            let delay = known.backoff.delay_seconds;
            let resting = known.backoff.due(exit.finished_at) > view.now.steady;
            if resting {
                return waiting("CrashLoopBackOff", &back_off_message(view.pod, container, delay));
            }
        }
        return terminated(exit, &known.last_words, &id(known.instance.unwrap_or(0)));
    }
    if let Some(failure) = &busy.start.failure {
        return waiting(&failure.reason, &failure.message);
    }
    if let Some(exit) = &known.last_exit {
        let instance = known.instance.unwrap_or(1).saturating_sub(1);
        return terminated(exit, &known.last_exit_words, &id(instance));
    }
    let failure = memory.volumes.failure.as_ref().or(memory.sandbox.failure.as_ref());
    waiting(creating(view.pod), failure.map_or("", |failure| &failure.message))
}

fn creating(pod: &Pod) -> &'static str {
    if pod.spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" }
}

fn terminated(exit: &Exit, words: &str, id: &str) -> Value {
    let mut terminated = json!({
        "exitCode": exit.exit_code,
        "reason": exit.reason,
        "startedAt": rfc3339(exit.started_at),
        "finishedAt": rfc3339(exit.finished_at),
        "containerID": id,
    });
    if let Some(signal) = exit.signal {
        terminated["signal"] = json!(signal);
    }
    let message = if words.is_empty() { &exit.message } else { words };
    if !message.is_empty() {
        terminated["message"] = json!(message);
    }
    json!({"terminated": terminated})
}

/// Quality of service by requests and limits (pod rules, 12.1).
fn qos_class(pod: &Pod) -> &'static str {
    let mut any = false;
    let mut all_equal = true;
    for (_, container) in pod.containers() {
        let resources = &container.resources;
        for name in ["cpu", "memory"] {
            let limit = resources.limits.get(name);
            let request = resources.requests.get(name).or(limit);
            any |= limit.is_some() || request.is_some();
            all_equal &= limit.is_some() && limit == request;
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
