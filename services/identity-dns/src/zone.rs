//! From facts to the served zones (DNS rules, sections 1 and 2). Pure.
//!
//! A [`Zone`] keeps the facts and what each Service contributes. A change is worked off by what it touches: one pod that
//! becomes ready costs its own names, however many other names there are. The record sets of the Services that select it are
//! made when somebody asks.

mod address;
mod endpoint;
mod located;
mod reverse;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use domain::zone::{ObjectName, PodFacts, ServiceFacts, ZoneChange, ZoneFacts};

use self::reverse::Reverse;
use self::service::{Dirty, Rules, ServiceState};
use crate::snapshot::{Frame, Snapshot};
use crate::tree::{Sets, Tree};
use crate::wire::{Name, RrSet, rtype};

pub use address::{Cidr, InvalidCidr, dashed, reverse_name, undashed};

/// TTL of the schema's version, in seconds: it does not change while a server runs.
const VERSION_TTL: u32 = 28_800;

/// Version of the schema of names.
const VERSION: &[u8] = b"\x051.1.0";

/// Longest cluster domain, in bytes: it leaves room for `_port._proto.service.namespace.svc` of usual length.
pub const DOMAIN_BYTES_MAX: usize = 128;

/// Which pod addresses have names like `10-77-0-5.default.pod.<zone>` (DNS rules, section 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodRecords {
    /// None.
    Disabled,
    /// Any address, in any namespace that exists.
    Insecure,
    /// Those of pods that exist.
    #[default]
    Verified,
}

/// What the zones are, apart from facts.
#[derive(Debug, Clone)]
pub struct ZoneOptions {
    /// Domain of the cluster, such as `cluster.local`.
    pub domain: Name,
    /// TTL of positive answers, in seconds.
    pub ttl: u32,
    /// How long caches may keep that something is not there, in seconds.
    pub negative_ttl: u32,
    /// Addresses of the server.
    pub addresses: Vec<IpAddr>,
    /// Blocks of addresses whose reverse zones are ours.
    pub cidrs: Vec<Cidr>,
    /// Which pod addresses have names.
    pub pod_records: PodRecords,
    /// Whether endpoints without a hostname are called by their pod's name instead of their address.
    pub endpoint_pod_names: bool,
}

/// Facts, and the zones made of them.
#[derive(Debug)]
pub struct Zone {
    cidrs: Vec<Cidr>,
    rules: Rules,
    frame: Arc<Frame>,
    facts: ZoneFacts,
    services: BTreeMap<ObjectName, ServiceState>,
    selectors: Selectors,
    reverse: Reverse,
    /// How many pods have an address in a namespace.
    pod_addresses: BTreeMap<(String, IpAddr), u32>,
    tree: Tree,
}

impl Zone {
    /// Zones without facts. None where the domain leaves no room for the names below it.
    #[must_use]
    pub fn new(options: ZoneOptions) -> Option<Self> {
        let forward = options.domain;
        if forward.wire().len() > DOMAIN_BYTES_MAX {
            return None;
        }
        let frame = Frame {
            reverse: options.cidrs.iter().flat_map(Cidr::reverse_apexes).collect(),
            nameserver: forward.child("dns")?.child("ns")?,
            pods: forward.child("pod")?,
            ttl: options.ttl,
            negative_ttl: options.negative_ttl,
            pod_records: options.pod_records,
            addresses: options.addresses,
            forward,
        };
        let rules = Rules {
            services: frame.forward.child("svc")?,
            ttl: frame.ttl,
            endpoint_pod_names: options.endpoint_pod_names,
        };
        let mut tree = Tree::default();
        for apex in frame.reverse.iter().chain([&frame.forward]) {
            tree.insert_apex(apex);
            tree.set(apex, RrSet::names(rtype::NS, frame.ttl, [&frame.nameserver]).into_iter().collect::<Vec<_>>());
        }
        tree.set(&frame.nameserver, RrSet::addresses(frame.ttl, frame.addresses.iter().copied()).collect::<Vec<_>>());
        tree.pin(&frame.nameserver, true);
        tree.pin(&rules.services, true);
        tree.pin(&frame.pods, true);
        let version = RrSet::new(rtype::TXT, VERSION_TTL, [VERSION]).into_iter().collect::<Vec<_>>();
        tree.set(&frame.forward.child("dns-version")?, version);
        Some(Self {
            cidrs: options.cidrs,
            rules,
            frame: Arc::new(frame),
            facts: ZoneFacts::default(),
            services: BTreeMap::new(),
            selectors: Selectors::default(),
            reverse: Reverse::default(),
            pod_addresses: BTreeMap::new(),
            tree,
        })
    }

    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &ZoneFacts {
        &self.facts
    }

    /// What is served of this state.
    #[must_use]
    pub fn snapshot(&self, serial: u32, loaded: bool) -> Snapshot {
        Snapshot { serial, loaded, tree: self.tree.clone(), frame: self.frame.clone() }
    }

    /// Makes a change. Returns whether any answer is different now; only beside names too long to exist it may be none.
    pub fn apply(&mut self, mut change: ZoneChange) -> bool {
        // Pods last: a pod finds its Services by an index, where a new Service has to look at every pod there is.
        let pods = std::mem::take(&mut change.pods);
        let changed = self.apply_part(change);
        self.apply_part(ZoneChange { pods, ..ZoneChange::default() }) || changed
    }

    fn apply_part(&mut self, change: ZoneChange) -> bool {
        let mut dirty = BTreeMap::new();
        let mut pods = BTreeSet::new();
        let mut changed = self.apply_namespaces(&change, &mut dirty, &mut pods);
        for name in change.services.iter().map(|service| &service.name).chain(&change.removed_services) {
            if let Some(old) = self.facts.services.get(name) {
                self.selectors.remove(old);
            }
            dirty.insert(name.clone(), Dirty::All);
        }
        change.services.iter().for_each(|service| self.selectors.insert(service));
        for slice in change.slices.iter().map(|slice| &slice.name).chain(&change.removed_slices) {
            let old = self.facts.slices.get(slice).map(|old| old.service.clone());
            dirty.extend(old.map(|service| (ObjectName::new(&slice.namespace, service), Dirty::All)));
        }
        let slices = change.slices.iter().map(|slice| ObjectName::new(&slice.name.namespace, &slice.service));
        dirty.extend(slices.map(|service| (service, Dirty::All)));
        // Sets: a message may name a pod twice, but it is forgotten and learned once.
        let put: BTreeSet<ObjectName> = change.pods.iter().map(|pod| pod.name.clone()).collect();
        let gone: BTreeSet<ObjectName> = change.removed_pods.iter().chain(&put).cloned().collect();
        for name in &gone {
            self.forget_pod(name, &mut dirty, &mut pods);
        }
        self.facts.apply(change);
        for name in &put {
            self.learn_pod(name, &mut dirty, &mut pods);
        }
        for (name, dirty) in dirty {
            changed |= self.refresh(name, &dirty);
        }
        changed |= self.reverse.flush(&mut self.tree, &self.cidrs, self.rules.ttl);
        for (namespace, address) in pods {
            changed |= self.refresh_pod_address(namespace, address);
        }
        changed
    }

    /// Namespaces exist even if empty; whatever is in one depends on it.
    fn apply_namespaces(
        &mut self,
        change: &ZoneChange,
        dirty: &mut BTreeMap<ObjectName, Dirty>,
        pods: &mut BTreeSet<(String, IpAddr)>,
    ) -> bool {
        let mut changed = false;
        let gone = change.removed_namespaces.iter().filter(|name| !change.namespaces.contains(name));
        let gone: Vec<_> = gone.map(|name| (name, false)).collect();
        for (namespace, exists) in gone.into_iter().chain(change.namespaces.iter().map(|name| (name, true))) {
            if self.facts.namespaces.contains(namespace) == exists {
                continue;
            }
            for above in [self.rules.services.clone(), self.frame.pods.clone()] {
                changed |= above.child(namespace).is_some_and(|name| self.tree.pin(&name, exists));
            }
            let services = in_namespace(&self.facts.services, namespace);
            dirty.extend(services.map(|(name, _)| (name.clone(), Dirty::All)));
            let start = (namespace.clone(), IpAddr::from([0, 0, 0, 0]));
            let addresses = self.pod_addresses.range(start..).take_while(|((other, _), _)| other == namespace);
            pods.extend(addresses.map(|(key, _)| key.clone()));
        }
        changed
    }

    fn forget_pod(
        &mut self,
        name: &ObjectName,
        dirty: &mut BTreeMap<ObjectName, Dirty>,
        addresses: &mut BTreeSet<(String, IpAddr)>,
    ) {
        for key in self.touch_pod(name, dirty) {
            if let Some(count) = self.pod_addresses.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.pod_addresses.remove(&key);
                }
            }
            addresses.insert(key);
        }
    }

    fn learn_pod(
        &mut self,
        name: &ObjectName,
        dirty: &mut BTreeMap<ObjectName, Dirty>,
        addresses: &mut BTreeSet<(String, IpAddr)>,
    ) {
        for key in self.touch_pod(name, dirty) {
            *self.pod_addresses.entry(key.clone()).or_default() += 1;
            addresses.insert(key);
        }
    }

    /// Marks what depends on a pod; gives the addresses it has.
    fn touch_pod(&self, name: &ObjectName, dirty: &mut BTreeMap<ObjectName, Dirty>) -> Vec<(String, IpAddr)> {
        let Some(pod) = self.facts.pods.get(name) else { return Vec::new() };
        self.selectors.mark(pod, &self.facts, dirty);
        pod_addresses(pod).into_iter().map(|address| (name.namespace.clone(), address)).collect()
    }

    fn refresh(&mut self, name: ObjectName, dirty: &Dirty) -> bool {
        let state = self.services.entry(name.clone()).or_default();
        let update = state.refresh(&name, dirty, &self.facts, &self.rules);
        if state.is_empty() {
            self.services.remove(&name);
        }
        let mut changed = false;
        for (name, sets) in update.sets {
            match sets {
                // It is not made only to be compared: what its endpoints add to it is something else.
                Sets::Later(_) if matches!(dirty, Dirty::Pods(_)) => {
                    self.tree.replace(&name, sets);
                    changed = true;
                }
                sets => changed |= self.tree.set(&name, sets),
            }
        }
        update.pointers.into_iter().for_each(|pointer| self.reverse.note(pointer));
        changed
    }

    fn refresh_pod_address(&mut self, namespace: String, address: IpAddr) -> bool {
        if self.frame.pod_records != PodRecords::Verified {
            return false;
        }
        let Some(name) = self.frame.pods.child(&namespace).and_then(|name| name.child(&dashed(address))) else {
            return false;
        };
        let exists =
            self.facts.namespaces.contains(&namespace) && self.pod_addresses.contains_key(&(namespace, address));
        let addresses = exists.then_some(address);
        self.tree.set(&name, RrSet::addresses(self.rules.ttl, addresses).collect::<Vec<_>>())
    }
}

/// Addresses a pod has for itself, without repetition. One that has ended has none: they may be another's by now.
fn pod_addresses(pod: &PodFacts) -> BTreeSet<IpAddr> {
    if pod.terminal { BTreeSet::new() } else { pod.ips.iter().copied().collect() }
}

/// The objects of one namespace.
fn in_namespace<'a, T>(
    objects: &'a BTreeMap<ObjectName, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ObjectName, &'a T)> {
    let start = ObjectName::new(namespace, "");
    objects.range(start..).take_while(move |(name, _)| name.namespace == namespace)
}

/// Services by namespace and the first label they select, so that a pod finds the few that may select it.
#[derive(Debug, Default)]
struct Selectors(BTreeMap<(String, String, String), BTreeSet<String>>);

impl Selectors {
    fn key(service: &ServiceFacts) -> Option<(String, String, String)> {
        let (key, value) = service.selector.first_key_value()?;
        Some((service.name.namespace.clone(), key.clone(), value.clone()))
    }

    fn insert(&mut self, service: &ServiceFacts) {
        if let Some(key) = Self::key(service) {
            self.0.entry(key).or_default().insert(service.name.name.clone());
        }
    }

    fn remove(&mut self, service: &ServiceFacts) {
        let Some(key) = Self::key(service) else { return };
        let Some(names) = self.0.get_mut(&key) else { return };
        names.remove(&service.name.name);
        if names.is_empty() {
            self.0.remove(&key);
        }
    }

    /// Notes the pod for every Service that selects it.
    fn mark(&self, pod: &PodFacts, facts: &ZoneFacts, dirty: &mut BTreeMap<ObjectName, Dirty>) {
        for (key, value) in &pod.labels {
            let key = (pod.name.namespace.clone(), key.clone(), value.clone());
            for service in self.0.get(&key).into_iter().flatten() {
                let name = ObjectName::new(&pod.name.namespace, service);
                let selects = facts.services.get(&name).is_none_or(|service| service.selects(&pod.labels));
                if selects && let Dirty::Pods(pods) = dirty.entry(name).or_default() {
                    pods.insert(pod.name.name.clone());
                }
            }
        }
    }
}
