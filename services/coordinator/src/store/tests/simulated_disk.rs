//! A disk in memory that keeps what a real one keeps: after a crash, everything synced, and of the rest any subset of
//! 512-byte sectors. Names are kept likewise: a rename is durable only after the directory was synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::super::medium::Medium;

/// The unit that is written whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Small, fast, and the same everywhere for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Which error an operation gives, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Every sync fails from now on.
    pub(super) sync: bool,
    /// The disk is full: what would use more than this many bytes fails.
    pub(super) bytes_max: Option<usize>,
    /// Every write fails from now on.
    pub(super) write: bool,
    /// A sync does nothing and says that all is well.
    pub(super) sync_lies: bool,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    /// What a reader sees.
    content: Vec<u8>,
    /// What survives any crash.
    durable: Vec<u8>,
    /// Sectors that differ, in the order first written, each with all its contents since the last sync.
    pending: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Lengths set since the last sync.
    pending_lengths: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct DiskState {
    files: BTreeMap<u64, FileState>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    /// Names as they were after each operation on the directory since it was last synced; the first is durable.
    durable_names: Vec<BTreeMap<String, u64>>,
    operations: u64,
    crash_at: Option<u64>,
    faults: Faults,
}

/// A simulated disk; clones are the same disk.
#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk(Arc<Mutex<DiskState>>);

impl SimulatedDisk {
    pub(super) fn new() -> Self {
        let state = DiskState { durable_names: vec![BTreeMap::new()], ..DiskState::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock().expect("no test panics under the lock")
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Bytes of all files.
    pub(super) fn used(&self) -> usize {
        self.state().files.values().map(|file| file.content.len()).sum()
    }

    /// Changing operations so far: each is a place to crash at.
    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// From this operation on, nothing reaches the disk and everything fails, as for a process that is gone.
    pub(super) fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// Another disk that holds the same.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// What a disk may hold after the power failed now: one of very many possibilities.
    pub(super) fn after_crash(&self, random: &mut Random) -> Self {
        let state = self.state();
        let names = state.durable_names[random.below(state.durable_names.len() as u64) as usize].clone();
        let keep = random.below(5); // Of 4 un-synced sectors, how many survive on average: none, some, all.
        let mut files = BTreeMap::new();
        for id in names.values() {
            let survived = state.files[id].survive(keep, random);
            files.insert(*id, FileState { content: survived.clone(), durable: survived, ..FileState::default() });
        }
        let durable_names = vec![names.clone()];
        let next_file = state.next_file;
        Self(Arc::new(Mutex::new(DiskState { files, names, durable_names, next_file, ..DiskState::default() })))
    }
}

impl FileState {
    fn survive(&self, keep: u64, random: &mut Random) -> Vec<u8> {
        let mut survived = self.durable.clone();
        let lengths = self.pending_lengths.len() as u64;
        let length = match random.below(lengths + 1) {
            0 => self.durable.len(),
            chosen => self.pending_lengths[chosen as usize - 1],
        };
        survived.resize(length, 0);
        for (sector, versions) in &self.pending {
            if random.below(4) >= keep {
                continue;
            }
            let version = &versions[random.below(versions.len() as u64) as usize];
            let start = sector * SECTOR_BYTES;
            let end = (start + version.len()).min(survived.len());
            if start < end {
                survived[start..end].copy_from_slice(&version[..end - start]);
            }
        }
        survived
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if end > self.content.len() {
            self.content.resize(end, 0);
            self.pending_lengths.push(end);
        }
        self.content[offset..end].copy_from_slice(data);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let start = sector * SECTOR_BYTES;
            let version = self.content[start..self.content.len().min(start + SECTOR_BYTES)].to_vec();
            self.pending.entry(sector).or_default().push(version);
        }
    }

    fn set_len(&mut self, length: usize) {
        self.content.resize(length, 0);
        self.pending_lengths.push(length);
    }

    /// Only what changed is copied, which keeps a sync cheap.
    fn sync(&mut self) {
        for length in self.pending_lengths.drain(..) {
            self.durable.resize(length, 0);
        }
        for sector in std::mem::take(&mut self.pending).into_keys() {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.content.len());
            if start < end {
                self.durable[start..end].copy_from_slice(&self.content[start..end]);
            }
        }
    }
}

impl DiskState {
    /// Counts a changing operation, and fails it after the crash.
    fn step(&mut self) -> io::Result<()> {
        if self.crash_at.is_some_and(|operation| self.operations >= operation) {
            return Err(io::Error::other("the machine is down"));
        }
        self.operations += 1;
        Ok(())
    }

    /// Fails what would use more space than there is.
    fn grow(&mut self, id: u64, length: usize) -> io::Result<()> {
        let others: usize = self.files.iter().filter(|(other, _)| **other != id).map(|(_, f)| f.content.len()).sum();
        let grows = length > self.files[&id].content.len();
        if grows && self.faults.bytes_max.is_some_and(|most| others + length > most) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn file(&mut self, id: u64) -> &mut FileState {
        self.files.get_mut(&id).expect("files are never removed")
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names_changed(&mut self) {
        let names = self.names.clone();
        self.durable_names.push(names);
    }

    fn sync(&mut self, id: u64) -> io::Result<()> {
        self.step()?;
        if self.faults.sync {
            return Err(io::Error::other("input/output error"));
        }
        if !self.faults.sync_lies {
            self.file(id).sync();
        }
        Ok(())
    }
}

impl Medium for SimulatedDisk {
    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.state().names.contains_key(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let id = self.state().id(name)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.state();
        state.step()?;
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, FileState::default());
        state.names.insert(name.to_owned(), id);
        state.names_changed();
        Ok(Box::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let id = state.id(name)?;
        state.sync(id)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let id = state.id(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), id);
        state.names_changed();
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.faults.sync {
            return Err(io::Error::other("input/output error"));
        }
        if !state.faults.sync_lies {
            let names = state.names.clone();
            state.durable_names = vec![names];
        }
        Ok(())
    }
}

/// An open file of the disk.
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl StorageBackend for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.id).content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let mut state = self.disk.state();
        let read = state.file(self.id).content.get(offset..offset + out.len());
        out.copy_from_slice(read.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        state.grow(self.id, len as usize)?;
        state.file(self.id).set_len(len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync(self.id)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        if state.faults.write {
            return Err(io::Error::other("input/output error"));
        }
        state.grow(self.id, offset as usize + data.len())?;
        state.file(self.id).write(offset as usize, data);
        Ok(())
    }
}
