//! The records of one Service (DNS rules, sections 2.2, 2.3, 2.5, 2.7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use domain::zone::{NamedPort, ObjectName, ServiceAddress, ServiceFacts, ZoneFacts};

use super::endpoint::{self, Endpoint, EndpointKey};
use super::located::{Host, Hosts, Locations, PortName, What, differ, is_called, locations, port_owner, weight};
use crate::tree::Sets;
use crate::wire::{Name, RrSet, rtype};

/// What one Service contributes, kept so that a change costs only what it touches.
#[derive(Debug, Default)]
pub(super) struct ServiceState {
    endpoints: BTreeMap<EndpointKey, Arc<Endpoint>>,
    hosts: Hosts,
    /// How many addresses have a port of that name, where they have a name themselves.
    port_names: BTreeMap<PortName, usize>,
    /// The same for ports of any name and of none.
    ports_in_all: usize,
    /// Ports of the endpoint that was resolved last: mostly the next has the same.
    ports: Arc<[NamedPort]>,
    /// Names that are the Service's own: it itself and its ports.
    names: BTreeSet<Name>,
    /// Addresses of its own that point back to it.
    pointed: BTreeSet<IpAddr>,
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
    pub(super) sets: Vec<(Name, Sets)>,
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
        let (hosts, weights) = (self.hosts.clone(), self.weights());
        for key in self.concerned(dirty, key, service, facts) {
            let new = service.and_then(|service| resolve(&key, service, facts, rules));
            let new = new.map(|endpoint| self.share_ports(endpoint));
            self.replace(key, new, &base, &mut labels, &mut update);
        }
        for label in &labels {
            let Some(name) = base.child(label) else { continue };
            let endpoints = self.hosts.get(label).into_iter().flat_map(|host| host.endpoints.values());
            let hosts = endpoints.flat_map(|endpoint| &endpoint.hosts);
            let addresses = hosts.filter(|(host, _)| host == label).map(|(_, address)| *address);
            update.sets.push((name, RrSet::addresses(rules.ttl, addresses).collect::<Vec<_>>().into()));
        }
        let of_pods = matches!(dirty, Dirty::Pods(_));
        if of_pods && !differ(&hosts, &self.hosts, &labels) && weights == self.weights() {
            return update;
        }
        let own = service.map(|service| self.own_records(service, &base, rules)).unwrap_or_default();
        let gone = self.names.iter().filter(|name| !own.contains_key(*name));
        update.sets.extend(gone.map(|name| (name.clone(), Sets::default())));
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

    /// A large Service is read from end to end when somebody asks for it: what all its endpoints have in common is there once.
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
                let name = self.place(&key, label, base, Some(endpoint).filter(|_| present));
                if name.is_some() {
                    self.count_ports(endpoint, present);
                }
                labels.insert(label.clone());
                update.pointers.extend(pointer(endpoint, label, *address, present));
            }
        }
    }

    /// Puts an endpoint at a host label, or takes it away; the name of the label, if it makes one.
    fn place(&mut self, key: &EndpointKey, label: &str, base: &Name, endpoint: Option<&Arc<Endpoint>>) -> Option<Name> {
        let known = self.hosts.get(label).cloned();
        let new = || Arc::new(Host { name: base.child(label), endpoints: BTreeMap::new() });
        let mut host = known.unwrap_or_else(new);
        let endpoints = &mut Arc::make_mut(&mut host).endpoints;
        match endpoint {
            Some(endpoint) => endpoints.insert(key.clone(), endpoint.clone()),
            None => endpoints.remove(key),
        };
        let name = host.name.clone();
        if host.endpoints.is_empty() {
            self.hosts.remove_mut(label);
        } else {
            self.hosts.insert_mut(label.to_owned(), host);
        }
        name
    }

    /// Notes that an address with the ports of this endpoint appears or disappears.
    fn count_ports(&mut self, endpoint: &Endpoint, present: bool) {
        let count = |count: usize, by| if present { count + by } else { count.saturating_sub(by) };
        self.ports_in_all = count(self.ports_in_all, endpoint.ports.len());
        let named = endpoint.ports.iter().filter(|port| !port.name.is_empty());
        for port in named.map(|port| (port.name.clone(), port.protocol)) {
            let addresses = self.port_names.entry(port.clone()).or_default();
            *addresses = count(*addresses, 1);
            if *addresses == 0 {
                self.port_names.remove(&port);
            }
        }
    }

    /// The weights of its SRV records, all of them first. What is missing has none.
    fn weights(&self) -> Vec<(Option<PortName>, u16)> {
        let named = self.port_names.iter().map(|(port, count)| (Some(port.clone()), weight(*count)));
        [(None, weight(self.ports_in_all))].into_iter().chain(named).collect()
    }

    /// Records at the Service's name and at its ports.
    fn own_records(&self, service: &ServiceFacts, base: &Name, rules: &Rules) -> BTreeMap<Name, Sets> {
        let mut own = BTreeMap::new();
        match &service.address {
            ServiceAddress::ExternalName(target) => {
                let target = Name::from_text(target);
                let cname = target.and_then(|target| RrSet::names(rtype::CNAME, rules.ttl, [&target]));
                own.extend(cname.map(|cname| (base.clone(), vec![cname].into())));
            }
            ServiceAddress::ClusterIps(ips) => {
                let ports = own_ports(service);
                let hosts = [(base, ips.len(), ports.as_slice())];
                let sets = RrSet::addresses(rules.ttl, ips.iter().copied());
                let sets: Vec<_> = sets.chain(locations(&hosts, rules.ttl, |_| true)).collect();
                own.insert(base.clone(), sets.into());
                let named = ports.iter().filter(|port| !port.name.is_empty());
                for port in named.map(|port| (port.name.clone(), port.protocol)) {
                    let set = locations(&hosts, rules.ttl, |candidate| is_called(candidate, &port));
                    own.extend(port_owner(base, &port).zip(set).map(|(owner, set)| (owner, vec![set].into())));
                }
            }
            ServiceAddress::Headless if self.hosts.is_empty() => {}
            ServiceAddress::Headless => {
                let later = |what| Sets::Later(Arc::new(Locations::new(&self.hosts, what, rules.ttl)));
                own.insert(base.clone(), later(What::Service));
                for port in self.port_names.keys() {
                    own.extend(port_owner(base, port).map(|owner| (owner, later(What::Port(port.clone())))));
                }
            }
        }
        own
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
