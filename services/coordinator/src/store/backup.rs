//! A backup: everything that a store held at one revision, as a stream of bytes that proves that it is whole.
//!
//! ```text
//! "setkeeper-backup"  format u32  length u32  header (JSON)  hash u64
//! then of every entry, by key:  key length u32  record length u32  key  record
//! then:  0 u32  length u32  summary
//! ```
//!
//! Numbers are little endian; records and the summary are those of the file on disk (`record`), hashes included. So what
//! was cut off, changed, lost or added is found before anything is made of it.

use std::io::{self, Read};
use std::iter::Peekable;
use std::vec;

use serde::{Deserialize, Serialize};

use super::record::{Summary, decode_entry, encode_entry, hash_bytes};
use super::{Entry, KEY_BYTES_MAX, Listing, StoreError, StoreRevision, VALUE_BYTES_MAX};

/// The version of the format of backups. Another one is refused, not guessed at.
pub const BACKUP_FORMAT: u32 = 1;

const MAGIC: &[u8; 16] = b"setkeeper-backup";
/// Pieces in which a backup is made, in bytes, and at most one entry more: few messages, and little memory for each.
const PIECE_BYTES: usize = 256 * 1024;
/// Longest header, in bytes: a handful of short fields.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Longest record, in bytes: its numbers and the largest value.
const RECORD_BYTES_MAX: usize = VALUE_BYTES_MAX + 64;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Identity of the store that it was made of.
    pub store_id: String,
    /// The revision at which all of it was read.
    pub revision: StoreRevision,
    /// When, as in Kubernetes.
    pub created_at: String,
    /// Version of the program that made it.
    pub program: String,
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read at all.
    #[error("the backup cannot be read")]
    Read(#[source] io::Error),
    /// It was written by a version of the program that this one does not understand.
    #[error(
        "the backup has format {found}, this program understands only format {BACKUP_FORMAT}: use the version of \
         setkeeper that made it, or a newer one"
    )]
    UnknownFormat {
        /// The format of the backup.
        found: u32,
    },
    /// It is no backup, or not a whole one.
    #[error("the backup is damaged and nothing of it is used: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
}

/// Makes a backup of what was listed, piece by piece. The entries share their values with the store, so it costs little
/// memory.
#[derive(Debug)]
pub struct Pieces {
    begun: Option<Vec<u8>>,
    entries: Peekable<vec::IntoIter<Entry>>,
    summary: Summary,
    ended: bool,
}

impl Pieces {
    /// Of a listing of everything, made of the store that the header names.
    #[must_use]
    pub fn new(header: &Header, listing: Listing) -> Self {
        let mut begun = Vec::with_capacity(PIECE_BYTES);
        let header = serde_json::to_vec(header).expect("text and numbers");
        begun.extend_from_slice(MAGIC);
        begun.extend_from_slice(&BACKUP_FORMAT.to_le_bytes());
        begun.extend_from_slice(&length(header.len()));
        begun.extend_from_slice(&header);
        begun.extend_from_slice(&hash_bytes(&header).to_le_bytes());
        let summary = Summary::empty(listing.revision);
        Self { begun: Some(begun), entries: listing.entries.into_iter().peekable(), summary, ended: false }
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut piece = self.begun.take().unwrap_or_default();
        while piece.len() < PIECE_BYTES
            && let Some(entry) = self.entries.next()
        {
            let record = encode_entry(&entry);
            piece.extend_from_slice(&length(entry.key.len()));
            piece.extend_from_slice(&length(record.len()));
            piece.extend_from_slice(entry.key.as_bytes());
            piece.extend_from_slice(&record);
            self.summary.add(&entry);
        }
        if self.entries.peek().is_none() {
            let summary = self.summary.encode();
            piece.extend_from_slice(&length(0));
            piece.extend_from_slice(&length(summary.len()));
            piece.extend_from_slice(&summary);
            self.ended = true;
        }
        Some(piece)
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("keys, values and headers are bounded far below 4 GiB").to_le_bytes()
}

/// Reads a backup, entry by entry. Only when there are no more entries, and no error, was it whole.
#[derive(Debug)]
pub struct BackupReader<R> {
    source: R,
    header: Header,
    found: Summary,
    last: Option<String>,
}

impl<R: Read> BackupReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no backup, or of another format.
    pub fn new(mut source: R) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len()];
        fill(&mut source, &mut magic)?;
        if &magic != MAGIC {
            return Err(damaged("it does not begin as a backup does"));
        }
        let found = number(&mut source)?;
        if found != BACKUP_FORMAT {
            return Err(BackupError::UnknownFormat { found });
        }
        let header = bytes(&mut source, HEADER_BYTES_MAX, "its header")?;
        let mut hash = [0; 8];
        fill(&mut source, &mut hash)?;
        if hash_bytes(&header) != u64::from_le_bytes(hash) {
            return Err(damaged("its header does not match its hash"));
        }
        let header: Header =
            serde_json::from_slice(&header).map_err(|error| damaged(&format!("its header: {error}")))?;
        let found = Summary::empty(header.revision);
        Ok(Self { source, header, found, last: None })
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next entry; none when all of it was read and adds up.
    ///
    /// # Errors
    /// It is damaged. Whatever was read before must not be used.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, BackupError> {
        let key_bytes = number(&mut self.source)? as usize;
        if key_bytes == 0 {
            return self.end().map(|()| None);
        }
        let record_bytes = number(&mut self.source)? as usize;
        let key = exactly(&mut self.source, key_bytes, KEY_BYTES_MAX, "a key")?;
        let key = String::from_utf8(key).map_err(|_| damaged("a key is not text"))?;
        let record = exactly(&mut self.source, record_bytes, RECORD_BYTES_MAX, "a record")?;
        let entry = decode_entry(&key, &record).map_err(|error| damaged(&error.to_string()))?;
        if entry.modified > self.header.revision {
            return Err(damaged(&format!("{key} is newer than the backup")));
        }
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(damaged(&format!("{key} is not in its place")));
        }
        self.found.add(&entry);
        self.last = Some(key);
        Ok(Some(entry))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let summary = bytes(&mut self.source, HEADER_BYTES_MAX, "its summary")?;
        let summary = Summary::decode(&summary).map_err(|error| damaged(&error.to_string()))?;
        if summary != self.found {
            return Err(damaged("its entries do not add up to its summary"));
        }
        match self.source.read(&mut [0; 1]).map_err(BackupError::Read)? {
            0 => Ok(()),
            _ => Err(damaged("something follows its end")),
        }
    }
}

/// Reads all of a backup and says how many entries it has.
///
/// # Errors
/// It is not a whole backup.
pub fn verify(source: impl Read) -> Result<(Header, u64), BackupError> {
    let mut reader = BackupReader::new(source)?;
    let mut entries = 0;
    while reader.next_entry()?.is_some() {
        entries += 1;
    }
    Ok((reader.header, entries))
}

impl From<BackupError> for StoreError {
    fn from(error: BackupError) -> Self {
        Self::Open { action: "restore", source: std::sync::Arc::new(error) }
    }
}

fn bytes(source: &mut impl Read, most: usize, what: &str) -> Result<Vec<u8>, BackupError> {
    let length = number(source)? as usize;
    exactly(source, length, most, what)
}

fn exactly(source: &mut impl Read, length: usize, most: usize, what: &str) -> Result<Vec<u8>, BackupError> {
    if length > most {
        return Err(damaged(&format!("{what} would have {length} bytes, the most is {most}")));
    }
    let mut bytes = vec![0; length];
    fill(source, &mut bytes)?;
    Ok(bytes)
}

fn number(source: &mut impl Read) -> Result<u32, BackupError> {
    let mut bytes = [0; 4];
    fill(source, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn fill(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), BackupError> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => BackupError::Read(error),
    })
}

fn damaged(what: &str) -> BackupError {
    BackupError::Damaged { what: what.to_owned() }
}
