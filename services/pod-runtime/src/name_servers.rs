//! The DNS servers that the coordinator tells of. They know the same, so any of them will do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Servers that are asked at most: as many as a resolver of a C library asks.
const SERVERS_MAX: usize = 3;

/// Servers, and which of them answered last.
#[derive(Debug, Default)]
pub struct NameServers {
    all: Vec<SocketAddr>,
    preferred: AtomicUsize,
}

impl NameServers {
    /// These servers; those beyond the third are left out.
    #[must_use]
    pub fn new(mut all: Vec<SocketAddr>) -> Self {
        all.truncate(SERVERS_MAX);
        Self { all, preferred: AtomicUsize::new(0) }
    }

    /// Those of a text: `host:port`, several with commas. What is no address is left out.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self::new(text.split(',').filter_map(|server| server.trim().parse().ok()).collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, first the one that answered last.
    pub(crate) fn in_turn(&self) -> impl ExactSizeIterator<Item = SocketAddr> {
        let first = self.preferred.load(Ordering::Relaxed);
        (0..self.all.len()).map(move |place| self.all[(first + place) % self.all.len()])
    }

    /// This one answered.
    pub(crate) fn prefer(&self, server: SocketAddr) {
        if let Some(place) = self.all.iter().position(|one| *one == server) {
            self.preferred.store(place, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_answered_last_is_first() {
        let servers = NameServers::of("127.0.0.1:1, [::1]:2,no address,127.0.0.1:3,127.0.0.1:4");
        let ports = || servers.in_turn().map(|server| server.port()).collect::<Vec<_>>();
        assert_eq!(ports(), [1, 2, 3]);
        servers.prefer("[::1]:2".parse().unwrap());
        assert_eq!(ports(), [2, 3, 1]);
        servers.prefer("127.0.0.1:4".parse().unwrap());
        assert_eq!(ports(), [2, 3, 1]);
        assert!(NameServers::of("").is_empty() && NameServers::of("").in_turn().next().is_none());
    }
}
