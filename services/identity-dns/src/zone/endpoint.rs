//! From pods and hand-written endpoints to endpoints of a Service (DNS rules, sections 1.2 and 2.4).

use std::net::IpAddr;
use std::sync::Arc;

use domain::zone::{
    EndpointSliceFacts, IpFamily, ManualEndpoint, NamedPort, PodFacts, ServiceAddress, ServiceFacts, TargetPort,
};

use super::address::dashed;

/// Who an endpoint is. Ordered, so that records have an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndpointKey {
    /// The pod of this name.
    Pod(String),
    /// An endpoint of a hand-written slice, by its place.
    Manual(String, usize),
}

/// A ready endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Addresses, each with its host label.
    pub(super) hosts: Vec<(String, IpAddr)>,
    /// Whether the label is the endpoint's own, not made from its address.
    pub(super) named: bool,
    /// Ports with the names of the Service's. Endpoints that have the same may share them.
    pub(super) ports: Arc<[NamedPort]>,
}

/// The endpoint a pod is of a Service that selects it; none where it must not be found.
pub(super) fn of_pod(service: &ServiceFacts, pod: &PodFacts, pod_names: bool) -> Option<Endpoint> {
    let ready = service.publish_not_ready_addresses || (pod.ready && !pod.terminating);
    if pod.terminal || !ready || !service.selects(&pod.labels) {
        return None;
    }
    let own = !pod.hostname.is_empty() && pod.subdomain == service.name.name;
    let label = match () {
        () if own => Some(pod.hostname.as_str()),
        () if pod_names && domain::is_dns_label(&pod.name.name).is_ok() => Some(pod.name.name.as_str()),
        () => None,
    };
    let ports = service.ports.iter().filter_map(|port| {
        let number = match &port.target {
            TargetPort::Number(number) => *number,
            TargetPort::Name(name) => {
                let same = |candidate: &&NamedPort| candidate.name == *name && candidate.protocol == port.protocol;
                pod.ports.iter().find(same)?.port
            }
        };
        Some(NamedPort { name: port.name.clone(), protocol: port.protocol, port: number })
    });
    endpoint(service, &pod.ips, label, own, ports.collect())
}

/// An endpoint of a hand-written slice.
pub(super) fn of_slice(
    service: &ServiceFacts,
    slice: &EndpointSliceFacts,
    manual: &ManualEndpoint,
) -> Option<Endpoint> {
    if !manual.ready {
        return None;
    }
    let label = Some(manual.hostname.as_str()).filter(|label| !label.is_empty());
    endpoint(service, &manual.ips, label, label.is_some(), slice.ports.clone())
}

fn endpoint(
    service: &ServiceFacts,
    ips: &[IpAddr],
    label: Option<&str>,
    named: bool,
    ports: Vec<NamedPort>,
) -> Option<Endpoint> {
    if matches!(service.address, ServiceAddress::ExternalName(_)) {
        return None;
    }
    let used = |ip: &&IpAddr| service.ip_families.is_empty() || service.ip_families.contains(&IpFamily::of(ip));
    let host = |ip: &IpAddr| (label.map_or_else(|| dashed(*ip), str::to_owned), *ip);
    let hosts: Vec<_> = ips.iter().filter(used).map(host).collect();
    (!hosts.is_empty()).then(|| Endpoint { hosts, named, ports: ports.into() })
}
