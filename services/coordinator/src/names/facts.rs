//! What of a stored object names depend on (DNS rules, section 1).

use api::convert::Violations;
use api::manifest::Kind;
use api::proto::identity_dns::v1 as proto;
use domain::zone::{
    IpFamily, NamedPort, ObjectName, PodFacts, Protocol, ServiceAddress, ServiceFacts, ServicePort, TargetPort,
};
use serde_json::Value;

use crate::objects::condition;
use crate::objects::texts;
use crate::pods::build::is_served_early;
use crate::pods::read::phase;
use crate::world::Object;

/// Old way to say `publishNotReadyAddresses`.
const TOLERATE_UNREADY: &str = "service.alpha.kubernetes.io/tolerate-unready-endpoints";

/// A pod; none for one without a name that could be served.
pub(super) fn pod(object: &Object) -> Option<&PodFacts> {
    object.pod_facts(read_pod)
}

fn read_pod(object: &Object) -> Option<PodFacts> {
    debug_assert_eq!(object.kind(), Kind::Pod);
    let value = &object.value;
    let several = items(value.pointer("/status/podIPs")).filter_map(|ip| ip.get("ip")?.as_str());
    let mut ips: Vec<_> = several.filter_map(|ip| ip.parse().ok()).collect();
    if let (true, Ok(ip)) = (ips.is_empty(), object.text("/status/podIP").parse()) {
        ips.push(ip);
    }
    let regular = items(value.pointer("/spec/containers"));
    let sidecars = items(value.pointer("/spec/initContainers"))
        .filter(|container| container.get("restartPolicy").is_some_and(|policy| policy == "Always"));
    sendable::<proto::PodFacts, _>(PodFacts {
        name: name(object),
        uid: object.uid(),
        ips,
        labels: texts(value.pointer("/metadata/labels")),
        hostname: object.text("/spec/hostname").to_owned(),
        subdomain: object.text("/spec/subdomain").to_owned(),
        ready: is_served_early(object)
            || condition(value, "Ready")
                .is_some_and(|ready| ready.get("status").is_some_and(|status| status == "True")),
        terminating: object.deleting(),
        terminal: phase(object).terminal(),
        ports: regular.chain(sidecars).flat_map(|container| items(container.get("ports"))).filter_map(port).collect(),
    })
}

/// A Service.
///
/// A Service that asks for a virtual address gets none here: there is no proxy that would serve it. Its name leads to
/// its ready pods, as that of a headless one does.
pub(super) fn service(object: &Object) -> Option<ServiceFacts> {
    let value = &object.value;
    let virtual_ips = items(value.pointer("/spec/clusterIPs")).chain(value.pointer("/spec/clusterIP"));
    let mut virtual_ips: Vec<_> = virtual_ips.filter_map(|ip| ip.as_str()?.parse().ok()).collect();
    virtual_ips.dedup();
    let address = match (object.text("/spec/type"), virtual_ips.is_empty()) {
        ("ExternalName", _) => {
            ServiceAddress::ExternalName(object.text("/spec/externalName").trim_end_matches('.').to_owned())
        }
        (_, true) => ServiceAddress::Headless,
        (_, false) => ServiceAddress::ClusterIps(virtual_ips),
    };
    let flag = value.pointer("/spec/publishNotReadyAddresses").and_then(Value::as_bool).unwrap_or(false);
    sendable::<proto::Service, _>(ServiceFacts {
        name: name(object),
        address,
        selector: texts(value.pointer("/spec/selector")),
        ports: items(value.pointer("/spec/ports")).filter_map(service_port).collect(),
        publish_not_ready_addresses: flag || object.annotation(TOLERATE_UNREADY) == Some("true"),
        ip_families: items(value.pointer("/spec/ipFamilies")).filter_map(family).collect(),
    })
}

/// The facts if identity-dns takes them. One object that cannot have names must not keep all others from theirs.
fn sendable<P: From<T>, T: TryFrom<P, Error = Violations>>(facts: T) -> Option<T> {
    let message = P::from(facts);
    T::try_from(message).inspect_err(|violations| tracing::debug!(%violations, "an object can have no names")).ok()
}

fn name(object: &Object) -> ObjectName {
    ObjectName::new(object.key.namespace.clone(), object.key.name.clone())
}

fn port(port: &Value) -> Option<NamedPort> {
    let name = port.get("name").and_then(Value::as_str)?.to_owned();
    Some(NamedPort { name, protocol: protocol(port), port: number(port.get("containerPort")?)? })
}

fn service_port(port: &Value) -> Option<ServicePort> {
    let own = number(port.get("port")?)?;
    let target = match port.get("targetPort") {
        Some(Value::String(name)) => match name.parse() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(name.clone()),
        },
        Some(value) => TargetPort::Number(number(value)?),
        None => TargetPort::Number(own),
    };
    let name = port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(ServicePort { name, protocol: protocol(port), port: own, target })
}

fn protocol(port: &Value) -> Protocol {
    match port.get("protocol").and_then(Value::as_str) {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

fn family(value: &Value) -> Option<IpFamily> {
    match value.as_str()? {
        "IPv4" => Some(IpFamily::V4),
        "IPv6" => Some(IpFamily::V6),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok().filter(|number| *number > 0)
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::StoreRevision;
    use crate::world::Key;

    #[test]
    fn a_service_serves_pods_that_are_not_ready_if_it_says_so_in_either_way() {
        let publishes = |annotations: Value, spec: Value| {
            let value = json!({ "metadata": { "name": "web", "annotations": annotations }, "spec": spec });
            let object = Object::new(Key::new(Kind::Service, "default", "web"), value, StoreRevision(1));
            service(&object).expect("it has names").publish_not_ready_addresses
        };
        let tolerates = |text: &str| json!({ "service.alpha.kubernetes.io/tolerate-unready-endpoints": text });
        assert!(publishes(tolerates("true"), json!({})));
        assert!(publishes(json!({}), json!({ "publishNotReadyAddresses": true })));
        assert!(!publishes(tolerates("false"), json!({ "publishNotReadyAddresses": false })));
    }
}
