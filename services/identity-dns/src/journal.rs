//! The facts on disk, so that names answer after a restart without the coordinator.
//!
//! One file: a magic line, then records of `length u32, hash u64, JSON` (little endian). The first holds all facts, each
//! further one a change. A change is written before it is acknowledged, and forced to the disk a moment later
//! ([`Journal::unforced`]): a process that is killed loses nothing, and a machine that loses power the last moment, which the
//! coordinator tells again as soon as it sees another generation served than it was told. Waiting for the disk would hold
//! up every pod that becomes ready. When the changes outgrow the facts, the file is written anew beside the old one and
//! takes its place. A torn last record is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use domain::zone::{ZoneChange, ZoneFacts};
use serde::{Deserialize, Serialize};

/// First bytes of the file: what it is, and the version of its form.
const MAGIC: &[u8] = b"setkeeper names 1\n";

/// Bytes in front of a record's JSON.
const FRAME_BYTES: usize = 12;

/// Changes may take this much before the file is written anew, however small the facts are: a rewrite every few
/// thousand changes costs nothing.
const CHANGES_BYTES_MIN: u64 = 1024 * 1024;

/// Changes that may not be on the disk yet. So many serials are left out after a start, so that none comes twice.
pub(crate) const UNFORCED_MAX: u32 = 1024;

/// Largest file that is read back. 100,000 pods take about 50 MiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A publication that was done, and what was served then: the answer to whoever asks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The operation.
    pub id: String,
    /// Incarnation of the coordinator.
    pub epoch: u64,
    /// State generation.
    pub generation: u64,
    /// Serial of the zones.
    pub serial: u32,
}

/// What was published, and what it was served as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Store of the coordinator; empty where it did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub store: String,
    /// Stores that were followed before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// Operations that this adds to those that were done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Done>,
    /// Incarnation of the coordinator.
    pub epoch: u64,
    /// State generation.
    pub generation: u64,
    /// Serial of the zones.
    pub serial: u32,
    /// What became different.
    pub change: ZoneChange,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Bytes of the magic and the first record.
    base_bytes: u64,
    /// Changes that were written and not forced to the disk.
    unforced: u32,
}

/// What the file held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Restored {
    /// All facts.
    pub facts: ZoneFacts,
    /// Store of the coordinator they came from.
    pub store: String,
    /// Stores that were followed before, oldest first.
    pub replaced: Vec<String>,
    /// Operations of that store that were done, oldest first.
    pub operations: Vec<Done>,
    /// Incarnation of the coordinator they came from.
    pub epoch: u64,
    /// State generation.
    pub generation: u64,
    /// Serial of the zones.
    pub serial: u32,
}

impl Journal {
    /// Opens the file, or makes it. What it held is none where it is new, or damaged before its last record: facts of
    /// which a part is missing are worse than none.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<Restored>)> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let restored = match File::open(path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let journal = match &restored {
            Some(restored) => Self::begin(path, &restored.whole())?,
            None => Self::replace(path, MAGIC)?,
        };
        Ok((journal, restored))
    }

    /// Begins a new file that holds all there is: every fact, and every operation that is remembered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn begin(path: &Path, whole: &Entry) -> io::Result<Self> {
        Self::replace(path, &[MAGIC, &encode(whole)?].concat())
    }

    /// Adds a change; it is in the file when this returns, and on the disk if it has to be or too many are not. `whole` is
    /// all that it leads to.
    ///
    /// # Errors
    /// It could not be written. The file is then as it was, or gone.
    pub(crate) fn append(&mut self, entry: &Entry, forced: bool, whole: impl FnOnce() -> Entry) -> io::Result<()> {
        let record = encode(entry)?;
        let bytes = self.bytes + record.len() as u64;
        if bytes - self.base_bytes > self.base_bytes.max(CHANGES_BYTES_MIN) || self.base_bytes <= MAGIC.len() as u64 {
            *self = Self::begin(&self.path, &whole())?;
            return Ok(());
        }
        let forced = forced || self.unforced + 1 >= UNFORCED_MAX;
        let written = self.file.write_all(&record).and_then(|()| if forced { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.bytes = bytes;
                self.unforced = if forced { 0 } else { self.unforced + 1 };
            }
            Err(error) => {
                // Half a record must not stay in front of the next one.
                let undone = self.file.set_len(self.bytes).and_then(|()| self.file.seek(io::SeekFrom::End(0)));
                if undone.is_err() {
                    fs::remove_file(&self.path)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// What has to be forced to the disk, if anything has; by whoever asks, who need not hold up the next change.
    ///
    /// # Errors
    /// There is no further handle to the file.
    pub(crate) fn unforced(&mut self) -> io::Result<Option<File>> {
        if std::mem::take(&mut self.unforced) == 0 {
            return Ok(None);
        }
        self.file.try_clone().map(Some)
    }

    /// Forgets everything, so that a later start does not serve what is no longer true.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Writes a new file and puts it in the place of the old one; on disk when this returns.
    fn replace(path: &Path, content: &[u8]) -> io::Result<Self> {
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        let bytes = content.len() as u64;
        Ok(Self { path: path.to_owned(), file, bytes, base_bytes: bytes, unforced: 0 })
    }
}

impl Restored {
    /// All of it as one entry.
    fn whole(&self) -> Entry {
        Entry {
            store: self.store.clone(),
            replaced: self.replaced.clone(),
            operations: self.operations.clone(),
            epoch: self.epoch,
            generation: self.generation,
            serial: self.serial,
            change: ZoneFacts::default().change_to(&self.facts),
        }
    }
}

fn encode(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut record = vec![0; FRAME_BYTES];
    serde_json::to_writer(&mut record, entry)?;
    let length = u32::try_from(record.len() - FRAME_BYTES).map_err(io::Error::other)?;
    let hash = hash(&record[FRAME_BYTES..]);
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..FRAME_BYTES].copy_from_slice(&hash.to_le_bytes());
    Ok(record)
}

fn read(file: File) -> io::Result<Option<Restored>> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return Ok(None) };
    let mut restored = None;
    while !rest.is_empty() {
        let Some((record, after)) = split(rest) else { break };
        let Some(entry) = decode(record) else {
            // The last record may be torn. One in the middle means that acknowledged changes are lost.
            return Ok(restored.filter(|_| after.is_empty()));
        };
        let state: &mut Restored = restored.get_or_insert_default();
        (state.epoch, state.generation, state.serial) = (entry.epoch, entry.generation, entry.serial);
        if state.store != entry.store {
            // Operations of another store are not to be taken for those of this one.
            state.operations.clear();
        }
        (state.store, state.replaced) = (entry.store, entry.replaced);
        state.operations.extend(entry.operations);
        state.facts.apply(entry.change);
        rest = after;
    }
    Ok(restored)
}

/// The first record and what follows; none where it is not whole.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    bytes.split_at_checked(FRAME_BYTES + usize::try_from(length).ok()?)
}

fn decode(record: &[u8]) -> Option<Entry> {
    let expected = u64::from_le_bytes(record.get(4..FRAME_BYTES)?.try_into().ok()?);
    let json = &record[FRAME_BYTES..];
    if hash(json) != expected {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// FNV-1a, 64 bits: finds torn writes.
fn hash(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use domain::zone::{ObjectName, PodFacts};

    use super::*;

    fn entry(generation: u64, pod: &str) -> Entry {
        let pod = PodFacts { name: ObjectName::new("default", pod), ..PodFacts::default() };
        let change = ZoneChange { pods: vec![pod], ..ZoneChange::default() };
        let serial = 40 + u32::try_from(generation).unwrap();
        Entry { epoch: 2, generation, serial, operations: vec![done(generation)], change, ..Entry::default() }
    }

    fn done(generation: u64) -> Done {
        Done { id: format!("op-{generation}"), epoch: 2, generation, serial: 40 + u32::try_from(generation).unwrap() }
    }

    fn filled(path: &Path) -> Restored {
        let (mut journal, restored) = Journal::open(path).unwrap();
        assert_eq!(restored, None);
        let mut all = Restored::default();
        for (generation, pod) in [(1, "web-0"), (2, "web-1"), (3, "web-2")] {
            let entry = entry(generation, pod);
            all.facts.apply(entry.change.clone());
            all.operations.push(done(generation));
            (all.epoch, all.generation, all.serial) = (entry.epoch, entry.generation, entry.serial);
            journal.append(&entry, true, || all.whole()).unwrap();
        }
        all
    }

    #[test]
    fn what_was_acknowledged_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache/names");
        let expected = filled(&path);
        assert_eq!((expected.generation, expected.operations.len()), (3, 3));
        for _ in 0..2 {
            assert_eq!(Journal::open(&path).unwrap().1.as_ref(), Some(&expected));
        }
    }

    #[test]
    fn a_torn_end_is_dropped_and_a_damaged_middle_forgets_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names");
        filled(&path);
        let whole = fs::read(&path).unwrap();
        let first_end = MAGIC.len() + split(&whole[MAGIC.len()..]).unwrap().0.len();
        for cut in first_end..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let restored = Journal::open(&path).unwrap().1.unwrap();
            assert!((1..3).contains(&restored.generation), "cut at {cut}");
        }
        for damaged in [MAGIC.len() + 20, first_end + 20] {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(Journal::open(&path).unwrap().1, None, "damaged at {damaged}");
        }
    }

    #[test]
    fn what_is_not_forced_is_written_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names");
        let all = filled(&path);
        let (mut journal, _) = Journal::open(&path).unwrap();
        assert!(journal.unforced().unwrap().is_none(), "it begins on the disk");
        journal.append(&entry(4, "web-3"), false, || all.whole()).unwrap();
        let written = fs::metadata(&path).unwrap().len();
        assert!(journal.unforced().unwrap().is_some() && journal.unforced().unwrap().is_none());
        assert_eq!(read(File::open(&path).unwrap()).unwrap().unwrap().generation, 4, "killed now, it would be known");
        for round in 0..UNFORCED_MAX {
            let before = journal.unforced;
            journal.append(&entry(5 + u64::from(round), "web-3"), false, || all.whole()).unwrap();
            assert_eq!(journal.unforced, (before + 1) % UNFORCED_MAX);
        }
        assert!(fs::metadata(&path).unwrap().len() > written);
    }

    #[test]
    fn the_file_stays_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names");
        let all = filled(&path);
        let (mut journal, _) = Journal::open(&path).unwrap();
        let change = entry(4, "web-2");
        let rounds = 3 * CHANGES_BYTES_MIN / encode(&change).unwrap().len() as u64;
        for _ in 0..rounds.min(20_000) {
            // Only the framing is of interest here: without the disk's own time.
            journal.bytes += encode(&change).unwrap().len() as u64;
            if journal.bytes > CHANGES_BYTES_MIN {
                journal.append(&change, true, || all.whole()).unwrap();
            }
            assert!(journal.bytes <= journal.base_bytes + CHANGES_BYTES_MIN + 1024);
        }
    }
}
