//! Where the endpoints of a Service are, and the record sets that name all of them.
//!
//! Such a set is as large as the Service, and with each endpoint that comes or goes it is another. So it is made when
//! somebody asks for it, of the endpoints that there were at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use domain::zone::{NamedPort, Protocol};
use rpds::RedBlackTreeMapSync;

use super::endpoint::{Endpoint, EndpointKey};
use crate::tree::Later;
use crate::wire::{Name, RrSet, RrSetBuilder, rtype};

/// Endpoints by host label. A copy shares everything with its original.
pub(super) type Hosts = RedBlackTreeMapSync<String, Arc<Host>>;

/// A host label of a Service.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// The name that it makes; none where it is too long.
    pub(super) name: Option<Name>,
    /// Who has it.
    pub(super) endpoints: BTreeMap<EndpointKey, Arc<Endpoint>>,
}

/// What a host label adds to the sets of its Service, but for the weights, which depend on all labels together.
#[derive(Debug, PartialEq, Eq)]
struct Share<'a> {
    addresses: BTreeSet<IpAddr>,
    /// Numbers of the ports under every name, in the order of their records. The sets of the Service itself have all of
    /// them, here under no name.
    ports: BTreeMap<Option<(&'a str, Protocol)>, Vec<u16>>,
}

impl Host {
    fn share<'a>(&'a self, label: &str) -> Share<'a> {
        let mut share = Share { addresses: BTreeSet::new(), ports: BTreeMap::new() };
        for endpoint in self.endpoints.values() {
            let hosts = endpoint.hosts.iter().filter(|(host, _)| host == label);
            share.addresses.extend(hosts.map(|(_, address)| *address));
            for port in endpoint.ports.iter().filter(|_| self.name.is_some()) {
                let named = Some((port.name.as_str(), port.protocol)).filter(|(name, _)| !name.is_empty());
                for name in [None].into_iter().chain(named.map(Some)) {
                    let numbers = share.ports.entry(name).or_default();
                    if !numbers.contains(&port.port) {
                        numbers.push(port.port);
                    }
                }
            }
        }
        share
    }
}

/// Whether these labels add something else to the sets of their Service now, the weights aside.
pub(super) fn differ(before: &Hosts, now: &Hosts, labels: &BTreeSet<String>) -> bool {
    labels.iter().any(|label| match (before.get(label), now.get(label)) {
        (Some(before), Some(now)) => before.share(label) != now.share(label),
        (before, now) => before.is_some() != now.is_some(),
    })
}

/// Record sets at one name that name every endpoint of a Service.
#[derive(Debug)]
pub(super) struct Locations {
    hosts: Hosts,
    what: What,
    /// TTL in seconds.
    ttl: u32,
    made: OnceLock<Vec<RrSet>>,
}

/// Which of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// All addresses, and all ports.
    Service,
    /// Ports of this name.
    Port(PortName),
}

/// A name of a port, unique among those of one protocol.
pub(super) type PortName = (String, Protocol);

impl Locations {
    /// The sets of one name. Some endpoint must be there, for a port one with a name that has the port.
    pub(super) fn new(hosts: &Hosts, what: What, ttl: u32) -> Self {
        Self { hosts: hosts.clone(), what, ttl, made: OnceLock::new() }
    }

    fn make(&self) -> Vec<RrSet> {
        let hosts = located(&self.hosts);
        match &self.what {
            What::Service => {
                let endpoints = self.hosts.values().flat_map(|host| host.endpoints.values());
                let addresses = endpoints.flat_map(|endpoint| &endpoint.hosts).map(|(_, address)| *address);
                RrSet::addresses(self.ttl, addresses).chain(locations(&hosts, self.ttl, |_| true)).collect()
            }
            What::Port(port) => {
                locations(&hosts, self.ttl, |candidate| is_called(candidate, port)).into_iter().collect()
            }
        }
    }
}

impl Later for Locations {
    fn sets(&self) -> &[RrSet] {
        self.made.get_or_init(|| self.make())
    }
}

/// A name that SRV records lead to, how many addresses it stands for, and its ports.
pub(super) type Located<'a> = (&'a Name, usize, &'a [NamedPort]);

/// Host names with how many addresses and which ports they stand for.
fn located(hosts: &Hosts) -> Vec<Located<'_>> {
    let mut located = Vec::with_capacity(hosts.size());
    for (label, host) in hosts {
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

/// Whether a port has this name.
pub(super) fn is_called(port: &NamedPort, (name, protocol): &PortName) -> bool {
    port.name == *name && port.protocol == *protocol
}

/// Where SRV records of a port are, below the Service; none where the name is too long for that: with its underscore one of
/// 63 characters fits no label.
pub(super) fn port_owner(base: &Name, (name, protocol): &PortName) -> Option<Name> {
    let label = match protocol {
        Protocol::Tcp => "_tcp",
        Protocol::Udp => "_udp",
        Protocol::Sctp => "_sctp",
    };
    base.child(label)?.child(&format!("_{name}"))
}

/// The weight of each record of a set that stands for so many addresses and ports: together about 100.
pub(super) fn weight(entries: usize) -> u16 {
    u16::try_from(100 / entries.max(1)).unwrap_or(1).max(1)
}

/// One SRV set: priority 0, equal weights, no duplicates.
pub(super) fn locations(hosts: &[Located<'_>], ttl: u32, wanted: impl Fn(&NamedPort) -> bool) -> Option<RrSet> {
    let count = |(_, addresses, ports): &Located<'_>| addresses * ports.iter().filter(|port| wanted(port)).count();
    let weight = weight(hosts.iter().map(count).sum());
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
