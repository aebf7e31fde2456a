//! The records of one Service (DNS rules, sections 2.2, 2.3, 2.5, 2.7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use domain::zone::{NamedPort, ObjectName, Protocol, ServiceAddress, ServiceFacts, ZoneFacts};

use super::endpoint::{self, Endpoint, EndpointKey};
use crate::wire::{Name, RrSet, RrSetBuilder, rtype};

/// What one Service contributes, kept so that a change costs only what it touches.
#[derive(Debug, Default)]
pub(super) struct ServiceState {
    endpoints: BTreeMap<EndpointKey, Arc<Endpoint>>,
    hosts: BTreeMap<String, Host>,
    /// How many endpoints have an address.
    addresses: BTreeMap<IpAddr, u32>,
    /// Ports of the endpoint that was resolved last: mostly the next has the same.
    ports: Arc<[NamedPort]>,
    /// Names that are the Service's own: it itself and its ports.
    names: BTreeSet<Name>,
    /// Addresses of its own that point back to it.
    pointed: BTreeSet<IpAddr>,
}

/// A host label of a Service.
#[derive(Debug)]
struct Host {
    /// The name that it makes; none where it is too long.
    name: Option<Name>,
    /// Who has it.
    endpoints: BTreeMap<EndpointKey, Arc<Endpoint>>,
}

/// What to look at anew.
#[derive(Debug)]
pub(super) enum Dirty {
    /// Everything.
    All,
    /// These pods.
    Pods(BTreeSet<String>),
}

impl Default for Dirty {
    fn default() -> Self {
        Self::Pods(BTreeSet::new())
    }
}

/// What becomes different in the tree and in the reverse zones.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) sets: Vec<(Name, Vec<RrSet>)>,
    pub(super) pointers: Vec<Pointer>,
}

/// A PTR record that appears or disappears.
#[derive(Debug)]
pub(super) struct Pointer {
    pub(super) address: IpAddr,
    pub(super) target: Target,
    pub(super) present: bool,
}

/// What a PTR record says. Ordered as it is answered: the Service's own address, then names given on purpose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) rank: Rank,
    pub(super) name: Name,
}

/// Why an address has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It is the Service's own address.
    Cluster,
    /// The endpoint is called so.
    Named,
    /// The name is made from the address.
    Made,
}

/// What every Service is published with.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// `svc.<zone>`.
    pub(super) services: Name,
    /// TTL of positive answers, in seconds.
    pub(super) ttl: u32,
    /// Whether endpoints without a hostname are called by their pod's name.
    pub(super) endpoint_pod_names: bool,
}

impl ServiceState {
    /// Looks at what is dirty. `facts` of the Service are none where it must not be found at all.
    pub(super) fn refresh(&mut self, key: &ObjectName, dirty: &Dirty, facts: &ZoneFacts, rules: &Rules) -> Update {
        let mut update = Update::default();
        let Some(base) = rules.services.child(&key.namespace).and_then(|name| name.child(&key.name)) else {
            return update;
        };
        let service = facts.services.get(key).filter(|_| facts.namespaces.contains(&key.namespace));
        let mut labels = BTreeSet::new();
        for key in self.concerned(dirty, key, service, facts) {
            let new = service.and_then(|service| resolve(&key, service, facts, rules));
            let new = new.map(|endpoint| self.share_ports(endpoint));
            self.replace(key, new, &base, &mut labels, &mut update);
        }
        if labels.is_empty() && matches!(dirty, Dirty::Pods(_)) {
            return update;
        }
        for label in labels {
            let Some(name) = base.child(&label) else { continue };
            let endpoints = self.hosts.get(&label).into_iter().flat_map(|host| host.endpoints.values());
            let hosts = endpoints.flat_map(|endpoint| &endpoint.hosts);
            let addresses = hosts.filter(|(host, _)| *host == label).map(|(_, address)| *address);
            update.sets.push((name, RrSet::addresses(rules.ttl, addresses).collect()));
        }
        let own = service.map(|service| self.own_records(service, &base, rules)).unwrap_or_default();
        let gone = self.names.iter().filter(|name| !own.contains_key(*name));
        update.sets.extend(gone.map(|name| (name.clone(), Vec::new())));
        self.names = own.keys().cloned().collect();
        update.sets.extend(own);
        self.point(service, &base, &mut update);
        update
    }

    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.names.is_empty() && self.pointed.is_empty()
    }

    /// Endpoints that may have changed.
    fn concerned(
        &self,
        dirty: &Dirty,
        key: &ObjectName,
        service: Option<&ServiceFacts>,
        facts: &ZoneFacts,
    ) -> BTreeSet<EndpointKey> {
        if let Dirty::Pods(pods) = dirty {
            return pods.iter().cloned().map(EndpointKey::Pod).collect();
        }
        let mut keys: BTreeSet<_> = self.endpoints.keys().cloned().collect();
        if let Some(service) = service {
            let pods = super::in_namespace(&facts.pods, &key.namespace);
            let selected = pods.filter(|(_, pod)| service.selects(&pod.labels));
            keys.extend(selected.map(|(name, _)| EndpointKey::Pod(name.name.clone())));
            let slices = super::in_namespace(&facts.slices, &key.namespace);
            for (name, slice) in slices.filter(|(_, slice)| slice.service == key.name) {
                keys.extend((0..slice.endpoints.len()).map(|place| EndpointKey::Manual(name.name.clone(), place)));
            }
        }
        keys
    }

    /// A large Service is read from end to end at every change: what all its endpoints have in common is there once.
    fn share_ports(&mut self, mut endpoint: Endpoint) -> Arc<Endpoint> {
        if endpoint.ports == self.ports {
            endpoint.ports = self.ports.clone();
        } else {
            self.ports = endpoint.ports.clone();
        }
        Arc::new(endpoint)
    }

    fn replace(
        &mut self,
        key: EndpointKey,
        new: Option<Arc<Endpoint>>,
        base: &Name,
        labels: &mut BTreeSet<String>,
        update: &mut Update,
    ) {
        if self.endpoints.get(&key) == new.as_ref() {
            return;
        }
        let old = match &new {
            Some(new) => self.endpoints.insert(key.clone(), new.clone()),
            None => self.endpoints.remove(&key),
        };
        let pointer = |endpoint: &Endpoint, label: &str, address: IpAddr, present| {
            let rank = if endpoint.named { Rank::Named } else { Rank::Made };
            Some(Pointer { address, target: Target { rank, name: base.child(label)? }, present })
        };
        for (endpoint, present) in [(&old, false), (&new, true)] {
            let Some(endpoint) = endpoint else { continue };
            for (label, address) in &endpoint.hosts {
                let host = self.hosts.entry(label.clone());
                let host = host.or_insert_with(|| Host { name: base.child(label), endpoints: BTreeMap::new() });
                if present {
                    host.endpoints.insert(key.clone(), endpoint.clone())
                } else {
                    host.endpoints.remove(&key)
                };
                if host.endpoints.is_empty() {
                    self.hosts.remove(label);
                }
                let count = self.addresses.entry(*address).or_default();
                *count = if present { *count + 1 } else { count.saturating_sub(1) };
                if *count == 0 {
                    self.addresses.remove(address);
                }
                labels.insert(label.clone());
                update.pointers.extend(pointer(endpoint, label, *address, present));
            }
        }
    }

    /// Records at the Service's name and at its ports.
    fn own_records(&self, service: &ServiceFacts, base: &Name, rules: &Rules) -> BTreeMap<Name, Vec<RrSet>> {
        let mut own = BTreeMap::new();
        match &service.address {
            ServiceAddress::ExternalName(target) => {
                let target = Name::from_text(target);
                let cname = target.and_then(|target| RrSet::names(rtype::CNAME, rules.ttl, [&target]));
                own.extend(cname.map(|cname| (base.clone(), vec![cname])));
            }
            ServiceAddress::ClusterIps(ips) => {
                let ports = own_ports(service);
                let hosts = [(base, ips.len(), ports.as_slice())];
                let sets = RrSet::addresses(rules.ttl, ips.iter().copied());
                own.insert(base.clone(), sets.chain(locations(&hosts, rules.ttl, |_| true)).collect());
                own.extend(port_records(&hosts, base, rules.ttl));
            }
            ServiceAddress::Headless if self.endpoints.is_empty() => {}
            ServiceAddress::Headless => {
                let hosts = self.located();
                let sets = RrSet::addresses(rules.ttl, self.addresses.keys().copied());
                own.insert(base.clone(), sets.chain(locations(&hosts, rules.ttl, |_| true)).collect());
                own.extend(port_records(&hosts, base, rules.ttl));
            }
        }
        own
    }

    /// Host names with how many addresses and which ports they stand for.
    fn located(&self) -> Vec<Located<'_>> {
        let mut located = Vec::with_capacity(self.hosts.len());
        for (label, host) in &self.hosts {
            let Some(name) = &host.name else { continue };
            for endpoint in host.endpoints.values() {
                let addresses = match endpoint.hosts.as_slice() {
                    [_] => 1,
                    hosts => hosts.iter().filter(|(host, _)| host == label).count(),
                };
                located.push((name, addresses, &*endpoint.ports));
            }
        }
        located
    }

    /// PTRs of the Service's own addresses.
    fn point(&mut self, service: Option<&ServiceFacts>, base: &Name, update: &mut Update) {
        let now: BTreeSet<IpAddr> = match service.map(|service| &service.address) {
            Some(ServiceAddress::ClusterIps(ips)) => ips.iter().copied().collect(),
            _ => BTreeSet::new(),
        };
        let target = Target { rank: Rank::Cluster, name: base.clone() };
        let gone = self.pointed.difference(&now).map(|address| (address, false));
        let come = now.difference(&self.pointed).map(|address| (address, true));
        let pointer =
            |(address, present): (&IpAddr, bool)| Pointer { address: *address, target: target.clone(), present };
        update.pointers.extend(gone.chain(come).map(pointer));
        self.pointed = now;
    }
}

/// A name that SRV records lead to, how many addresses it stands for, and its ports.
type Located<'a> = (&'a Name, usize, &'a [NamedPort]);

fn own_ports(service: &ServiceFacts) -> Vec<NamedPort> {
    let ports = service.ports.iter();
    ports.map(|port| NamedPort { name: port.name.clone(), protocol: port.protocol, port: port.port }).collect()
}

fn resolve(key: &EndpointKey, service: &ServiceFacts, facts: &ZoneFacts, rules: &Rules) -> Option<Endpoint> {
    let name = |name: &String| ObjectName::new(&service.name.namespace, name);
    match key {
        EndpointKey::Pod(pod) => endpoint::of_pod(service, facts.pods.get(&name(pod))?, rules.endpoint_pod_names),
        EndpointKey::Manual(slice, place) => {
            let slice = facts.slices.get(&name(slice)).filter(|slice| slice.service == service.name.name)?;
            endpoint::of_slice(service, slice, slice.endpoints.get(*place)?)
        }
    }
}

/// SRV sets at `_port._proto` below the Service, for every named port.
fn port_records<'a>(
    hosts: &'a [Located<'a>],
    base: &'a Name,
    ttl: u32,
) -> impl Iterator<Item = (Name, Vec<RrSet>)> + 'a {
    let shared = hosts.chunk_by(|(_, _, ports), (_, _, next)| std::ptr::eq(*ports, *next));
    let all = shared.flat_map(|hosts| hosts[0].2).filter(|port| !port.name.is_empty());
    let kinds: BTreeSet<(&str, Protocol)> = all.map(|port| (port.name.as_str(), port.protocol)).collect();
    kinds.into_iter().filter_map(move |(name, protocol)| {
        let label = match protocol {
            Protocol::Tcp => "_tcp",
            Protocol::Udp => "_udp",
            Protocol::Sctp => "_sctp",
        };
        // With its underscore a name of 63 characters fits no label; then there is no such record.
        let owner = base.child(label)?.child(&format!("_{name}"))?;
        let set = locations(hosts, ttl, |port| port.name == name && port.protocol == protocol)?;
        Some((owner, vec![set]))
    })
}

/// One SRV set: priority 0, equal weights, no duplicates.
fn locations(hosts: &[Located<'_>], ttl: u32, wanted: impl Fn(&NamedPort) -> bool) -> Option<RrSet> {
    let count = |(_, addresses, ports): &Located<'_>| addresses * ports.iter().filter(|port| wanted(port)).count();
    let entries: usize = hosts.iter().map(count).sum();
    let weight = u16::try_from(100 / entries.max(1)).unwrap_or(1).max(1);
    let mut set = RrSetBuilder::new(rtype::SRV, ttl);
    let mut seen: Vec<(&Name, u16)> = Vec::new();
    for (name, _, ports) in hosts {
        // Endpoints that share a host label follow one another, so only the last name can repeat.
        seen.retain(|(before, _)| before == name);
        for port in ports.iter().filter(|port| wanted(port)) {
            if seen.contains(&(*name, port.port)) {
                continue;
            }
            seen.push((*name, port.port));
            let [priority, weight, port] = [0, weight, port.port].map(u16::to_be_bytes);
            set.add(&[&priority, &weight, &port, name.wire()]);
        }
    }
    set.finish()
}
