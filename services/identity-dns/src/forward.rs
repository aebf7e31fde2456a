//! Asking the host's resolvers about names outside our zones (DNS rules, section 4.5).

mod exchange;
mod resolv_conf;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use service_kit::clock::Clock;
use tokio::sync::Semaphore;

use crate::answer::Item;
use crate::wire::{Edns, HEADER_BYTES, Name, Raw, Rcode, RrSet, rtype, u16_at};

/// Tries of one question.
const TRIES: usize = 2;

/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Questions under way at the same time. Each holds a socket; more than these are answered with SERVFAIL.
const IN_FLIGHT_MAX: usize = 256;

/// How often the resolver file is looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// Longest chain of CNAMEs in an answer from outside.
const CHAIN_MAX: usize = 10;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolvers {
    /// The nameservers of a file in the form of resolv.conf, which may change.
    File(PathBuf),
    /// These.
    Fixed(Vec<SocketAddr>),
}

/// Why a question outside has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForwardError {
    /// There is nobody to ask.
    #[error("there is no resolver to ask")]
    NoResolver,
    /// Nobody answered sensibly in time.
    #[error("no resolver answered in time")]
    NoAnswer,
    /// Too many questions are under way.
    #[error("more than {IN_FLIGHT_MAX} questions are under way")]
    Busy,
}

/// What is asked outside.
#[derive(Debug, Clone)]
pub(crate) struct Outward {
    /// Question section, with its spelling.
    pub(crate) question: Vec<u8>,
    /// OPT of the client, if it sent one.
    pub(crate) edns: Option<Edns>,
}

/// Asks outside.
pub(crate) struct Forwarder {
    resolvers: Resolvers,
    /// Our own addresses: asking them would go in circles.
    ours: Mutex<Vec<SocketAddr>>,
    known: Mutex<Known>,
    in_flight: Semaphore,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Known {
    checked: Option<Duration>,
    modified: Option<SystemTime>,
    addresses: Arc<[SocketAddr]>,
}

impl Forwarder {
    pub(crate) fn new(resolvers: Resolvers, clock: Arc<dyn Clock>) -> Self {
        let in_flight = Semaphore::new(IN_FLIGHT_MAX);
        Self { resolvers, ours: Mutex::default(), known: Mutex::default(), in_flight, clock }
    }

    /// Never ask there.
    pub(crate) fn exclude(&self, address: SocketAddr) {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// Whether there is anybody to ask.
    pub(crate) fn available(&self) -> bool {
        !self.addresses().is_empty()
    }

    /// The answer of the first resolver that gives one; its id means nothing.
    pub(crate) async fn ask(&self, outward: &Outward) -> Result<Vec<u8>, ForwardError> {
        let addresses = self.addresses();
        if addresses.is_empty() {
            return Err(ForwardError::NoResolver);
        }
        let _permit = self.in_flight.try_acquire().map_err(|_| ForwardError::Busy)?;
        for address in addresses.iter().cycle().take(TRIES) {
            let exchange = exchange::exchange(*address, outward);
            let sleep = self.clock.sleep(TRY_TIMEOUT);
            let answer = tokio::select! {
                answer = exchange => answer,
                () = sleep => Err(std::io::ErrorKind::TimedOut.into()),
            };
            match answer {
                Ok(answer) if !unwilling(&answer) => return Ok(answer),
                Ok(_) => tracing::debug!(resolver = %address, "a resolver cannot answer"),
                Err(error) => tracing::debug!(resolver = %address, %error, "a resolver does not answer"),
            }
        }
        Err(ForwardError::NoAnswer)
    }

    /// What a name outside leads to: its CNAMEs and addresses, and the code of the last name.
    pub(crate) async fn resolve(&self, name: &[u8], asked: u16) -> Result<(Rcode, Vec<Item<'static>>), ForwardError> {
        let mut question = name.to_vec();
        question.extend_from_slice(&asked.to_be_bytes());
        question.extend_from_slice(&crate::wire::CLASS_IN.to_be_bytes());
        let answer = self.ask(&Outward { question, edns: None }).await?;
        chain(&answer, name, asked).ok_or(ForwardError::NoAnswer)
    }

    fn addresses(&self) -> Arc<[SocketAddr]> {
        let ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let foreign = |address: &SocketAddr| !ours.iter().any(|our| same(our, address));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let path = match &self.resolvers {
            Resolvers::Fixed(addresses) => return addresses.iter().copied().filter(foreign).collect(),
            Resolvers::File(path) => path,
        };
        let now = self.clock.monotonic();
        if known.checked.is_some_and(|checked| now.saturating_sub(checked) < RELOAD_INTERVAL) {
            return known.addresses.clone();
        }
        known.checked = Some(now);
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if known.modified.is_none() || known.modified != modified {
            known.modified = modified;
            let text = std::fs::read_to_string(path).unwrap_or_default();
            known.addresses = resolv_conf::nameservers(&text).filter(foreign).collect();
        }
        known.addresses.clone()
    }
}

/// Whether a question to `address` would arrive at our own socket `our`.
fn same(our: &SocketAddr, address: &SocketAddr) -> bool {
    let everywhere = our.ip().is_unspecified() && address.ip().is_loopback();
    our.port() == address.port() && (our.ip() == address.ip() || everywhere)
}

/// SERVFAIL and REFUSED say nothing about the name: another resolver may know.
fn unwilling(answer: &[u8]) -> bool {
    matches!(answer[3] & 0x0f, 2 | 5)
}

fn chain(message: &[u8], name: &[u8], asked: u16) -> Option<(Rcode, Vec<Item<'static>>)> {
    let rcode = match message[3] & 0x0f {
        0 => Rcode::NoError,
        3 => Rcode::NxDomain,
        _ => Rcode::ServFail,
    };
    let mut at = crate::wire::skip_name(message, HEADER_BYTES)? + 4;
    let mut records = Vec::new();
    for _ in 0..u16_at(message, 6)? {
        let record = Raw::read(message, at)?;
        let owner = Name::from_message(message, at)?;
        at = record.end;
        records.push((owner, record));
    }
    let mut items = Vec::new();
    let mut current = Name::from_wire(name)?;
    for _ in 0..CHAIN_MAX {
        let of = |wanted: u16| {
            let current = current.clone();
            records.iter().filter(move |(owner, record)| *owner == current && record.rtype == wanted)
        };
        let ttl = of(asked).map(|(_, record)| record.ttl).min();
        let data = of(asked).map(|(_, record)| &message[record.data..record.end]);
        if let Some(set) = ttl.and_then(|ttl| RrSet::new(asked, ttl, data)) {
            items.push(Item::Made(set));
            break;
        }
        let next = of(rtype::CNAME)
            .next()
            .and_then(|(_, record)| Some((record.ttl, Name::from_message(message, record.data)?)));
        let Some((ttl, target)) = next else { break };
        items.extend(RrSet::names(rtype::CNAME, ttl, [&target]).map(Item::Made));
        current = target;
    }
    Some((rcode, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_sockets_are_not_asked() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(same(&address("127.0.0.1:53"), &address("127.0.0.1:53")));
        assert!(same(&address("0.0.0.0:53"), &address("127.0.0.1:53")));
        assert!(!same(&address("127.0.0.1:7753"), &address("127.0.0.1:53")));
        assert!(!same(&address("127.77.0.53:53"), &address("127.0.0.53:53")));
    }
}
