//! Services, pods and endpoints.

use std::net::IpAddr;

use domain::Uid;
use domain::zone::{
    EndpointSliceFacts, IpFamily, ManualEndpoint, NamedPort, PodFacts, Protocol, ServiceAddress, ServiceFacts,
    ServicePort, TargetPort,
};

use super::{Violations, label, object_name, optional_label};
use crate::proto::identity_dns::v1 as proto;

fn protocol_text(protocol: Protocol) -> String {
    let text = match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    text.to_owned()
}

fn protocol(violations: &mut Violations, text: &str) -> Protocol {
    match text {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => {
            violations.add("protocol", "must be TCP, UDP or SCTP");
            Protocol::default()
        }
    }
}

fn port(violations: &mut Violations, field: &str, number: u32) -> u16 {
    let number = u16::try_from(number).unwrap_or(0);
    violations.require(number > 0, field, "must be 1 to 65535");
    number
}

fn addresses(violations: &mut Violations, field: &str, texts: &[String]) -> Vec<IpAddr> {
    let mut parsed = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(address) => parsed.push(address),
            Err(_) => violations.add(format!("{field}[{place}]"), "must be an IPv4 or IPv6 address"),
        }
    }
    parsed
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

impl From<ServiceFacts> for proto::Service {
    fn from(service: ServiceFacts) -> Self {
        let (cluster_ips, external_name) = match service.address {
            ServiceAddress::Headless => Default::default(),
            ServiceAddress::ClusterIps(ips) => (texts(&ips), String::new()),
            ServiceAddress::ExternalName(name) => (Vec::new(), name),
        };
        let family = |family: IpFamily| match family {
            IpFamily::V4 => "IPv4".to_owned(),
            IpFamily::V6 => "IPv6".to_owned(),
        };
        Self {
            namespace: service.name.namespace,
            name: service.name.name,
            cluster_ips,
            external_name,
            selector: service.selector.into_iter().collect(),
            ports: service.ports.into_iter().map(Into::into).collect(),
            publish_not_ready_addresses: service.publish_not_ready_addresses,
            ip_families: service.ip_families.into_iter().map(family).collect(),
        }
    }
}

impl TryFrom<proto::Service> for ServiceFacts {
    type Error = Violations;

    fn try_from(service: proto::Service) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        label(&mut violations, "name", &service.name);
        let name = object_name(&mut violations, service.namespace, service.name);
        let cluster_ips = addresses(&mut violations, "cluster_ips", &service.cluster_ips);
        let both = !service.cluster_ips.is_empty() && !service.external_name.is_empty();
        violations.require(!both, "external_name", "must be empty where there are cluster_ips");
        let address = if service.external_name.is_empty() {
            if cluster_ips.is_empty() { ServiceAddress::Headless } else { ServiceAddress::ClusterIps(cluster_ips) }
        } else {
            external_name(&mut violations, &service.external_name)
        };
        let mut ip_families = Vec::new();
        for (place, family) in service.ip_families.iter().enumerate() {
            match family.as_str() {
                "IPv4" => ip_families.push(IpFamily::V4),
                "IPv6" => ip_families.push(IpFamily::V6),
                _ => violations.add(format!("ip_families[{place}]"), "must be IPv4 or IPv6"),
            }
        }
        let ports = violations.list("ports", service.ports);
        violations.finish(Some(Self {
            name,
            address,
            selector: service.selector.into_iter().collect(),
            ports,
            publish_not_ready_addresses: service.publish_not_ready_addresses,
            ip_families,
        }))
    }
}

/// A name, not an address: an IPv4 address here would be a name made of digits, which nobody means (DNS rules, 1.1).
fn external_name(violations: &mut Violations, text: &str) -> ServiceAddress {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        let hint = "must be a name: for an address, use a headless Service with hand-written endpoints";
        violations.add("external_name", hint);
    } else if let Err(error) = domain::is_dns_subdomain(&name) {
        violations.add("external_name", error.to_string());
    }
    ServiceAddress::ExternalName(name)
}

impl From<ServicePort> for proto::ServicePort {
    fn from(port: ServicePort) -> Self {
        let target_port = match port.target {
            TargetPort::Number(number) => number.to_string(),
            TargetPort::Name(name) => name,
        };
        Self { name: port.name, protocol: protocol_text(port.protocol), port: port.port.into(), target_port }
    }
}

impl TryFrom<proto::ServicePort> for ServicePort {
    type Error = Violations;

    fn try_from(service_port: proto::ServicePort) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        optional_label(&mut violations, "name", &service_port.name);
        let number = port(&mut violations, "port", service_port.port);
        let text = service_port.target_port;
        let target = if text.is_empty() {
            TargetPort::Number(number)
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            TargetPort::Number(port(&mut violations, "target_port", text.parse().unwrap_or(0)))
        } else {
            TargetPort::Name(text)
        };
        let protocol = protocol(&mut violations, &service_port.protocol);
        violations.finish(Some(Self { name: service_port.name, protocol, port: number, target }))
    }
}

impl From<PodFacts> for proto::PodFacts {
    fn from(pod: PodFacts) -> Self {
        let ports = pod.ports.into_iter().map(|port| proto::ContainerPort {
            name: port.name,
            protocol: protocol_text(port.protocol),
            port: port.port.into(),
        });
        Self {
            namespace: pod.name.namespace,
            name: pod.name.name,
            uid: pod.uid.0,
            ips: texts(&pod.ips),
            labels: pod.labels.into_iter().collect(),
            hostname: pod.hostname,
            subdomain: pod.subdomain,
            ready: pod.ready,
            terminating: pod.terminating,
            terminal: pod.terminal,
            ports: ports.collect(),
        }
    }
}

impl TryFrom<proto::PodFacts> for PodFacts {
    type Error = Violations;

    fn try_from(pod: proto::PodFacts) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let name = object_name(&mut violations, pod.namespace, pod.name);
        violations.require(!pod.uid.is_empty(), "uid", "is required");
        let ips = addresses(&mut violations, "ips", &pod.ips);
        optional_label(&mut violations, "hostname", &pod.hostname);
        optional_label(&mut violations, "subdomain", &pod.subdomain);
        let ports = violations.list("ports", pod.ports);
        violations.finish(Some(Self {
            name,
            uid: Uid(pod.uid),
            ips,
            labels: pod.labels.into_iter().collect(),
            hostname: pod.hostname,
            subdomain: pod.subdomain,
            ready: pod.ready,
            terminating: pod.terminating,
            terminal: pod.terminal,
            ports,
        }))
    }
}

impl TryFrom<proto::ContainerPort> for NamedPort {
    type Error = Violations;

    fn try_from(named: proto::ContainerPort) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let number = port(&mut violations, "port", named.port);
        let protocol = protocol(&mut violations, &named.protocol);
        violations.finish(Some(Self { name: named.name, protocol, port: number }))
    }
}

impl TryFrom<proto::EndpointPort> for NamedPort {
    type Error = Violations;

    fn try_from(named: proto::EndpointPort) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        optional_label(&mut violations, "name", &named.name);
        let number = port(&mut violations, "port", named.port);
        let protocol = protocol(&mut violations, &named.protocol);
        violations.finish(Some(Self { name: named.name, protocol, port: number }))
    }
}

impl From<EndpointSliceFacts> for proto::EndpointSlice {
    fn from(slice: EndpointSliceFacts) -> Self {
        let ports = slice.ports.into_iter().map(|port| proto::EndpointPort {
            name: port.name,
            protocol: protocol_text(port.protocol),
            port: port.port.into(),
        });
        let endpoints = slice.endpoints.into_iter().map(|endpoint| proto::Endpoint {
            ips: texts(&endpoint.ips),
            hostname: endpoint.hostname,
            ready: endpoint.ready,
        });
        Self {
            namespace: slice.name.namespace,
            name: slice.name.name,
            service: slice.service,
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        }
    }
}

impl TryFrom<proto::EndpointSlice> for EndpointSliceFacts {
    type Error = Violations;

    fn try_from(slice: proto::EndpointSlice) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let name = object_name(&mut violations, slice.namespace, slice.name);
        label(&mut violations, "service", &slice.service);
        let ports = violations.list("ports", slice.ports);
        let endpoints = violations.list("endpoints", slice.endpoints);
        violations.finish(Some(Self { name, service: slice.service, ports, endpoints }))
    }
}

impl TryFrom<proto::Endpoint> for ManualEndpoint {
    type Error = Violations;

    fn try_from(endpoint: proto::Endpoint) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ips = addresses(&mut violations, "ips", &endpoint.ips);
        optional_label(&mut violations, "hostname", &endpoint.hostname);
        violations.finish(Some(Self { ips, hostname: endpoint.hostname, ready: endpoint.ready }))
    }
}
