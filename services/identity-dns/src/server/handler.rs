//! One message in, what becomes of it out. Whatever needs no one else is answered at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use crate::answer::{Answer, answer};
use crate::config::Outside;
use crate::forward::{ForwardError, Forwarder, Outward};
use crate::metrics::Queries;
use crate::publisher::Publisher;
use crate::reply::{self, Delivery, Transport};
use crate::snapshot::Snapshot;
use crate::transfer;
use crate::wire::{HEADER_BYTES, Name, Parsed, Query, Rcode, parse, rtype};
use crate::zone::Cidr;

/// Who may do what.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Who may ask; empty means everybody.
    pub(crate) clients: Vec<Cidr>,
    /// Who may take whole zones.
    pub(crate) transfers: Vec<Cidr>,
    /// What is said of names outside.
    pub(crate) outside: Outside,
}

/// Answers messages.
pub(crate) struct Handler {
    publisher: Arc<Publisher>,
    forwarder: Forwarder,
    access: Access,
    rotation: AtomicU32,
    queries: Arc<Queries>,
}

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Handled {
    /// Nothing.
    Drop,
    /// This answer.
    Reply(Vec<u8>),
    /// These, one after the other.
    Stream(Vec<Vec<u8>>),
    /// Somebody else has to be asked first: see [`Handler::finish`].
    Outward(Vec<u8>),
}

impl Handler {
    pub(crate) fn new(publisher: Arc<Publisher>, forwarder: Forwarder, access: Access, queries: Arc<Queries>) -> Self {
        Self { publisher, forwarder, access, rotation: AtomicU32::new(0), queries }
    }

    pub(crate) fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// Handles one message. `buffer` is used for the answer.
    pub(crate) fn handle(&self, message: &[u8], peer: IpAddr, transport: Transport, buffer: Vec<u8>) -> Handled {
        let began = Instant::now();
        let (rtype, handled) = self.decide(message, peer, transport, buffer);
        self.queries.count(rtype, transport, began, &handled);
        handled
    }

    /// What becomes of a message, and the type of its question, if it has one.
    fn decide(&self, message: &[u8], peer: IpAddr, transport: Transport, buffer: Vec<u8>) -> (Option<u16>, Handled) {
        let peer = peer.to_canonical();
        let allowed = |blocks: &[Cidr]| blocks.iter().any(|block| block.contains(peer));
        if !self.access.clients.is_empty() && !allowed(&self.access.clients) {
            return (None, Handled::Drop);
        }
        let query = match parse(message) {
            Parsed::Drop => return (None, Handled::Drop),
            Parsed::Reject(rejected) => {
                return (None, Handled::Reply(reply::reject(&rejected, self.recursion_available())));
            }
            Parsed::Query(query) => query,
        };
        let rtype = query.rtype;
        (Some(rtype), self.question(&query, transport, buffer, &allowed))
    }

    fn question(
        &self,
        query: &Query<'_>,
        transport: Transport,
        buffer: Vec<u8>,
        allowed: &dyn Fn(&[Cidr]) -> bool,
    ) -> Handled {
        let snapshot = self.publisher.snapshot();
        let Some(apex) = snapshot.frame.zone_of(&query.name) else {
            return self.outside(query, &snapshot, transport, buffer);
        };
        if matches!(query.rtype, rtype::AXFR | rtype::IXFR) {
            let allowed = allowed(&self.access.transfers);
            return self.transfer(query, &snapshot, apex, transport, allowed);
        }
        let answer = answer(&snapshot, apex, &query.name, query.rtype);
        if answer.outside.is_some() && self.chases(query) {
            return Handled::Outward(query.message.to_vec());
        }
        Handled::Reply(reply::write(buffer, query, &snapshot, &answer, self.delivery(transport)))
    }

    /// Asks outside and answers. None where the message needs no one else, or no answer.
    pub(crate) async fn finish(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Parsed::Query(query) = parse(message) else { return None };
        let snapshot = self.publisher.snapshot().clone();
        let delivery = self.delivery(transport);
        let write = |answer: &Answer<'_>| reply::write(Vec::new(), &query, &snapshot, answer, delivery);
        let Some(apex) = snapshot.frame.zone_of(&query.name) else {
            let outward = Outward { question: query.question.to_vec(), edns: query.edns };
            return Some(match self.forwarder.ask(&outward).await {
                Ok(answer) => {
                    relay(answer, &query, delivery).unwrap_or_else(|| write(&Answer::code(Rcode::ServFail, false)))
                }
                Err(error) => write(&Answer::code(failure(error), false)),
            });
        };
        let mut answer = answer(&snapshot, apex, &query.name, query.rtype);
        if let Some(target) = answer.outside {
            match self.forwarder.resolve(target, query.rtype).await {
                Ok((rcode, items)) => {
                    answer.rcode = rcode;
                    answer.answers.extend(items);
                }
                Err(ForwardError::NoResolver) => {}
                Err(ForwardError::NoAnswer | ForwardError::Busy) => {
                    return Some(write(&Answer::code(Rcode::ServFail, false)));
                }
            }
        }
        Some(write(&answer))
    }

    fn outside(&self, query: &Query<'_>, snapshot: &Snapshot, transport: Transport, buffer: Vec<u8>) -> Handled {
        let rcode = match self.access.outside {
            Outside::Refuse => Rcode::Refused,
            Outside::NxDomain => Rcode::NxDomain,
            Outside::Forward if !query.recursion_desired || matches!(query.rtype, rtype::AXFR | rtype::IXFR) => {
                Rcode::Refused
            }
            Outside::Forward if self.forwarder.available() => return Handled::Outward(query.message.to_vec()),
            // REFUSED would become "try again later" in a pod; there is nobody who would know later either.
            Outside::Forward => Rcode::NxDomain,
        };
        let answer = Answer::code(rcode, false);
        Handled::Reply(reply::write(buffer, query, snapshot, &answer, self.delivery(transport)))
    }

    fn transfer(
        &self,
        query: &Query<'_>,
        snapshot: &Snapshot,
        apex: &Name,
        transport: Transport,
        allowed: bool,
    ) -> Handled {
        let small = |answer: &Answer<'_>| {
            Handled::Reply(reply::write(Vec::new(), query, snapshot, answer, self.delivery(transport)))
        };
        let over_tcp = transport == Transport::Tcp;
        if !allowed || apex.wire() != &*query.name || (query.rtype == rtype::AXFR && !over_tcp) {
            return small(&Answer::code(Rcode::Refused, false));
        }
        if !snapshot.loaded {
            return small(&Answer::code(Rcode::ServFail, false));
        }
        if query.rtype == rtype::IXFR && (!over_tcp || transfer::up_to_date(snapshot, query.serial)) {
            return small(&answer(snapshot, apex, &query.name, rtype::SOA));
        }
        Handled::Stream(transfer::messages(query, snapshot, apex))
    }

    fn chases(&self, query: &Query<'_>) -> bool {
        let addresses = matches!(query.rtype, rtype::A | rtype::AAAA);
        addresses && query.recursion_desired && self.recursion_available()
    }

    fn recursion_available(&self) -> bool {
        self.access.outside == Outside::Forward && self.forwarder.available()
    }

    fn delivery(&self, transport: Transport) -> Delivery {
        let rotation = self.rotation.fetch_add(1, Ordering::Relaxed);
        Delivery { transport, recursion_available: self.recursion_available(), rotation }
    }
}

fn failure(error: ForwardError) -> Rcode {
    match error {
        ForwardError::NoResolver => Rcode::NxDomain,
        ForwardError::NoAnswer | ForwardError::Busy => Rcode::ServFail,
    }
}

/// A resolver's answer as our client's: with its id, without claims that we did not check, cut if it is too large.
/// None where the resolver's answer is malformed.
fn relay(mut message: Vec<u8>, query: &Query<'_>, delivery: Delivery) -> Option<Vec<u8>> {
    const AA: u8 = 0x04;
    const TC: u8 = 0x02;
    const RA: u8 = 0x80;
    const RCODE: u8 = 0x0f;
    message.get(HEADER_BYTES..)?.starts_with(query.question).then_some(())?;
    message[..2].copy_from_slice(&query.id.to_be_bytes());
    message[2] = (message[2] & !AA & !1) | u8::from(query.recursion_desired);
    message[3] = (message[3] & RCODE) | RA;
    if message.len() > delivery.bytes_max(query.edns) {
        message.truncate(HEADER_BYTES + query.question.len());
        message[2] |= TC;
        message[6..HEADER_BYTES].fill(0);
    }
    Some(message)
}
