//! Which address a new pod gets.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An IPv4 network that pods live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodNetwork {
    base: u32,
    prefix_length: u8,
}

impl PodNetwork {
    /// The network that holds `address`. The prefix has 8 to 28 bits, so that the first address (the bridge) leaves
    /// room for pods; otherwise none.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix_length: u8) -> Option<Self> {
        (8..=28).contains(&prefix_length).then(|| {
            let mask = u32::MAX << (32 - u32::from(prefix_length));
            Self { base: u32::from(address) & mask, prefix_length }
        })
    }

    /// Address of the bridge: the first.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    /// Length of the prefix in bits.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// The next free address after `last`, going round, so that an address rests as long as possible before its next
    /// pod. None if all are taken.
    #[must_use]
    pub fn allocate(&self, taken: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let size = 1_u32 << (32 - u32::from(self.prefix_length));
        // Not the network, the bridge, or the broadcast address.
        let count = size - 3;
        let after = last.map_or(0, |last| u32::from(last).wrapping_sub(self.base + 2).wrapping_add(1) % count);
        (0..count)
            .map(|step| Ipv4Addr::from(self.base + 2 + (after + step) % count))
            .find(|candidate| !taken.contains(candidate))
    }
}

impl std::str::FromStr for PodNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/')
            .and_then(|(address, length)| Self::new(address.parse().ok()?, length.parse().ok()?))
            .ok_or_else(|| format!("{text:?} is not an IPv4 network of 8 to 28 bits, such as 10.77.0.0/16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_follow_one_another_and_go_round() {
        let network: PodNetwork = "10.77.0.0/28".parse().expect("a network");
        assert_eq!(network.gateway(), ip("10.77.0.1"));
        let none = BTreeSet::new();
        assert_eq!(network.allocate(&none, None), Some(ip("10.77.0.2")));
        assert_eq!(network.allocate(&none, Some(ip("10.77.0.2"))), Some(ip("10.77.0.3")));
        assert_eq!(network.allocate(&none, Some(ip("10.77.0.14"))), Some(ip("10.77.0.2")));
        let taken = BTreeSet::from([ip("10.77.0.3"), ip("10.77.0.4")]);
        assert_eq!(network.allocate(&taken, Some(ip("10.77.0.2"))), Some(ip("10.77.0.5")));
    }

    #[test]
    fn a_full_network_has_none() {
        let network: PodNetwork = "10.77.0.0/28".parse().expect("a network");
        let taken = (2..15).map(|last| Ipv4Addr::new(10, 77, 0, last)).collect();
        assert_eq!(network.allocate(&taken, Some(ip("10.77.0.9"))), None);
    }
}
