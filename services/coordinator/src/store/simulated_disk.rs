//! A disk in memory that keeps what a real one keeps: after a crash, everything synced, and of the rest any subset of
//! 512-byte sectors. Names are kept likewise: a rename is durable only after the directory was synced.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::medium::Medium;

/// The unit that is written whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Small, fast, and the same everywhere for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number, of 56 bits.
    #[expect(clippy::should_implement_trait, reason = "never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Which error an operation gives, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every sync fails from now on.
    pub sync: bool,
    /// The disk is full: what would use more than this many bytes fails.
    pub bytes_max: Option<usize>,
    /// Every write fails from now on.
    pub write: bool,
    /// A sync does nothing and says that all is well.
    pub sync_lies: bool,
}

/// The content of a sector; shared, since most sectors are the same before and after.
type Sector = Arc<[u8; SECTOR_BYTES]>;

/// Sparse: sectors that were never written are zero and cost nothing.
#[derive(Clone, Debug, Default)]
struct Content {
    length: usize,
    sectors: BTreeMap<usize, Sector>,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    /// What a reader sees.
    content: Content,
    /// What survives any crash.
    durable: Content,
    /// Sectors written since the last sync, each with all that it was in between.
    pending: BTreeMap<usize, Vec<Sector>>,
    /// Lengths that the file had since the last sync.
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
pub struct SimulatedDisk(Arc<Mutex<DiskState>>);

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let state = DiskState { durable_names: vec![BTreeMap::new()], ..DiskState::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock().expect("no test panics under the lock")
    }

    /// Makes operations fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> usize {
        self.state().files.values().map(|file| file.content.length).sum()
    }

    /// Changing operations so far: each is a place to crash at.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// From this operation on, nothing reaches the disk and everything fails, as for a process that is gone.
    pub fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// Another disk that holds the same.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// What a disk may hold after the power failed now: one of very many possibilities.
    #[must_use]
    pub fn after_crash(&self, random: &mut Random) -> Self {
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

impl Content {
    fn resize(&mut self, length: usize) {
        if length < self.length {
            self.sectors.split_off(&length.div_ceil(SECTOR_BYTES));
            if let Some(last) = self.sectors.get_mut(&(length / SECTOR_BYTES)) {
                Arc::make_mut(last)[length % SECTOR_BYTES..].fill(0);
            }
        }
        self.length = length;
    }

    fn set(&mut self, sector: usize, to: Option<&Sector>) {
        match to {
            Some(to) => self.sectors.insert(sector, to.clone()),
            None => self.sectors.remove(&sector),
        };
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        for (sector, inside, part) in split(offset, out.len()) {
            match self.sectors.get(&sector) {
                Some(content) => out[part].copy_from_slice(&content[inside]),
                None => out[part].fill(0),
            }
        }
    }
}

/// The sectors of a range: number, bytes inside of it, and which part of the range that is.
fn split(offset: usize, length: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let end = offset + length;
    (offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).map(move |sector| {
        let start = sector * SECTOR_BYTES;
        let (first, last) = (offset.max(start), end.min(start + SECTOR_BYTES));
        (sector, first - start..last - start, first - offset..last - offset)
    })
}

impl FileState {
    fn survive(&self, keep: u64, random: &mut Random) -> Content {
        let mut survived = self.durable.clone();
        match random.below(self.pending_lengths.len() as u64 + 1) {
            0 => {}
            chosen => survived.resize(self.pending_lengths[chosen as usize - 1]),
        }
        for (sector, versions) in &self.pending {
            let version = &versions[random.below(versions.len() as u64) as usize];
            if random.below(4) < keep && sector * SECTOR_BYTES < survived.length {
                survived.set(*sector, Some(version));
            }
        }
        survived
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        if offset + data.len() > self.content.length {
            self.set_len(offset + data.len());
        }
        for (sector, inside, part) in split(offset, data.len()) {
            let content = self.content.sectors.entry(sector).or_insert_with(|| Arc::new([0; SECTOR_BYTES]));
            Arc::make_mut(content)[inside].copy_from_slice(&data[part]);
            self.pending.entry(sector).or_default().push(content.clone());
        }
    }

    fn set_len(&mut self, length: usize) {
        self.content.resize(length);
        self.pending_lengths.push(length);
    }

    fn sync(&mut self) {
        for length in self.pending_lengths.drain(..) {
            self.durable.resize(length);
        }
        for sector in std::mem::take(&mut self.pending).into_keys() {
            self.durable.set(sector, self.content.sectors.get(&sector));
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
        let others: usize = self.files.iter().filter(|(other, _)| **other != id).map(|(_, f)| f.content.length).sum();
        let grows = length > self.files[&id].content.length;
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
        Ok(self.disk.state().file(self.id).content.length as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let mut state = self.disk.state();
        let content = &state.file(self.id).content;
        if offset + out.len() > content.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.read(offset, out);
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
