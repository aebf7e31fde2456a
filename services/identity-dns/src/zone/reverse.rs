//! Names of addresses (DNS rules, section 2.8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::{Cidr, reverse_name};
use super::service::{Pointer, Rank, Target};
use crate::tree::Tree;
use crate::wire::{RrSet, rtype};

/// Who points from which address, and how often: two endpoints of one Service may share address and label.
#[derive(Debug, Default)]
pub(super) struct Reverse {
    targets: BTreeMap<IpAddr, BTreeMap<Target, u32>>,
    touched: BTreeSet<IpAddr>,
}

impl Reverse {
    /// Notes a record that appears or disappears.
    pub(super) fn note(&mut self, pointer: Pointer) {
        let targets = self.targets.entry(pointer.address).or_default();
        if pointer.present {
            *targets.entry(pointer.target).or_default() += 1;
        } else if let Some(count) = targets.get_mut(&pointer.target) {
            *count -= 1;
            if *count == 0 {
                targets.remove(&pointer.target);
            }
        }
        if targets.is_empty() {
            self.targets.remove(&pointer.address);
        }
        self.touched.insert(pointer.address);
    }

    /// Brings the records of all touched addresses up to date. Returns whether anything changed.
    pub(super) fn flush(&mut self, tree: &mut Tree, owned: &[Cidr], ttl: u32) -> bool {
        let mut changed = false;
        for address in std::mem::take(&mut self.touched) {
            let Some(name) = reverse_name(address).filter(|_| owned.iter().any(|cidr| cidr.contains(address))) else {
                continue;
            };
            let targets = self.targets.get(&address);
            let own = targets.into_iter().flatten().map(|(target, _)| target);
            // The address of a Service itself has one name; endpoints at the same address do not show.
            let cluster = own.clone().find(|target| target.rank == Rank::Cluster);
            let set = match cluster {
                Some(cluster) => RrSet::names(rtype::PTR, ttl, [&cluster.name]),
                None => RrSet::names(rtype::PTR, ttl, own.map(|target| &target.name)),
            };
            changed |= tree.set(&name, set.into_iter().collect::<Vec<_>>());
        }
        changed
    }
}
