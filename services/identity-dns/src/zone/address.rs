//! Names made from addresses: dashed labels, reverse names, reverse zones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::wire::Name;

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no block of addresses such as 10.77.0.0/16")]
pub struct InvalidCidr(String);

impl Cidr {
    /// Whether `address` belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let width = width(address);
        let shift = u32::from(width - self.prefix.min(width));
        let cut = |address| bits(address).checked_shr(shift).unwrap_or(0);
        address.is_ipv4() == self.network.is_ipv4() && cut(address) == cut(self.network)
    }

    /// The tops of the reverse zones that cover it exactly, on octet (IPv4) or nibble (IPv6) boundaries: at most 128.
    #[must_use]
    pub fn reverse_apexes(&self) -> Vec<Name> {
        let width = width(self.network);
        let step = if self.network.is_ipv4() { 8 } else { 4 };
        let boundary = self.prefix.div_ceil(step) * step;
        let shift = u32::from(width - boundary);
        let first = bits(self.network).checked_shr(shift).unwrap_or(0);
        let zones = (0..1u128 << (boundary - self.prefix)).map(|place| (first + place).checked_shl(shift).unwrap_or(0));
        let labels_cut = usize::from((width - boundary) / step);
        zones.filter_map(|zone| ancestor(reverse_name(address(zone, self.network))?, labels_cut)).collect()
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let invalid = || InvalidCidr(text.to_owned());
        let (network, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let network: IpAddr = network.parse().map_err(|_| invalid())?;
        let prefix = prefix.parse().ok().filter(|prefix| (1..=width(network)).contains(prefix)).ok_or_else(invalid)?;
        let shift = u32::from(width(network) - prefix);
        let masked = bits(network).checked_shr(shift).and_then(|bits| bits.checked_shl(shift)).unwrap_or(0);
        Ok(Self { network: address(masked, network), prefix })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

fn ancestor(name: Name, steps: usize) -> Option<Name> {
    (0..steps).try_fold(name, |name, _| name.parent())
}

/// Owner of the PTR records of an address.
#[must_use]
pub fn reverse_name(address: IpAddr) -> Option<Name> {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let nibbles = (0..32).map(|place| format!("{:x}.", (bits >> (4 * place)) & 0xf));
            nibbles.collect::<String>() + "ip6.arpa"
        }
    };
    Name::from_text(&text)
}

/// The address as one label: `10-244-0-10`, `fd00-10-244--9` (DNS rules, section 2.4).
#[must_use]
pub fn dashed(address: IpAddr) -> String {
    let mut label = address.to_string().replace(['.', ':'], "-");
    if label.ends_with('-') {
        label.push('0');
    }
    if label.starts_with('-') {
        label.insert(0, '0');
    }
    label
}

/// Reads a dashed label back: three dashes and no double one mean IPv4 (DNS rules, section 2.6).
#[must_use]
pub fn undashed(label: &str) -> Option<IpAddr> {
    if label.matches('-').count() == 3 && !label.contains("--") {
        return label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_valid_labels_and_back() {
        for (address, label) in [
            ("10.244.0.10", "10-244-0-10"),
            ("fd00:10:244::9", "fd00-10-244--9"),
            ("2001:db8::", "2001-db8--0"),
            ("::1", "0--1"),
            ("::", "0--0"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(dashed(address), label);
            assert_eq!(undashed(label), Some(address), "{label}");
        }
        for text in ["web-0", "10-244-0", "10-244-0-256", "1-2-3-4-5"] {
            assert_eq!(undashed(text), None, "{text}");
        }
    }

    #[test]
    fn reverse_zones_cover_exactly_the_block() {
        let apexes = |text: &str| {
            let apexes = text.parse::<Cidr>().unwrap().reverse_apexes();
            apexes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(apexes("10.244.0.0/16"), ["244.10.in-addr.arpa."]);
        assert_eq!(apexes("10.0.0.0/8"), ["10.in-addr.arpa."]);
        assert_eq!(apexes("10.77.2.0/23"), ["2.77.10.in-addr.arpa.", "3.77.10.in-addr.arpa."]);
        assert_eq!(apexes("127.0.0.1/32"), ["1.0.0.127.in-addr.arpa."]);
        assert_eq!(apexes("fd00:10:244::/48"), ["4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa."]);
        assert_eq!(apexes("fd00::/7").len(), 2);
        assert_eq!(apexes("10.0.0.0/9").len(), 128);
    }

    #[test]
    fn blocks_contain_their_addresses() {
        let block: Cidr = "10.77.5.1/16".parse().unwrap();
        assert_eq!(block.to_string(), "10.77.0.0/16");
        assert!(block.contains("10.77.255.255".parse().unwrap()));
        assert!(!block.contains("10.78.0.0".parse().unwrap()) && !block.contains("::1".parse().unwrap()));
        assert!("10.0.0.0".parse::<Cidr>().is_err() && "10.0.0.0/33".parse::<Cidr>().is_err());
        assert!("::/0".parse::<Cidr>().is_err() && "x/8".parse::<Cidr>().is_err());
    }
}
