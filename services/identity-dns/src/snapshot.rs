//! What is served at one moment. Immutable; every question is answered from exactly one.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::tree::Tree;
use crate::wire::{Name, within};
use crate::zone::PodRecords;

/// One state of all zones.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Serial of the zones; strictly higher (RFC 1982) than that of any earlier state that differs.
    pub serial: u32,
    /// Whether facts were ever loaded. Until then nothing is said about any name.
    pub loaded: bool,
    /// Names.
    pub tree: Tree,
    /// What does not change while the server runs.
    pub frame: Arc<Frame>,
}

/// What the zones are.
#[derive(Debug)]
pub struct Frame {
    /// The cluster's zone.
    pub forward: Name,
    /// Tops of the reverse zones.
    pub reverse: HashSet<Name>,
    /// `ns.dns.<zone>`.
    pub nameserver: Name,
    /// `pod.<zone>`.
    pub pods: Name,
    /// TTL of positive answers, in seconds.
    pub ttl: u32,
    /// TTL and minimum of the SOA, in seconds: how long a cache may keep that something is not there.
    pub negative_ttl: u32,
    /// Which pod addresses have names.
    pub pod_records: PodRecords,
    /// Addresses of the server.
    pub addresses: Vec<IpAddr>,
}

impl Frame {
    /// Top of the zone that `name`, in lower case on the wire, belongs to; none where it is not ours.
    #[must_use]
    pub fn zone_of<'a>(&'a self, name: &[u8]) -> Option<&'a Name> {
        if within(name, self.forward.wire()) {
            return Some(&self.forward);
        }
        if !name.ends_with(b"\x04arpa\x00") {
            return None;
        }
        let mut at = 0;
        while at < name.len() {
            if let Some(apex) = self.reverse.get(&name[at..]) {
                return Some(apex);
            }
            at += 1 + usize::from(name[at]);
        }
        None
    }
}
