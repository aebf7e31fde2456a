//! Answers as messages (DNS rules, sections 3.3, 3.4, 4.3, 4.4).

use std::ops::Range;

use crate::answer::{Answer, Item};
use crate::snapshot::Snapshot;
use crate::wire::{
    CLASS_IN, Edns, HEADER_BYTES, MESSAGE_BYTES_MAX, Name, POINTER_MARK, POINTER_MAX, Query, Rcode, Record, Rejected,
    RrSet, rtype,
};

/// What we accept over UDP, and the most we send over it: it fits a packet on any path.
pub const UDP_PAYLOAD_BYTES_MAX: u16 = 1232;

/// What a client without EDNS takes over UDP.
const UDP_PAYLOAD_BYTES_PLAIN: u16 = 512;

/// Octets of an OPT record without options.
const OPT_BYTES: usize = 11;

/// Way that an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One packet.
    Udp,
    /// A stream.
    Tcp,
}

/// How an answer is sent.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// Way it goes.
    pub transport: Transport,
    /// Whether names outside are resolved too.
    pub recursion_available: bool,
    /// Place of the first record of an address set, modulo its size: each answer begins with another.
    pub rotation: u32,
}

impl Delivery {
    /// The largest message this client takes, in bytes.
    #[must_use]
    pub fn bytes_max(&self, edns: Option<Edns>) -> usize {
        match (self.transport, edns) {
            (Transport::Tcp, _) => MESSAGE_BYTES_MAX,
            (Transport::Udp, None) => UDP_PAYLOAD_BYTES_PLAIN.into(),
            (Transport::Udp, Some(edns)) => {
                edns.payload_bytes.clamp(UDP_PAYLOAD_BYTES_PLAIN, UDP_PAYLOAD_BYTES_MAX).into()
            }
        }
    }
}

/// Writes the answer to a message that is answered with a code only.
#[must_use]
pub fn reject(rejected: &Rejected<'_>, recursion_available: bool) -> Vec<u8> {
    let header = Header { id: rejected.id, flags: rejected.flags, authoritative: false, recursion_available };
    let edns = rejected.edns;
    let mut message = Message::new(Vec::new(), &header, rejected.question, UDP_PAYLOAD_BYTES_PLAIN.into(), edns);
    message.finish(rejected.rcode, edns);
    message.bytes
}

/// Writes an answer into `buffer`, which is emptied first. Whole record sets only: what does not fit is left out, with
/// TC set if it belongs to the answer itself.
pub fn write(
    buffer: Vec<u8>,
    query: &Query<'_>,
    snapshot: &Snapshot,
    answer: &Answer<'_>,
    delivery: Delivery,
) -> Vec<u8> {
    let header = Header {
        id: query.id,
        flags: u8::from(query.recursion_desired),
        authoritative: answer.authoritative,
        recursion_available: delivery.recursion_available,
    };
    let limit = delivery.bytes_max(query.edns);
    let mut message = Message::new(buffer, &header, query.question, limit, query.edns);
    let first = message.answers(query, snapshot, answer, delivery);
    if let Some(apex) = answer.authority.filter(|_| !message.truncated) {
        message.truncated = !message.soa(query, snapshot, apex);
        message.counts[2] = u16::from(!message.truncated);
    }
    if !message.truncated {
        message.additional(answer, first);
    }
    message.finish(answer.rcode, query.edns);
    message.bytes
}

struct Header {
    id: u16,
    flags: u8,
    authoritative: bool,
    recursion_available: bool,
}

struct Message {
    bytes: Vec<u8>,
    /// Bytes that records may fill; room for the OPT is kept apart.
    limit: usize,
    truncated: bool,
    counts: [u16; 4],
}

impl Message {
    fn new(mut bytes: Vec<u8>, header: &Header, question: &[u8], limit: usize, edns: Option<Edns>) -> Self {
        const QR: u8 = 0x80;
        const AA: u8 = 0x04;
        const OPCODE_AND_RD: u8 = 0x79;
        const RA: u8 = 0x80;
        bytes.clear();
        bytes.extend_from_slice(&header.id.to_be_bytes());
        bytes.push(QR | (header.flags & OPCODE_AND_RD) | if header.authoritative { AA } else { 0 });
        bytes.push(if header.recursion_available { RA } else { 0 });
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(question);
        let limit = limit - if edns.is_some() { OPT_BYTES } else { 0 };
        Self { bytes, limit, truncated: false, counts: [u16::from(!question.is_empty()), 0, 0, 0] }
    }

    fn finish(&mut self, rcode: Rcode, edns: Option<Edns>) {
        const TC: u8 = 0x02;
        let code = rcode as u8;
        if let Some(edns) = edns {
            let [high, low] = UDP_PAYLOAD_BYTES_MAX.to_be_bytes();
            let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
            self.bytes.extend_from_slice(&[0, 0, rtype::OPT as u8, high, low, code >> 4, 0, dnssec_ok, 0, 0, 0]);
            self.counts[3] += 1;
        }
        self.bytes[2] |= if self.truncated { TC } else { 0 };
        self.bytes[3] |= code & 0x0f;
        for (place, count) in self.counts.iter().enumerate() {
            self.bytes[4 + 2 * place..6 + 2 * place].copy_from_slice(&count.to_be_bytes());
        }
    }

    /// Writes the answer section. Returns where its first item is.
    fn answers(
        &mut self,
        query: &Query<'_>,
        snapshot: &Snapshot,
        answer: &Answer<'_>,
        delivery: Delivery,
    ) -> Range<usize> {
        let mut owner: Option<usize> = None;
        let mut first = self.bytes.len()..self.bytes.len();
        for (place, item) in answer.answers.iter().enumerate() {
            let start = self.bytes.len();
            let written = match item {
                Item::Soa(apex) => self.soa(query, snapshot, apex).then_some(1),
                Item::Set(set) => self.set(set, owner, delivery),
                Item::Made(set) => self.set(set, owner, delivery),
            };
            self.counts[1] += written.unwrap_or(0);
            let whole = match item {
                Item::Soa(_) => written.is_some(),
                Item::Set(set) => written.map(u32::from) == Some(set.count()),
                Item::Made(set) => written.map(u32::from) == Some(set.count()),
            };
            if !whole {
                self.truncated = true;
                break;
            }
            if place == 0 {
                first = start..self.bytes.len();
            }
            // The data of a CNAME owns what follows.
            owner = Some(start + 12);
        }
        first
    }

    /// Writes a record set, owned by the name at `owner` or by the question. None where it does not fit; over TCP,
    /// beyond which there is nothing larger, as many of its records as fit.
    fn set(&mut self, set: &RrSet, owner: Option<usize>, delivery: Delivery) -> Option<u16> {
        let room = self.limit.saturating_sub(self.bytes.len());
        let fits = set.bytes().len() <= room && set.count() <= u16::MAX.into();
        if !fits && delivery.transport == Transport::Udp {
            return None;
        }
        let start = self.bytes.len();
        let mut count = 0;
        if fits && owner.is_none() {
            self.bytes.extend_from_slice(&rotated(set, delivery.rotation).concat());
            return u16::try_from(set.count()).ok();
        }
        for record in set.records() {
            let bytes = self.bytes.len() + record.bytes().len();
            if bytes > self.limit || count == u16::MAX {
                break;
            }
            self.record(record, owner);
            count += 1;
        }
        (self.bytes.len() > start).then_some(count)
    }

    fn record(&mut self, record: Record<'_>, owner: Option<usize>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.bytes());
        if let Some(owner) = owner.and_then(pointer) {
            self.bytes[start..start + 2].copy_from_slice(&owner);
        }
    }

    /// Writes the SOA of a zone that the question's name lies in. Returns whether it fits.
    fn soa(&mut self, query: &Query<'_>, snapshot: &Snapshot, apex: &Name) -> bool {
        let start = self.bytes.len();
        let depth = query.name.len().checked_sub(apex.wire().len());
        let pointer =
            depth.filter(|_| query.name.ends_with(apex.wire())).and_then(|depth| pointer(HEADER_BYTES + depth));
        let owner = pointer.as_ref().map_or(apex.wire(), |pointer| pointer);
        let forward = &snapshot.frame.forward;
        self.bytes.extend_from_slice(owner);
        let domain = if apex == forward { owner } else { forward.wire() };
        self.bytes.extend_from_slice(&soa_fields(snapshot, domain));
        let fits = self.bytes.len() <= self.limit;
        if !fits {
            self.bytes.truncate(start);
        }
        fits
    }

    /// Adds addresses of names in the data of the first answer, as long as there is room.
    fn additional(&mut self, answer: &Answer<'_>, first: Range<usize>) {
        let (mut place, mut at) = (0, first.start);
        for (wanted, set) in &answer.additional {
            while place < *wanted {
                let Some(length) = crate::wire::u16_at(&self.bytes[..first.end], at + 10) else { return };
                at += 12 + usize::from(length);
                place += 1;
            }
            let Some(kind) = crate::wire::u16_at(&self.bytes, at + 2) else { return };
            let owner = pointer(at + if kind == rtype::SRV { 18 } else { 12 });
            // A name that no pointer can reach is not worth its bytes.
            let Some(owner) = owner else { return };
            if self.bytes.len() + set.bytes().len() > self.limit
                || set.count() > u32::from(u16::MAX - self.counts[3]) - 1
            {
                return;
            }
            for record in set.records() {
                self.bytes.extend_from_slice(&owner);
                self.bytes.extend_from_slice(record.without_owner());
                self.counts[3] += 1;
            }
        }
    }
}

/// Type, class, TTL, length and data of the SOA. `domain` is the cluster's on the wire, or a pointer to it.
#[must_use]
pub fn soa_fields(snapshot: &Snapshot, domain: &[u8]) -> Vec<u8> {
    const SERVER: &[u8] = b"\x02ns\x03dns";
    const PERSON: &[u8] = b"\x0ahostmaster";
    const REFRESH: u32 = 7200;
    const RETRY: u32 = 1800;
    const EXPIRE: u32 = 86_400;
    let frame = &snapshot.frame;
    let data = SERVER.len() + PERSON.len() + 2 * domain.len() + 20;
    let mut bytes = Vec::with_capacity(10 + data);
    bytes.extend_from_slice(&rtype::SOA.to_be_bytes());
    bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    bytes.extend_from_slice(&frame.negative_ttl.to_be_bytes());
    // Two names of at most 255 octets and five numbers.
    bytes.extend_from_slice(&u16::try_from(data).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(SERVER);
    bytes.extend_from_slice(domain);
    bytes.extend_from_slice(PERSON);
    bytes.extend_from_slice(domain);
    for number in [snapshot.serial, REFRESH, RETRY, EXPIRE, frame.negative_ttl] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes
}

fn pointer(offset: usize) -> Option<[u8; 2]> {
    let offset = u16::try_from(offset).ok().filter(|offset| usize::from(*offset) <= POINTER_MAX)?;
    let [high, low] = offset.to_be_bytes();
    Some([high | POINTER_MARK, low])
}

/// The records of a set, addresses beginning with another one each time. Those have all the same length.
fn rotated(set: &RrSet, rotation: u32) -> [&[u8]; 2] {
    let bytes = set.bytes();
    if !matches!(set.rtype(), rtype::A | rtype::AAAA) || set.count() < 2 {
        return [bytes, &[]];
    }
    let count = usize::try_from(set.count()).unwrap_or(1);
    let start = usize::try_from(rotation).unwrap_or(0) % count * (bytes.len() / count);
    [&bytes[start..], &bytes[..start]]
}
