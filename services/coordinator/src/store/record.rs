//! The bytes of the embedded store on disk: records that prove that they are whole and belong together.
//!
//! An entry is `created u64, modified u64, hash u64, value` (little endian), where the hash covers the key too. The
//! summary of the store, written by every commit, is `revision u64, entries u64, sum u64, hash u64`, where the sum adds
//! up the hashes of all entries. So a store whose pages were damaged, or come from different commits, is detected when it
//! is opened, whatever the database underneath thinks of them.

use bytes::Bytes;

use super::{Entry, StoreError, StoreRevision};

const ENTRY_HEADER_BYTES: usize = 24;
const SUMMARY_BYTES: usize = 32;

/// What all entries of a store add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) revision: StoreRevision,
    pub(super) entries: u64,
    sum: u64,
}

impl Summary {
    /// The summary of no entries, at this revision.
    pub(super) fn empty(revision: StoreRevision) -> Self {
        Self { revision, ..Self::default() }
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.sum = self.sum.wrapping_add(hash_entry(entry));
    }

    /// Takes an entry out again, given as its record. A record without a hash was damaged after it was read; then the
    /// sum comes out wrong, which is found when the store is opened.
    pub(super) fn remove(&mut self, record: &[u8]) {
        let hash = if record.len() < ENTRY_HEADER_BYTES { 0 } else { number(record, 2) };
        self.entries = self.entries.saturating_sub(1);
        self.sum = self.sum.wrapping_sub(hash);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SUMMARY_BYTES);
        for number in [self.revision.0, self.entries, self.sum] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&hash(SUMMARY_SEED, &bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() != SUMMARY_BYTES || number(bytes, 3) != hash(SUMMARY_SEED, &bytes[..SUMMARY_BYTES - 8]) {
            return Err(StoreError::Corrupt { what: "its summary does not match its hash".to_owned() });
        }
        Ok(Self { revision: StoreRevision(number(bytes, 0)), entries: number(bytes, 1), sum: number(bytes, 2) })
    }
}

pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_HEADER_BYTES + entry.value.len());
    for number in [entry.created.0, entry.modified.0, hash_entry(entry)] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&entry.value);
    bytes
}

pub(super) fn decode_entry(key: &str, bytes: &[u8]) -> Result<Entry, StoreError> {
    let corrupt = || StoreError::Corrupt { what: format!("the record of {key} does not match its hash") };
    if bytes.len() < ENTRY_HEADER_BYTES {
        return Err(corrupt());
    }
    let value = Bytes::copy_from_slice(&bytes[ENTRY_HEADER_BYTES..]);
    let (created, modified) = (StoreRevision(number(bytes, 0)), StoreRevision(number(bytes, 1)));
    let entry = Entry { key: key.to_owned(), value, created, modified };
    if number(bytes, 2) != hash_entry(&entry) || created > modified {
        return Err(corrupt());
    }
    Ok(entry)
}

/// The `index`th number of a record that is known to be long enough.
fn number(bytes: &[u8], index: usize) -> u64 {
    let bytes: [u8; 8] = bytes[index * 8..index * 8 + 8].try_into().expect("eight bytes are eight bytes");
    u64::from_le_bytes(bytes)
}

fn hash_entry(entry: &Entry) -> u64 {
    let seed = hash(entry.created.0 ^ entry.modified.0.rotate_left(32), entry.key.as_bytes());
    hash(seed, &entry.value)
}

/// The hash of bytes that are neither.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    hash(OFFSET, bytes)
}

/// Distinguishes a summary from an entry.
const SUMMARY_SEED: u64 = 0x5e74_ee9e_7500_a115;
/// Odd, with bits spread evenly (from the golden ratio and from the square root of three).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const OFFSET: u64 = 0xbb67_ae85_84ca_a73b;

/// A 64-bit hash against damage, not against malice: 8 bytes a step, each folded through a 128-bit product. Part of the
/// format on disk.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
        (product as u64) ^ ((product >> 64) as u64).wrapping_add(OFFSET)
    };
    let mut chunks = bytes.chunks_exact(8);
    let mut state = fold(seed, bytes.len() as u64);
    for chunk in &mut chunks {
        state = fold(state, number(chunk, 0));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    fold(fold(state, u64::from_le_bytes(last)), OFFSET)
}
