//! How the services are laid out, and where each of them is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use super::SERVICES;
use crate::hosts::Hosts;
use crate::proxy::Hop;

/// Port of a service that has a host of its own.
const HOSTS_PORT: u16 = 7700;

/// Port of DNS there.
const HOSTS_DNS_PORT: u16 = 7753;

/// Services that have two replicas in a mesh.
const REPLICATED: [&str; 3] = ["ordinal-scheduler", "update-planner", "identity-dns"];

/// Users who have a certificate, by its directory.
const USERS: [&str; 2] = ["users/admin", "users/ann"];

/// Products of this process that had an address of their own.
static PRODUCTS: AtomicU8 = AtomicU8::new(0);

/// How its services are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `setkeeper up`: all in one process.
    OneProcess,
    /// `setkeeper serve <service>`: each on its own.
    Separate,
    /// The same over TCP with mutual TLS. Commands are those of the user `admin`, who may do everything.
    Secured,
    /// The same with two replicas of planners and of identity-dns, and a [`Proxy`](crate::Proxy) between everyone who calls and is called.
    Mesh,
}

impl Layout {
    /// The layout that the environment asks for, where a test does not depend on one: `SETKEEPER_TEST_LAYOUT=mesh`.
    ///
    /// # Panics
    /// When it asks for another.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tests ask for their layout themselves")]
    pub fn asked() -> Option<Self> {
        match std::env::var("SETKEEPER_TEST_LAYOUT").ok()?.as_str() {
            "mesh" => Some(Self::Mesh),
            other => panic!("SETKEEPER_TEST_LAYOUT={other}: only mesh can be asked for"),
        }
    }

    /// Whether its services prove to each other who they are.
    pub(super) fn is_secured(self) -> bool {
        matches!(self, Self::Secured | Self::Mesh)
    }

    /// How many processes a service has.
    pub(super) fn replicas(self, service: &str) -> usize {
        if self == Self::Mesh && REPLICATED.contains(&service) { 2 } else { 1 }
    }
}

/// Where the services of a layout over TCP listen.
#[derive(Debug, Default)]
pub(super) struct Places {
    services: BTreeMap<&'static str, Vec<SocketAddr>>,
    dns: Vec<SocketAddr>,
}

impl Places {
    /// Each service on its own host.
    pub(super) fn on(hosts: &Hosts) -> Self {
        let at = |name, port| vec![SocketAddr::new(hosts.address(name), port)];
        let services = SERVICES.into_iter().map(|name| (name, at(name, HOSTS_PORT))).collect();
        Self { services, dns: at("identity-dns", HOSTS_DNS_PORT) }
    }

    /// Everything on this machine, and for the proxy of a mesh the way from everyone to whom they call.
    pub(super) fn here(layout: Layout) -> (Self, Vec<Hop>) {
        let mut free = FreePorts::new();
        let services = SERVICES.into_iter().map(|name| (name, free.take(layout.replicas(name)))).collect();
        let places = Self { services, dns: free.take(layout.replicas("identity-dns")) };
        let others = || SERVICES.into_iter().filter(|name| *name != "coordinator");
        let upwards = others().chain(USERS).map(|caller| (caller, "coordinator"));
        let downwards = others().map(|callee| ("coordinator", callee));
        let mut hops = Vec::new();
        for (caller, callee) in upwards.chain(downwards) {
            let servers = places.services[callee].clone();
            // Calls to planners take turns; each identity-dns is told every name, so each has a way of its own.
            let ways = if callee == "identity-dns" { servers.chunks(1) } else { servers.chunks(servers.len()) };
            for servers in ways {
                let (caller, servers) = (caller.to_owned(), servers.to_vec());
                hops.push(Hop { caller, callee, listen: free.take(1)[0], servers });
            }
        }
        (places, hops)
    }

    /// Where the replicas of a service listen; none in a layout without TCP.
    pub(super) fn of(&self, service: &str) -> Option<&[SocketAddr]> {
        self.services.get(service).map(Vec::as_slice)
    }

    /// Where the replicas of identity-dns serve names; empty in a layout without TCP.
    pub(super) fn dns(&self) -> &[SocketAddr] {
        &self.dns
    }
}

/// Ports that are free, at a loopback address that no other product has: services listen there a while later, and those of
/// another test are not to come in between.
#[derive(Debug)]
pub struct FreePorts {
    address: IpAddr,
    taken: Vec<TcpListener>,
}

impl FreePorts {
    /// Another address than any before.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        // Addresses of pods begin with 127.77.
        let address = Ipv4Addr::new(127, 128 | (high & 63), low, 1 + PRODUCTS.fetch_add(1, Ordering::Relaxed) % 250);
        Self { address: address.into(), taken: Vec::new() }
    }

    /// They stay taken as long as this lives, so that none is given twice.
    ///
    /// # Panics
    /// When there are none.
    pub fn take(&mut self, count: usize) -> Vec<SocketAddr> {
        let taken = (0..count).map(|_| TcpListener::bind((self.address, 0)).expect("a free port"));
        self.taken.extend(taken);
        let last = &self.taken[self.taken.len() - count..];
        last.iter().map(|listener| listener.local_addr().expect("it is bound")).collect()
    }
}
