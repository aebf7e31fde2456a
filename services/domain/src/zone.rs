//! Facts that become DNS records (DNS rules, section 1): namespaces, Services, pods, hand-written endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Uid;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectName {
    /// The name of an object.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of an address.
    #[must_use]
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// What the name of a Service itself leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ServiceAddress {
    /// The addresses of the endpoints.
    #[default]
    Headless,
    /// Virtual addresses; at least one.
    ClusterIps(Vec<IpAddr>),
    /// Another name, without the final dot.
    ExternalName(String),
}

/// Which port of a pod a Service port means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetPort {
    /// This number.
    Number(u16),
    /// The container port of this name and the same protocol.
    Name(String),
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Name; empty where the only port has none.
    pub name: String,
    /// Transport.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
    /// Port of the pods.
    pub target: TargetPort,
}

/// A Service as far as names go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// Namespace and name.
    pub name: ObjectName,
    /// What its name leads to.
    pub address: ServiceAddress,
    /// Labels that pods must have; empty selects none.
    pub selector: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Whether pods that are not ready have names too.
    pub publish_not_ready_addresses: bool,
    /// Families of the endpoints' addresses; empty means every family.
    pub ip_families: Vec<IpFamily>,
}

impl ServiceFacts {
    /// Whether the Service selects pods with these labels.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// A named port: of a container, or of a hand-written endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamedPort {
    /// Name; may be empty for endpoints.
    pub name: String,
    /// Transport.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
}

/// A pod as far as names go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodFacts {
    /// Namespace and name.
    pub name: ObjectName,
    /// Incarnation.
    pub uid: Uid,
    /// Addresses; empty before there is one.
    pub ips: Vec<IpAddr>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.hostname`; may be empty.
    pub hostname: String,
    /// `spec.subdomain`; may be empty.
    pub subdomain: String,
    /// Whether the condition Ready is True.
    pub ready: bool,
    /// Whether deletion has been requested.
    pub terminating: bool,
    /// Whether it will never run again.
    pub terminal: bool,
    /// Named ports of regular containers and of init containers that keep running.
    pub ports: Vec<NamedPort>,
}

/// One hand-written endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ManualEndpoint {
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Host label; may be empty.
    pub hostname: String,
    /// Whether it is ready. Unknown counts as ready.
    pub ready: bool,
}

/// A hand-written EndpointSlice of a Service without selector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointSliceFacts {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// Name of the Service it belongs to, in the same namespace.
    pub service: String,
    /// Ports of every endpoint.
    pub ports: Vec<NamedPort>,
    /// Endpoints.
    pub endpoints: Vec<ManualEndpoint>,
}

/// Everything that becomes records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ZoneFacts {
    /// Namespaces that exist.
    pub namespaces: BTreeSet<String>,
    /// Services by name.
    pub services: BTreeMap<ObjectName, ServiceFacts>,
    /// Pods by name.
    pub pods: BTreeMap<ObjectName, PodFacts>,
    /// Hand-written EndpointSlices by name.
    pub slices: BTreeMap<ObjectName, EndpointSliceFacts>,
}

/// What becomes different. What is removed goes first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ZoneChange {
    /// Namespaces that exist now.
    pub namespaces: Vec<String>,
    /// Namespaces that are gone.
    pub removed_namespaces: Vec<String>,
    /// Services, new or changed.
    pub services: Vec<ServiceFacts>,
    /// Services that are gone.
    pub removed_services: Vec<ObjectName>,
    /// Pods, new or changed.
    pub pods: Vec<PodFacts>,
    /// Pods that are gone.
    pub removed_pods: Vec<ObjectName>,
    /// EndpointSlices, new or changed.
    pub slices: Vec<EndpointSliceFacts>,
    /// EndpointSlices that are gone.
    pub removed_slices: Vec<ObjectName>,
}

impl ZoneChange {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ZoneFacts {
    /// Makes a change. Removing what is not there changes nothing.
    pub fn apply(&mut self, change: ZoneChange) {
        for name in &change.removed_namespaces {
            self.namespaces.remove(name);
        }
        change.removed_services.iter().for_each(|name| drop(self.services.remove(name)));
        change.removed_pods.iter().for_each(|name| drop(self.pods.remove(name)));
        change.removed_slices.iter().for_each(|name| drop(self.slices.remove(name)));
        self.namespaces.extend(change.namespaces);
        self.services.extend(change.services.into_iter().map(|service| (service.name.clone(), service)));
        self.pods.extend(change.pods.into_iter().map(|pod| (pod.name.clone(), pod)));
        self.slices.extend(change.slices.into_iter().map(|slice| (slice.name.clone(), slice)));
    }

    /// The smallest change that makes these facts `target`.
    #[must_use]
    pub fn change_to(&self, target: &Self) -> ZoneChange {
        let (services, removed_services) = difference(&self.services, &target.services);
        let (pods, removed_pods) = difference(&self.pods, &target.pods);
        let (slices, removed_slices) = difference(&self.slices, &target.slices);
        ZoneChange {
            namespaces: target.namespaces.difference(&self.namespaces).cloned().collect(),
            removed_namespaces: self.namespaces.difference(&target.namespaces).cloned().collect(),
            services,
            removed_services,
            pods,
            removed_pods,
            slices,
            removed_slices,
        }
    }
}

/// What to put and what to remove so that `from` becomes `to`.
fn difference<T: Clone + PartialEq>(
    from: &BTreeMap<ObjectName, T>,
    to: &BTreeMap<ObjectName, T>,
) -> (Vec<T>, Vec<ObjectName>) {
    let put = to.iter().filter(|(name, value)| from.get(*name) != Some(value)).map(|(_, value)| value.clone());
    let removed = from.keys().filter(|name| !to.contains_key(*name)).cloned();
    (put.collect(), removed.collect())
}

/// One publication of facts: what the zone is to become, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Names this operation.
    pub operation_id: String,
    /// Identity of the store that the epoch belongs to; empty means the one that is followed already.
    pub store: String,
    /// Incarnation of the coordinator; rises at each start.
    pub epoch: u64,
    /// State generation after this change; rises within an epoch.
    pub generation: u64,
    /// Generation the change starts from; none where the change holds all facts there are.
    pub base_generation: Option<u64>,
    /// The facts.
    pub change: ZoneChange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leads_from_one_state_to_the_other() {
        let pod = |name: &str, ready| PodFacts { name: ObjectName::new("d", name), ready, ..PodFacts::default() };
        let facts = |pods: Vec<PodFacts>, namespaces: &[&str]| {
            let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
            let mut facts = ZoneFacts::default();
            facts.apply(ZoneChange { namespaces, pods, ..ZoneChange::default() });
            facts
        };
        let mut from = facts(vec![pod("a", true), pod("b", false), pod("c", true)], &["d", "e"]);
        let to = facts(vec![pod("a", true), pod("b", true), pod("x", true)], &["d", "f"]);
        let change = from.change_to(&to);
        assert_eq!(change.pods, [pod("b", true), pod("x", true)]);
        assert_eq!(change.removed_pods, [ObjectName::new("d", "c")]);
        from.apply(change);
        assert_eq!(from, to);
        assert!(from.change_to(&to).is_empty());
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        let labels = BTreeMap::from([("app".to_owned(), "nginx".to_owned())]);
        let mut service = ServiceFacts::default();
        assert!(!service.selects(&labels));
        service.selector = labels.clone();
        assert!(service.selects(&labels));
        assert!(!service.selects(&BTreeMap::new()));
    }
}
