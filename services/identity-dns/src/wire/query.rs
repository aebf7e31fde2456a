//! Reading of questions.

use super::{CLASS_IN, HEADER_BYTES, Rcode, rtype, skip_name, u16_at, u32_at};

/// What a message turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Not to be answered: no header, or itself an answer.
    Drop,
    /// To be answered with a code and nothing else.
    Reject(Rejected<'a>),
    /// A question.
    Query(Query<'a>),
}

/// A message that is answered with a code.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// Id of the message.
    pub id: u16,
    /// Third octet of the header: operation and RD.
    pub flags: u8,
    /// Question section to send back; empty where it could not be read.
    pub question: &'a [u8],
    /// Why.
    pub rcode: Rcode,
    /// Whether the message had a readable OPT.
    pub edns: Option<Edns>,
}

/// What a client said in its OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// Largest answer over UDP that it takes, in bytes.
    pub payload_bytes: u16,
    /// DNSSEC OK, which is sent back.
    pub dnssec_ok: bool,
}

/// A question about one name in class Internet.
#[derive(Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The whole message.
    pub message: &'a [u8],
    /// Id of the message.
    pub id: u16,
    /// Whether the client wants names outside to be resolved too.
    pub recursion_desired: bool,
    /// The question section as it came, spelling included.
    pub question: &'a [u8],
    /// The name in lower case, on the wire.
    pub name: Box<[u8]>,
    /// Type asked for.
    pub rtype: u16,
    /// OPT record, if there was one.
    pub edns: Option<Edns>,
    /// Serial that an IXFR client has.
    pub serial: Option<u32>,
}

/// Reads one message (DNS rules, section 3.1, steps 1 to 4).
#[must_use]
pub fn parse(message: &[u8]) -> Parsed<'_> {
    const QR: u8 = 0x80;
    const OPCODE: u8 = 0x78;
    let Some(id) = u16_at(message, 0).filter(|_| message.len() >= HEADER_BYTES) else { return Parsed::Drop };
    let flags = message[2];
    if flags & QR != 0 {
        return Parsed::Drop;
    }
    let reject = |rcode, question, edns| Parsed::Reject(Rejected { id, flags, question, rcode, edns });
    if flags & OPCODE != 0 {
        return reject(Rcode::NotImp, &[], None);
    }
    let Some(parts) = parse_parts(message) else { return reject(Rcode::FormErr, &[], None) };
    if parts.version > 0 {
        return reject(Rcode::BadVers, parts.question, parts.edns);
    }
    let name = parts.question[..parts.question.len() - 4].to_ascii_lowercase().into_boxed_slice();
    let (asked, class) = type_and_class(parts.question);
    if class != CLASS_IN {
        return reject(Rcode::Refused, parts.question, parts.edns);
    }
    Parsed::Query(Query {
        message,
        id,
        recursion_desired: flags & 1 != 0,
        question: parts.question,
        name,
        rtype: asked,
        edns: parts.edns,
        serial: parts.serial,
    })
}

fn type_and_class(question: &[u8]) -> (u16, u16) {
    let number = |at| u16_at(question, question.len() - at).unwrap_or(0);
    (number(4), number(2))
}

struct Parts<'a> {
    question: &'a [u8],
    edns: Option<Edns>,
    version: u8,
    serial: Option<u32>,
}

/// The sections of a message with exactly one question; none where something is malformed.
fn parse_parts(message: &[u8]) -> Option<Parts<'_>> {
    let count = |place: usize| u16_at(message, 4 + 2 * place);
    if count(0)? != 1 {
        return None;
    }
    let name_end = skip_name(message, HEADER_BYTES)?;
    // There is nothing before the first name that a pointer could mean.
    let uncompressed = message[name_end - 1] == 0 && name_end - HEADER_BYTES <= 255;
    let question = message.get(HEADER_BYTES..name_end + 4).filter(|_| uncompressed)?;
    super::Name::from_wire(&question[..question.len() - 4])?;
    let mut parts = Parts { question, edns: None, version: 0, serial: None };
    let mut at = name_end + 4;
    let (answers, authorities, additionals) = (count(1)?, count(2)?, count(3)?);
    for place in 0..u32::from(answers) + u32::from(authorities) + u32::from(additionals) {
        let record = Raw::read(message, at)?;
        at = record.end;
        let section = place.checked_sub(u32::from(answers));
        let authority = section.is_some_and(|place| place < u32::from(authorities));
        if record.rtype == rtype::SOA && authority && parts.serial.is_none() {
            let serial_at = skip_name(message, record.data).and_then(|at| skip_name(message, at))?;
            parts.serial = u32_at(&message[..record.end], serial_at);
        }
        if record.rtype == rtype::OPT {
            read_opt(message, &record, &mut parts)?;
        }
    }
    (at == message.len()).then_some(parts)
}

/// At most one, owned by the root, with options that fill it exactly.
fn read_opt(message: &[u8], record: &Raw, parts: &mut Parts<'_>) -> Option<()> {
    if parts.edns.is_some() || !record.root {
        return None;
    }
    let mut at = record.data;
    while at < record.end {
        at += 4 + usize::from(u16_at(message, at + 2)?);
    }
    if at != record.end {
        return None;
    }
    let [_, version, flags, _] = record.ttl.to_be_bytes();
    parts.version = version;
    parts.edns = Some(Edns { payload_bytes: record.class, dnssec_ok: flags & 0x80 != 0 });
    Some(())
}

/// Where a record and its data are.
pub(crate) struct Raw {
    pub(crate) root: bool,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: usize,
    pub(crate) end: usize,
}

impl Raw {
    /// Reads the record at `at`; none where it is malformed.
    pub(crate) fn read(message: &[u8], at: usize) -> Option<Self> {
        let fixed = skip_name(message, at)?;
        let length = usize::from(u16_at(message, fixed + 8)?);
        let data = fixed + 10;
        message.get(data..data + length)?;
        Some(Self {
            root: message[at] == 0,
            rtype: u16_at(message, fixed)?,
            class: u16_at(message, fixed + 2)?,
            ttl: u32_at(message, fixed + 4)?,
            data,
            end: data + length,
        })
    }
}
