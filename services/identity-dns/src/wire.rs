//! DNS messages as bytes: names, questions, record sets.
//!
//! Chosen: our own reading of questions and writing of answers, because the answers are encoded when facts are
//! published and a question is a header and one name. Rejected: a general codec on the path of every packet, which
//! parses and allocates far more than that needs. A general codec is what the tests hold this against.

mod name;
mod query;
mod record;

pub use name::Name;
pub(crate) use name::within;
pub(crate) use query::Raw;
pub use query::{Edns, Parsed, Query, Rejected, parse};
pub use record::{Record, RrSet, RrSetBuilder};

/// Types of records (RFC 1035 section 3.2.2 and later).
pub mod rtype {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Service location.
    pub const SRV: u16 = 33;
    /// Options of the message itself.
    pub const OPT: u16 = 41;
    /// Question only: incremental zone transfer.
    pub const IXFR: u16 = 251;
    /// Question only: whole zone transfer.
    pub const AXFR: u16 = 252;
    /// Question only: whatever there is.
    pub const ANY: u16 = 255;
}

/// The class Internet.
pub const CLASS_IN: u16 = 1;

/// Bytes of a message's header.
pub const HEADER_BYTES: usize = 12;

/// Largest message: what the length prefix over TCP can say.
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// What a compression pointer can reach.
pub const POINTER_MAX: usize = 0x3fff;

/// The first octet of a compression pointer.
pub const POINTER_MARK: u8 = 0xc0;

/// Outcome of a question (RFC 1035 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rcode {
    /// There is an answer, possibly empty.
    NoError = 0,
    /// The message makes no sense.
    FormErr = 1,
    /// It cannot be said now.
    ServFail = 2,
    /// The name does not exist.
    NxDomain = 3,
    /// This kind of message is not supported.
    NotImp = 4,
    /// It is not ours to say.
    Refused = 5,
    /// A version of EDNS that is not supported.
    BadVers = 16,
}

/// Reads a big-endian number at `at`.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Reads a big-endian number at `at`.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Where the name that begins at `at` ends; it may end with a pointer, which is not followed. None where it is malformed.
#[must_use]
pub fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            mark if mark & POINTER_MARK == POINTER_MARK => {
                bytes.get(at + 1)?;
                return Some(at + 2);
            }
            _ => return None,
        }
    }
}
