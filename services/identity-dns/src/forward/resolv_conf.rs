//! Nameservers in a file in the form of resolv.conf.

use std::net::{IpAddr, SocketAddr};

/// Nameservers that are used; a stub resolver uses no more either.
const NAMESERVERS_MAX: usize = 3;

/// Port of DNS; the file cannot name another.
const PORT: u16 = 53;

/// The nameservers in order. Lines that make no sense are skipped, as every resolver does.
pub(super) fn nameservers(text: &str) -> impl Iterator<Item = SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // A scope such as %eth0 belongs to link-local addresses, which need more than an address to be asked.
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, PORT))
    });
    servers.take(NAMESERVERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_nameservers_count() {
        let text = "# comment\nsearch a b\nnameserver 127.0.0.53\n  nameserver\t::1 # here\nnameserver x\n\
                    nameserver fe80::1%eth0\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let found: Vec<String> = nameservers(text).map(|server| server.to_string()).collect();
        assert_eq!(found, ["127.0.0.53:53", "[::1]:53", "10.0.0.2:53"]);
    }
}
