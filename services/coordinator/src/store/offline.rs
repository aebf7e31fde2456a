//! Work on the file of a store that no coordinator has open: restoring it from a backup, and looking whether it is sound.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{StorageBackend, WriteTransaction};

use super::backup::{BackupReader, Header};
use super::disk::{self, ENTRIES, Loaded, NEW_SUFFIX};
use super::medium::{Directory, Medium, split};
use super::record::{Summary, encode_entry};
use super::{Entry, StoreError, StoreRevision};

/// Key of the stores that this one was restored from, oldest first, as a JSON list. Not an object: nobody lists it.
pub const FORMER_KEY: &str = "/setkeeper/former";

/// Former stores that are remembered. A store is restored by hand: a handful of times in its life.
pub const FORMER_MAX: usize = 64;

/// How far a restored store is ahead of its backup, so that no revision which was given out after the backup means
/// anything in it: more commits than any store makes between two backups. Whoever watched from such a revision is told to
/// list again, and does not silently miss what is different.
pub const RESTORED_REVISION_STEP: u64 = 1_000_000_000;

/// Unit in which written bytes are kept aside.
const PAGE_BYTES: u64 = 4096;

/// What a restored store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup said of itself.
    pub header: Header,
    /// Identity of the new store.
    pub store_id: String,
    /// Revision of the new store.
    pub revision: StoreRevision,
    /// How many entries it has.
    pub entries: u64,
}

/// What is in a store that is sound.
#[derive(Debug)]
pub struct Examined {
    /// Its identity.
    pub store_id: String,
    /// Its revision.
    pub revision: StoreRevision,
    /// Everything in it.
    pub entries: BTreeMap<String, Entry>,
    /// Whether it was not closed, by a kill or a power cut. That is no damage: it is put right when it is next opened.
    pub unclean: bool,
}

/// Makes a store of a backup, whole or not at all. Its entries are as they were, with their revisions; it is a new store
/// all the same, with an identity of its own, so that those who fence by it take it for what it is: the successor of the
/// store in the backup, whose late orders they refuse. With `replace` it takes the place of a store that is there. The
/// backup is read once, from where it stands.
///
/// # Errors
/// The backup is not whole, or there is a store and it is not to be replaced. Then nothing has changed.
pub fn restore(backup: File, store: &Path, replace: bool) -> Result<Restored, StoreError> {
    let mut reader = BackupReader::new(BufReader::new(backup))?;
    let (directory, name) = split(store)?;
    let medium = Directory::lock(directory, name)?;
    let exists = medium.exists(name).map_err(disk::failed("look for"))?;
    if !replace && exists {
        return Err(StoreError::Exists { path: store.to_owned() });
    }
    // Machines run pods that the replaced store assigned: they must know its successor. One that cannot be read says
    // nothing.
    let replaced = if exists {
        inspect(&medium, name).map_or_else(|_| Vec::new(), |(loaded, _)| line(&loaded))
    } else {
        Vec::new()
    };
    let store_id = service_kit::random::uid();
    let mut summary = Summary::empty(StoreRevision(reader.header().revision.0 + RESTORED_REVISION_STEP));
    let created =
        disk::create(&medium, name, &store_id, |transaction| copy(&mut reader, replaced, transaction, &mut summary));
    created.inspect_err(|_| {
        // Only untidy where it stays: it is written anew from its beginning.
        let _ = std::fs::remove_file(directory.join(format!("{name}{NEW_SUFFIX}")));
    })?;
    Ok(Restored { header: reader.header().clone(), store_id, revision: summary.revision, entries: summary.entries })
}

/// Copies every entry, and remembers whose they were. The file gets its name only after the last was found in order.
fn copy(
    reader: &mut BackupReader<BufReader<File>>,
    replaced: Vec<String>,
    transaction: &WriteTransaction,
    summary: &mut Summary,
) -> Result<Summary, StoreError> {
    let unwritable = |error: redb::Error| StoreError::Open { action: "write", source: Arc::new(error) };
    let mut table = transaction.open_table(ENTRIES).map_err(|error| unwritable(error.into()))?;
    let mut put = |entry: &Entry| -> Result<(), StoreError> {
        summary.add(entry);
        let record = encode_entry(entry);
        table.insert(entry.key.as_str(), record.as_slice()).map_err(|error| unwritable(error.into()))?;
        Ok(())
    };
    let mut former = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        if entry.key == FORMER_KEY {
            former = former_stores(&entry.value);
        } else {
            put(&entry)?;
        }
    }
    former.push(reader.header().store_id.clone());
    let known: BTreeSet<String> = former.iter().cloned().collect();
    former.extend(replaced.into_iter().filter(|store| !known.contains(store)));
    let surplus = former.len().saturating_sub(FORMER_MAX);
    let value = serde_json::to_vec(&former[surplus..]).expect("a list of texts");
    let revision = reader.header().revision;
    put(&Entry { key: FORMER_KEY.to_owned(), value: value.into(), created: revision, modified: revision })?;
    Ok(*summary)
}

/// A store and those that it was restored from, oldest first.
fn line(loaded: &Loaded) -> Vec<String> {
    let former = loaded.entries.get(FORMER_KEY).map(|entry| former_stores(&entry.value)).unwrap_or_default();
    former.into_iter().chain([loaded.id.clone()]).collect()
}

/// Reads the value of [`FORMER_KEY`]; nothing where it is none.
#[must_use]
pub fn former_stores(value: &[u8]) -> Vec<String> {
    serde_json::from_slice(value).unwrap_or_default()
}

/// Looks through all of a store: the pages of the database, the hashes of the records, what they add up to. The file is
/// not changed.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::InUse`], [`StoreError::UnknownFormat`], [`StoreError::Corrupt`], or it cannot be
/// read.
pub fn examine(store: &Path) -> Result<Examined, StoreError> {
    if !store.exists() {
        return Err(StoreError::Missing { path: store.to_owned() });
    }
    let (directory, name) = split(store)?;
    let medium = Directory::lock(directory, name)?;
    let (loaded, unclean) = inspect(&medium, name)?;
    let Loaded { id, summary, entries } = loaded;
    Ok(Examined { store_id: id, revision: summary.revision, entries, unclean })
}

fn inspect(medium: &Directory, name: &str) -> Result<(Loaded, bool), StoreError> {
    let file = Aside::of(medium.open(name).map_err(disk::failed("open"))?).map_err(disk::failed("measure"))?;
    disk::inspect(file)
}

/// A file that is only read: what is written to it is kept in memory instead. The database writes a little when it opens a
/// file that was not closed.
#[derive(Debug)]
struct Aside {
    file: Box<dyn StorageBackend>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// Bytes of the file that still count: what is behind them reads as zero.
    kept: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Aside {
    fn of(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self { file, written: Mutex::new(Written { length, kept: length, pages: BTreeMap::new() }) })
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, written: &Written, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = written.pages.get(&number) {
            return Ok(page.clone());
        }
        let start = number * PAGE_BYTES;
        let mut page = vec![0; PAGE_BYTES as usize];
        let there = written.kept.saturating_sub(start).min(PAGE_BYTES) as usize;
        self.file.read(start, &mut page[..there])?;
        Ok(page)
    }
}

/// The part of each page that a range of bytes covers: page, first byte in it, number of bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    (offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)).map(move |page| {
        let from = offset.max(page * PAGE_BYTES);
        let to = end.min((page + 1) * PAGE_BYTES);
        (page, (from - page * PAGE_BYTES) as usize, (to - from) as usize)
    })
}

impl StorageBackend for Aside {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset + out.len() as u64 > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        for (page, from, count) in parts(offset, out.len()) {
            out[done..done + count].copy_from_slice(&self.page(&written, page)?[from..from + count]);
            done += count;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut written = self.written();
        if length < written.length {
            written.kept = written.kept.min(length);
            let beyond = length / PAGE_BYTES;
            let last = self.page(&written, beyond)?;
            written.pages.retain(|page, _| *page < beyond);
            let mut last = last;
            last[(length % PAGE_BYTES) as usize..].fill(0);
            written.pages.insert(beyond, last);
        }
        written.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        let mut done = 0;
        for (page, from, count) in parts(offset, data.len()) {
            let mut bytes = self.page(&written, page)?;
            bytes[from..from + count].copy_from_slice(&data[done..done + count]);
            written.pages.insert(page, bytes);
            done += count;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
