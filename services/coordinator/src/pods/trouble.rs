//! What keeps a pod from becoming available, read from its status: a class for the planners, words for a person.

use domain::{Cause, Phase};
use serde_json::Value;

use super::read::phase;
use super::report::NAMES_NOT_SERVED;
use crate::machines::fence;
use crate::objects::condition;
use crate::world::Object;

/// What keeps a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    /// As whoever met it said; may be empty.
    pub(crate) words: String,
}

/// What keeps `pod`; none where it is ready, or nothing is known.
pub(crate) fn of(pod: &Object) -> Option<Trouble> {
    let ready = condition(&pod.value, "Ready");
    let says = |field: &str| ready.and_then(|ready| ready.get(field)?.as_str()).unwrap_or_default();
    if says("status") == "True" || fence::is_released(pod) {
        return None;
    }
    if pod.deleting() {
        return Some(Trouble { cause: Cause::Termination, words: String::new() });
    }
    let trouble = |cause, words: &str| Some(Trouble { cause, words: words.to_owned() });
    if says("reason") == NAMES_NOT_SERVED {
        return trouble(Cause::Dns, says("message"));
    }
    unplaced(pod).or_else(|| containers(pod).find_map(of_container)).or_else(|| match phase(pod) {
        Phase::Running => trouble(Cause::Readiness, says("message")),
        Phase::Pending | Phase::Succeeded | Phase::Failed | Phase::Unknown => None,
    })
}

/// Why no machine takes the pod, where none has.
fn unplaced(pod: &Object) -> Option<Trouble> {
    let scheduled = condition(&pod.value, "PodScheduled").filter(|_| pod.text("/spec/nodeName").is_empty())?;
    let words = scheduled.get("message").and_then(Value::as_str).unwrap_or_default();
    let of_volume = words.contains("persistentvolumeclaim");
    Some(Trouble { cause: if of_volume { Cause::Volume } else { Cause::Placement }, words: words.to_owned() })
}

fn containers(pod: &Object) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().filter_map(|list| pod.value.pointer(list)?.as_array()).flatten()
}

/// What keeps one container from running.
fn of_container(status: &Value) -> Option<Trouble> {
    let name = status.get("name").and_then(Value::as_str).unwrap_or_default();
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (reason, message) = (text("/state/waiting/reason"), text("/state/waiting/message"));
    let cause = match reason {
        "" => return ended(status, name),
        "CrashLoopBackOff" => Cause::CrashLoop,
        "PostStartHookError" => Cause::Hook,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Cause::Configuration,
        "ContainerCreating" | "PodInitializing" if message.contains("hook") => Cause::Hook,
        "ContainerCreating" | "PodInitializing" if !message.is_empty() => Cause::Volume,
        "ContainerCreating" | "PodInitializing" => return None,
        image if image.contains("Image") => Cause::Image,
        _ => return None,
    };
    let words = if message.is_empty() { reason } else { message };
    Some(Trouble { cause, words: format!("container {name}: {words}") })
}

/// A container that has ended badly, and is about to run again.
fn ended(status: &Value, name: &str) -> Option<Trouble> {
    let code = status.pointer("/state/terminated/exitCode")?.as_i64().filter(|code| *code != 0)?;
    Some(Trouble { cause: Cause::CrashLoop, words: format!("container {name} ended with exit code {code}") })
}

#[cfg(test)]
mod tests {
    use api::manifest::Kind;
    use serde_json::json;

    use super::*;
    use crate::store::StoreRevision;
    use crate::world::Key;

    fn trouble(spec: &Value, status: &Value) -> Option<(Cause, String)> {
        let value = json!({ "metadata": { "uid": "u" }, "spec": spec, "status": status });
        let pod = Object::new(Key::new(Kind::Pod, "default", "web-0"), value, StoreRevision(1));
        of(&pod).map(|trouble| (trouble.cause, trouble.words))
    }

    fn waiting(reason: &str, message: &str) -> Option<(Cause, String)> {
        let state = json!({ "waiting": { "reason": reason, "message": message } });
        let status = json!({ "phase": "Pending", "containerStatuses": [{ "name": "c", "state": state }] });
        trouble(&json!({ "nodeName": "n" }), &status)
    }

    #[test]
    fn each_reason_has_its_class() {
        for (reason, message, cause) in [
            ("ErrImageNeverPull", "no nginx here", Cause::Image),
            ("CrashLoopBackOff", "back-off 10s", Cause::CrashLoop),
            ("PostStartHookError", "exit 1", Cause::Hook),
            ("CreateContainerConfigError", "configmap not found", Cause::Configuration),
            ("ContainerCreating", "volume www cannot be mounted", Cause::Volume),
        ] {
            assert_eq!(waiting(reason, message), Some((cause, format!("container c: {message}"))));
        }
        assert_eq!(waiting("ContainerCreating", ""), None);
    }

    #[test]
    fn pods_without_a_machine_say_why() {
        let scheduled = |message: &str| json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": message }] });
        let cause = |message: &str| trouble(&json!({}), &scheduled(message)).map(|(cause, _)| cause);
        assert_eq!(cause("persistentvolumeclaim \"www\" is not bound"), Some(Cause::Volume));
        assert_eq!(cause("no machine has registered yet"), Some(Cause::Placement));
    }

    #[test]
    fn running_pods_lack_readiness_or_names() {
        let ready = |status: &str, reason: &str| {
            let conditions = json!([{ "type": "Ready", "status": status, "reason": reason, "message": "words" }]);
            trouble(&json!({ "nodeName": "n" }), &json!({ "phase": "Running", "conditions": conditions }))
        };
        assert_eq!(ready("False", "ContainersNotReady"), Some((Cause::Readiness, "words".to_owned())));
        assert_eq!(ready("False", NAMES_NOT_SERVED), Some((Cause::Dns, "words".to_owned())));
        assert_eq!(ready("True", ""), None);
    }
}
