//! Record sets, encoded once.

use std::net::IpAddr;

use super::{CLASS_IN, HEADER_BYTES, Name, POINTER_MARK, rtype, u16_at};

/// Octets in front of a record's data: owner pointer, type, class, TTL, length.
const FIXED_BYTES: usize = 12;

/// All records of one type at one name, as they go into an answer whose question is that name: each owner is a
/// pointer to the question.
#[derive(Clone, PartialEq, Eq)]
pub struct RrSet {
    rtype: u16,
    count: u32,
    bytes: Box<[u8]>,
}

/// One record of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    bytes: &'a [u8],
}

impl RrSet {
    /// A set of type `rtype`; none without data, and what does not fit a record is left out.
    #[must_use]
    pub fn new<D: AsRef<[u8]>>(rtype: u16, ttl: u32, data: impl IntoIterator<Item = D>) -> Option<Self> {
        let mut set = RrSetBuilder::new(rtype, ttl);
        data.into_iter().for_each(|data| set.add(&[data.as_ref()]));
        set.finish()
    }

    /// The A and AAAA sets of `addresses`, without duplicates, in order.
    pub fn addresses(ttl: u32, addresses: impl IntoIterator<Item = IpAddr>) -> impl Iterator<Item = Self> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address.octets()),
                IpAddr::V6(address) => v6.push(address.octets()),
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        [Self::new(rtype::A, ttl, v4), Self::new(rtype::AAAA, ttl, v6)].into_iter().flatten()
    }

    /// A set whose data is names.
    #[must_use]
    pub fn names<'a>(rtype: u16, ttl: u32, names: impl IntoIterator<Item = &'a Name>) -> Option<Self> {
        Self::new(rtype, ttl, names.into_iter().map(Name::wire))
    }

    /// Type of the records.
    #[must_use]
    pub fn rtype(&self) -> u16 {
        self.rtype
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// All records, encoded.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let length = FIXED_BYTES + usize::from(u16_at(rest, FIXED_BYTES - 2)?);
            let (record, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(Record { bytes: record })
        })
    }

    /// The one name in the data of a set of one CNAME.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.records().next().filter(|_| self.rtype == rtype::CNAME).map(|record| record.data())
    }
}

/// A set under construction.
#[derive(Debug)]
pub struct RrSetBuilder {
    rtype: u16,
    ttl: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl RrSetBuilder {
    /// A set of type `rtype` without records, whose TTL is in seconds.
    #[must_use]
    pub fn new(rtype: u16, ttl: u32) -> Self {
        Self { rtype, ttl, count: 0, bytes: Vec::new() }
    }

    /// Adds a record whose data is these parts, one after the other. What does not fit a record is left out.
    pub fn add(&mut self, data: &[&[u8]]) {
        let Ok(length) = u16::try_from(data.iter().map(|part| part.len()).sum::<usize>()) else { return };
        self.bytes.extend_from_slice(&[POINTER_MARK, HEADER_BYTES as u8]);
        self.bytes.extend_from_slice(&self.rtype.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&self.ttl.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        data.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.count += 1;
    }

    /// The set; none without records.
    #[must_use]
    pub fn finish(self) -> Option<RrSet> {
        let Self { rtype, count, bytes, .. } = self;
        (count > 0).then(|| RrSet { rtype, count, bytes: bytes.into_boxed_slice() })
    }
}

impl<'a> Record<'a> {
    /// The record with a pointer to the question as its owner.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Type, class, TTL, length and data: everything but the owner.
    #[must_use]
    pub fn without_owner(self) -> &'a [u8] {
        &self.bytes[2..]
    }

    /// Its data.
    #[must_use]
    pub fn data(self) -> &'a [u8] {
        &self.bytes[FIXED_BYTES..]
    }

    /// Where in the record its data begins to name another name; none for types whose data names none.
    #[must_use]
    pub fn target_offset(self) -> Option<usize> {
        match u16_at(self.bytes, 2)? {
            rtype::SRV => Some(FIXED_BYTES + 6),
            rtype::NS | rtype::CNAME | rtype::PTR => Some(FIXED_BYTES),
            _ => None,
        }
    }
}

impl std::fmt::Debug for RrSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RrSet").field("rtype", &self.rtype).field("count", &self.count).finish_non_exhaustive()
    }
}
