//! The embedded store on a disk that loses power at any moment.
//!
//! Each seed runs random groups of batches until a random write to the disk, where the machine goes down; then the disk is
//! recovered in several ways, and each of them is held to:
//! - the store opens, with the same id (if it was ever handed out);
//! - it holds the state after some prefix of the commits, whole, which contains every acknowledged one;
//! - its revision is that of the prefix, so it never goes back behind what was acknowledged;
//! - it takes commits again, after which the next crash comes.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::oneshot;

use super::super::embedded::{Committer, Limits, Request};
use super::super::{EmbeddedStore, Entry, Listing, StateStore};
use super::simulated_disk::{Faults, Random, SimulatedDisk};
use super::*;

/// Seeds per run of the tests: as many as the survey of databases for this store used.
const SEEDS: u64 = 5_000;
/// Seeds that must be enough to see that a disk that lies loses data.
const SEEDS_LYING: u64 = 50;
const THREADS: u64 = 2;
/// Of so many seeds one runs through the queue and the committer's thread; the others are the same in every run.
const WHOLE_EVERY: u64 = 10;
/// Crashes in the life of a store.
const CRASHES_MAX: u64 = 3;
/// Ways to recover from each crash.
const IMAGES: u64 = 2;
/// How seldom the disk becomes full, in groups of batches; it is noticed when the file has to grow.
const FULL_EVERY: u64 = 8;
const KEYS: u64 = 12;

/// The state of a store as far as a crash test compares it: revision, and key to value and revision.
type Snapshot = (u64, BTreeMap<String, (Vec<u8>, u64)>);

/// What was seen in a run over many seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    seeds: u64,
    images: u64,
    commits: u64,
    operations: u64,
    refused: u64,
    unfinished_creations: u64,
    violations: u64,
    bytes_max: usize,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.images += other.images;
        self.commits += other.commits;
        self.operations += other.operations;
        self.refused += other.refused;
        self.unfinished_creations += other.unfinished_creations;
        self.violations += other.violations;
        self.bytes_max = self.bytes_max.max(other.bytes_max);
    }
}

/// A store under test: whole, or only its committer, without which a seed would not always take the same course.
enum Subject {
    Whole(EmbeddedStore),
    Committer(Box<Committer>),
}

impl Subject {
    fn open(disk: &SimulatedDisk, whole: bool) -> Result<Self, StoreError> {
        let medium = Box::new(disk.clone());
        if whole {
            return EmbeddedStore::open_in(medium, "state").map(Self::Whole);
        }
        Committer::open(medium, "state", Limits::default()).map(|committer| Self::Committer(Box::new(committer)))
    }

    fn id(&self) -> &str {
        match self {
            Self::Whole(store) => store.id(),
            Self::Committer(committer) => &committer.id,
        }
    }

    fn list(&self) -> Listing {
        match self {
            Self::Whole(store) => store.list("").now_or_never().expect("a read does not wait").expect("a read works"),
            Self::Committer(committer) => committer.view.read().list(""),
        }
    }

    /// Commits a group of batches.
    fn commit(&mut self, batches: Vec<Batch>) -> Vec<CommitResult> {
        match self {
            Self::Whole(store) => {
                futures::executor::block_on(join_all(batches.into_iter().map(|batch| store.commit(batch))))
            }
            Self::Committer(committer) => {
                let (mut group, mut answers) = (Vec::new(), Vec::new());
                for batch in batches {
                    let (answer, answered) = oneshot::channel();
                    group.push(Request { batch, answer, queue_bytes: None, behind: None });
                    answers.push(answered);
                }
                committer.commit(&mut group);
                answers.into_iter().map(|mut answer| answer.try_recv().expect("it was answered")).collect()
            }
        }
    }
}

/// The life of one store over several crashes.
struct Life {
    whole: bool,
    random: Random,
    disk: SimulatedDisk,
    lying: bool,
    /// The id, once somebody was told.
    id: Option<String>,
    /// What the store may hold after a crash, in commit order; the first is the last acknowledged.
    possible: Vec<Snapshot>,
    written: u64,
    figures: Figures,
}

impl Life {
    fn new(seed: u64, lying: bool) -> Self {
        let whole = seed.is_multiple_of(WHOLE_EVERY);
        let disk = SimulatedDisk::new();
        let possible = vec![Snapshot::default()];
        let figures = Figures { seeds: 1, ..Figures::default() };
        Self { whole, random: Random::new(seed), disk, lying, id: None, possible, written: 0, figures }
    }

    /// Runs to the end, or to the first violation, which it describes.
    fn live(&mut self) -> Result<(), String> {
        for _ in 0..1 + self.random.below(CRASHES_MAX) {
            // Creation, recovery and the first commits happen within the short span.
            let span = if self.random.below(3) == 0 { 60 } else { 250 };
            self.disk.crash_at(self.disk.operations() + self.random.below(span));
            self.fault(None);
            self.work()?;
            self.figures.operations += self.disk.operations();
            self.figures.bytes_max = self.figures.bytes_max.max(self.disk.used());
            let mut survivor = None;
            for _ in 0..IMAGES {
                let image = self.disk.after_crash(&mut self.random);
                self.figures.images += 1;
                // The life goes on from the image as the crash left it, so that recovery itself can crash too.
                survivor = Some((image.copy(), self.inspect(&image)?));
            }
            let (disk, snapshot) = survivor.ok_or("no image was made")?;
            self.disk = disk;
            self.possible = vec![snapshot];
        }
        Ok(())
    }

    /// Commits until the machine goes down.
    fn work(&mut self) -> Result<(), String> {
        let mut store = match Subject::open(&self.disk, self.whole) {
            Ok(store) => store,
            Err(_) if self.id.is_none() => {
                self.figures.unfinished_creations += 1;
                return Ok(());
            }
            Err(_) => return Ok(()), // It went down while it was opened.
        };
        self.check_id(&store)?;
        self.id = Some(store.id().to_owned());
        for _ in 0..60 {
            let group: Vec<Batch> = (0..1 + self.random.below(3)).map(|_| self.batch()).collect();
            if self.random.below(FULL_EVERY) == 0 {
                self.fault(Some(self.disk.used()));
            }
            let refused = self.figures.refused;
            let results = store.commit(group.clone());
            if self.learn(&group, &results)? {
                return Ok(());
            }
            if self.figures.refused > refused {
                self.fault(None);
            }
        }
        Ok(())
    }

    /// Takes in what became of a group; whether the machine went down meanwhile.
    ///
    /// Batches are decided in their order, though not always together: a full disk may refuse one and take the next,
    /// which is smaller. What it refused leaves nothing, whatever happens next.
    fn learn(&mut self, group: &[Batch], results: &[CommitResult]) -> Result<bool, String> {
        for (batch, result) in group.iter().zip(results) {
            if matches!(result, Err(CommitError::Store(error)) if error.is_exhausted()) {
                self.figures.refused += 1;
                continue;
            }
            let state = after(self.possible.last().ok_or("no state")?, batch);
            self.possible.push(state);
            let Ok(revision) = result else { continue };
            let (expected, _) = self.possible.last().ok_or("no state")?;
            if *expected != revision.0 {
                return Err(format!("acknowledged {}, expected {expected}", revision.0));
            }
            self.figures.commits += 1;
            self.possible.drain(..self.possible.len() - 1);
        }
        let unanswered = |result: &Result<_, CommitError>| match result {
            Ok(_) => false,
            Err(CommitError::Store(error)) => !error.is_exhausted(),
            Err(CommitError::Conflict { .. }) => true,
        };
        Ok(results.iter().any(unanswered))
    }

    fn fault(&self, bytes_max: Option<usize>) {
        self.disk.set_faults(Faults { bytes_max, sync_lies: self.lying, ..Faults::default() });
    }

    /// A batch that always changes something, so that each has a state of its own.
    fn batch(&mut self) -> Batch {
        let mut changes = BTreeMap::new();
        for _ in 0..1 + self.random.below(3) {
            let key = format!("key-{}", self.random.below(KEYS));
            let change = match self.random.below(4) {
                0 => delete(&key),
                // Larger than a page now and then.
                1 if self.random.below(4) == 0 => put(&key, vec![self.random.next() as u8; 9000]),
                _ => put(&key, vec![self.random.next() as u8; self.random.below(700) as usize]),
            };
            changes.insert(key, change);
        }
        self.written += 1;
        changes.insert("last".to_owned(), put("last", self.written.to_string()));
        writes(changes.into_values().collect::<Vec<_>>())
    }

    /// Opens what is left after a crash, and returns what it holds.
    fn inspect(&mut self, image: &SimulatedDisk) -> Result<Snapshot, String> {
        let store = Subject::open(image, self.whole).map_err(|error| format!("does not open again: {error}"))?;
        self.check_id(&store)?;
        let found = snapshot(&store);
        if !self.possible.contains(&found) {
            let acknowledged = self.possible.first().map(|snapshot| snapshot.0);
            return Err(format!("holds revision {}, which is no state since {acknowledged:?}", found.0));
        }
        Ok(found)
    }

    fn check_id(&self, store: &Subject) -> Result<(), String> {
        match &self.id {
            Some(id) if id != store.id() => Err("is another store now".to_owned()),
            _ => Ok(()),
        }
    }
}

fn snapshot(store: &Subject) -> Snapshot {
    let listing = store.list();
    let entry = |entry: Entry| (entry.key, (entry.value.to_vec(), entry.modified.0));
    (listing.revision.0, listing.entries.into_iter().map(entry).collect())
}

fn after((revision, entries): &Snapshot, batch: &Batch) -> Snapshot {
    let (revision, mut entries) = (revision + 1, entries.clone());
    for write in &batch.writes {
        match write {
            Write::Put { key, value } => entries.insert(key.clone(), (value.to_vec(), revision)),
            Write::Delete { key } => entries.remove(key),
        };
    }
    (revision, entries)
}

/// Runs the seeds, and hands each violation to `judge`.
fn survey(seeds: u64, lying: bool, judge: impl Fn(u64, String) + Sync) -> Figures {
    let mut total = Figures::default();
    std::thread::scope(|scope| {
        let judge = &judge;
        let work = |thread| {
            move || {
                let mut figures = Figures::default();
                for seed in (thread..seeds).step_by(THREADS as usize) {
                    let mut life = Life::new(seed, lying);
                    if let Err(violation) = life.live() {
                        life.figures.violations += 1;
                        judge(seed, violation);
                    }
                    figures.add(life.figures);
                }
                figures
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(thread))).collect();
        for thread in threads {
            total.add(thread.join().expect("no seed panics"));
        }
    });
    total
}

#[test]
fn no_crash_loses_an_acknowledged_commit_or_tears_one() {
    let figures = survey(SEEDS, false, |seed, violation| panic!("seed {seed}: the store {violation}"));
    println!("{figures:?}");
    assert_eq!((figures.seeds, figures.violations), (SEEDS, 0));
    // The harness reaches what it is for.
    assert!(
        figures.commits > SEEDS
            && figures.images > 2 * SEEDS
            && figures.unfinished_creations > SEEDS / 50
            && figures.refused > SEEDS / 100
    );
}

#[test]
fn harness_catches_a_disk_that_acknowledges_before_it_syncs() {
    let figures = survey(SEEDS_LYING, true, |_, _| {});
    println!("{figures:?}");
    assert!(figures.violations > SEEDS_LYING / 2, "{figures:?}");
}
