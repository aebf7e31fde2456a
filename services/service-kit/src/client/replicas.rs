//! Several servers of one service behind one target, for where no mesh balances.
//!
//! Calls take turns. A server that cannot be reached is left out for a while, so that one which restarts costs at most
//! one call, and idempotent ones not even that ([`Retry`](crate::Retry)). Names are looked up again while calls go on, so
//! that servers which come and go are found without a restart.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long addresses are used before their names are looked up again. A look-up costs a packet; a replica that was
/// added waits this long for its share.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);

/// How long a server that could not be reached is left out. Shorter than it takes to start one, so that it is used as
/// soon as it is back.
const LEFT_OUT: Duration = Duration::from_millis(500);

/// Servers of one target. More addresses than this are no replicas of a planner; the first are used.
const REPLICAS_MAX: usize = 64;

/// The servers of one target.
pub(crate) struct Replicas {
    /// `host:port`, each of which may be several addresses.
    names: Vec<String>,
    make: Box<dyn Fn(SocketAddr) -> tonic::transport::Channel + Send + Sync>,
    turn: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    replicas: Vec<Replica>,
    looked_up: Option<Instant>,
    looking: bool,
}

#[derive(Clone)]
struct Replica {
    address: SocketAddr,
    channel: tonic::transport::Channel,
    left_out_until: Option<Instant>,
}

/// A server whose turn it is.
pub(crate) struct Picked {
    pub(crate) address: SocketAddr,
    pub(crate) channel: tonic::transport::Channel,
}

impl Replicas {
    /// The servers that these names stand for.
    pub(crate) fn new(
        names: Vec<String>,
        make: impl Fn(SocketAddr) -> tonic::transport::Channel + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { names, make: Box::new(make), turn: AtomicUsize::new(0), known: Mutex::default() })
    }

    /// The next server. Where all are left out, the next of them all the same.
    ///
    /// # Errors
    /// No name has an address; with what the last look-up said.
    pub(crate) async fn next(self: &Arc<Self>) -> Result<Picked, String> {
        if let Some(picked) = self.pick() {
            self.look_up_if_due();
            return Ok(picked);
        }
        self.look_up().await?;
        self.pick().ok_or_else(|| format!("{} has no address", self.names.join(",")))
    }

    /// Every server. Looks their names up where that is due, and where that fails keeps to those known.
    ///
    /// # Errors
    /// No name has an address; with what the last look-up said.
    pub(crate) async fn all(&self) -> Result<Vec<Picked>, String> {
        if self.is_due() {
            let looked_up = self.look_up().await;
            if self.count() == 0 {
                looked_up?;
                return Err(format!("{} has no address", self.names.join(",")));
            }
        }
        let picked = |replica: &Replica| Picked { address: replica.address, channel: replica.channel.clone() };
        Ok(self.lock().replicas.iter().map(picked).collect())
    }

    /// How many servers there are, as far as known.
    pub(crate) fn count(&self) -> usize {
        self.lock().replicas.len()
    }

    /// A server could not be reached.
    pub(crate) fn leave_out(self: &Arc<Self>, address: SocketAddr) {
        let until = Instant::now() + LEFT_OUT;
        if let Some(replica) = self.lock().replicas.iter_mut().find(|replica| replica.address == address) {
            replica.left_out_until = Some(until);
        }
    }

    fn pick(&self) -> Option<Picked> {
        let (known, now) = (self.lock(), Instant::now());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..known.replicas.len()).map(|place| &known.replicas[(turn + place) % known.replicas.len()]);
        let reachable = in_turn().find(|replica| replica.left_out_until.is_none_or(|until| until <= now));
        let replica = reachable.or_else(|| in_turn().next())?;
        Some(Picked { address: replica.address, channel: replica.channel.clone() })
    }

    fn is_due(&self) -> bool {
        let known = self.lock();
        known.replicas.is_empty() || known.looked_up.is_none_or(|at| at.elapsed() >= LOOK_UP_INTERVAL)
    }

    fn look_up_if_due(self: &Arc<Self>) {
        if !self.is_due() {
            return;
        }
        let mut known = self.lock();
        if known.looking {
            return;
        }
        known.looking = true;
        drop(known);
        let this = self.clone();
        // One at a time, and a look-up ends by itself; calls go on with what is known.
        tokio::spawn(async move {
            if let Err(error) = this.look_up().await {
                tracing::debug!(error, "a name cannot be looked up; its last addresses are used");
            }
        });
    }

    /// Looks every name up. Servers that are still there keep their connections.
    async fn look_up(&self) -> Result<(), String> {
        let mut found = Vec::new();
        let mut failed = None;
        for name in &self.names {
            match tokio::net::lookup_host(name).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => failed = Some(format!("{name} cannot be looked up: {error}")),
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(REPLICAS_MAX);
        let mut known = self.lock();
        (known.looking, known.looked_up) = (false, Some(Instant::now()));
        match failed {
            // A resolver that fails says nothing about the servers.
            Some(error) if found.is_empty() => return Err(error),
            Some(_) => found.extend(known.replicas.iter().map(|replica| replica.address)),
            None => {}
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(REPLICAS_MAX);
        let before = std::mem::take(&mut known.replicas);
        let make = |address| Replica { address, channel: (self.make)(address), left_out_until: None };
        let keep = |address| before.iter().find(|replica| replica.address == address).cloned();
        known.replicas = found.into_iter().map(|address| keep(address).unwrap_or_else(|| make(address))).collect();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Replicas").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn replicas(names: &[&str]) -> Arc<Replicas> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Replicas::new(names, |_| tonic::transport::Endpoint::from_static("http://setkeeper.invalid").connect_lazy())
    }

    async fn turns(replicas: &Arc<Replicas>, count: usize) -> BTreeMap<SocketAddr, usize> {
        let mut turns = BTreeMap::new();
        for _ in 0..count {
            *turns.entry(replicas.next().await.expect("there are some").address).or_default() += 1;
        }
        turns
    }

    #[tokio::test]
    async fn calls_take_turns_and_who_cannot_be_reached_is_left_out_for_a_while() {
        let replicas = replicas(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let even = turns(&replicas, 30).await;
        assert_eq!(even.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
        let dead: SocketAddr = "127.0.0.1:2".parse().expect("an address");
        replicas.leave_out(dead);
        assert!(!turns(&replicas, 30).await.contains_key(&dead));
        let back = async {
            while !turns(&replicas, 3).await.contains_key(&dead) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(20 * LEFT_OUT, back).await.expect("it may be back");
    }

    #[tokio::test]
    async fn where_all_are_left_out_they_are_tried_all_the_same() {
        let replicas = replicas(&["127.0.0.1:1", "127.0.0.1:2"]);
        let all = turns(&replicas, 2).await;
        all.keys().for_each(|address| replicas.leave_out(*address));
        assert_eq!(turns(&replicas, 2).await, all);
    }

    #[tokio::test]
    async fn all_are_every_server_once() {
        let several = replicas(&["127.0.0.1:2", "127.0.0.1:1", "127.0.0.1:2"]);
        let all = several.all().await.expect("there are some");
        assert_eq!(all.iter().map(|one| one.address.port()).collect::<Vec<_>>(), [1, 2]);
        let error = replicas(&["setkeeper.invalid:1"]).all().await.err().expect("no address");
        assert!(error.contains("setkeeper.invalid:1"), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_said() {
        let error = replicas(&["setkeeper.invalid:1"]).next().await.err().expect("no address");
        assert!(error.contains("setkeeper.invalid:1"), "{error}");
    }
}
