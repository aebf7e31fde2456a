//! Which pod and which of its ports are meant. Pure: JSON in, answers out.

use serde_json::Value;

use crate::print;

/// A pair of ports with numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// What the local port is where nobody says otherwise.
    pub(super) asked: u16,
    /// At the pod.
    pub(super) pod: u16,
}

/// The pod of the lowest ordinal among those that are ready.
pub(super) fn first_ready<'a>(pods: impl IntoIterator<Item = &'a Value>) -> Option<&'a Value> {
    let ready = pods.into_iter().filter(|pod| is_ready(pod));
    ready.min_by_key(|pod| {
        let name = print::name_of(pod);
        let ordinal = name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<u64>().ok());
        (ordinal.unwrap_or(u64::MAX), name)
    })
}

/// Whether a pod is owned by the object of this uid.
pub(super) fn is_owned(pod: &Value, uid: &str) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    owners.into_iter().any(|owner| print::text(owner, "/uid") == uid)
}

/// The labels that a Service selects, as text; none where it selects nothing.
pub(super) fn selector(service: &Value) -> Option<String> {
    let labels = service.pointer("/spec/selector")?.as_object().filter(|labels| !labels.is_empty())?;
    let terms = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    Some(terms.collect::<Vec<_>>().join(","))
}

/// A port of a pod, by number or by name.
pub(super) fn pod_port(pod: &Value, wanted: &str) -> Result<Ports, String> {
    let named = container_ports(pod).into_iter().find(|(name, _)| *name == wanted).map(|(_, port)| port);
    let port = wanted.parse().ok().or(named).ok_or_else(|| {
        let known = list(container_ports(pod).iter().map(|(name, port)| format!("{name} ({port})")));
        format!("pod {:?} has no port named {wanted:?}; it has {known}", print::name_of(pod))
    })?;
    Ok(Ports { asked: port, pod: port })
}

/// A port of a Service, by number or by name, and where it leads at a pod.
pub(super) fn service_port(service: &Value, pod: &Value, wanted: &str) -> Result<Ports, String> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |port: &Value| number(port.get("port"));
    let found = ports.iter().find(|port| {
        number(port).is_some_and(|number| number.to_string() == wanted) || print::text(port, "/name") == wanted
    });
    let Some((port, asked)) = found.and_then(|port| Some((port, number(port)?))) else {
        let known = list(ports.iter().filter_map(|port| Some(number(port)?.to_string())));
        return Err(format!("Service {:?} has no port {wanted}; it has {known}", print::name_of(service)));
    };
    // A headless Service maps nothing: its names lead to the pods themselves.
    if print::text(service, "/spec/clusterIP") == "None" {
        return Ok(Ports { asked, pod: asked });
    }
    let pod = match port.get("targetPort") {
        Some(Value::String(name)) => pod_port(pod, name)?.pod,
        target => self::number(target).unwrap_or(asked),
    };
    Ok(Ports { asked, pod })
}

fn container_ports(pod: &Value) -> Vec<(&str, u16)> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    ports.filter_map(|port| Some((port.get("name")?.as_str()?, number(port.get("containerPort"))?))).collect()
}

/// Numbers of stored objects are floating point once they have travelled.
fn number(value: Option<&Value>) -> Option<u16> {
    let value = value?;
    let whole = value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))?;
    u16::try_from(whole).ok().filter(|port| *port != 0)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut ready = conditions.filter(|condition| print::text(condition, "/type") == "Ready");
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && ready.any(|condition| print::text(condition, "/status") == "True")
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": name, "ownerReferences": [{"uid": "u"}]},
            "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn the_lowest_ready_ordinal_is_taken() {
        let mut leaving = pod("web-0", "True");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let pods = [pod("web-10", "True"), pod("web-1", "False"), leaving, pod("web-9", "True")];
        assert_eq!(first_ready(&pods).map(print::name_of), Some("web-9"));
        assert_eq!(first_ready(&pods[1..2]), None);
        assert!(is_owned(&pods[0], "u") && !is_owned(&pods[0], "v"));
    }

    #[test]
    fn ports_have_numbers_and_names() {
        let pod = pod("web-0", "True");
        assert_eq!(pod_port(&pod, "http"), Ok(Ports { asked: 8080, pod: 8080 }));
        assert_eq!(pod_port(&pod, "81"), Ok(Ports { asked: 81, pod: 81 }));
        let refusal = pod_port(&pod, "web").expect_err("no such port");
        assert_eq!(refusal, "pod \"web-0\" has no port named \"web\"; it has http (8080)");
    }

    #[test]
    fn a_service_maps_its_ports_unless_it_is_headless() {
        let pod = pod("web-0", "True");
        let mut service = json!({
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web", "tier": "front"}, "ports": [
                {"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81, "targetPort": 9.0}, {"port": 82}
            ]},
        });
        assert_eq!(selector(&service).as_deref(), Some("app=web,tier=front"));
        assert_eq!(service_port(&service, &pod, "80"), Ok(Ports { asked: 80, pod: 8080 }));
        assert_eq!(service_port(&service, &pod, "b"), Ok(Ports { asked: 81, pod: 9 }));
        assert_eq!(service_port(&service, &pod, "82"), Ok(Ports { asked: 82, pod: 82 }));
        let refusal = service_port(&service, &pod, "90").expect_err("no such port");
        assert_eq!(refusal, "Service \"web\" has no port 90; it has 80, 81, 82");
        service["spec"]["clusterIP"] = json!("None");
        assert_eq!(service_port(&service, &pod, "80"), Ok(Ports { asked: 80, pod: 80 }));
    }
}
