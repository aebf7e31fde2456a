//! The embedded store on the real file system.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, ReadableTable, StorageBackend, TableDefinition};
use tempfile::TempDir;

use super::super::medium::Medium;
use super::super::{EmbeddedStore, FORMAT, StateStore};
use super::simulated_disk::SimulatedDisk;
use super::*;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("setkeeper.meta");
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("setkeeper.entries");

fn scratch() -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("new").join("deeper").join("state");
    (directory, path)
}

/// A disk that notes how much was done on it when it was given up, as a lock is.
#[derive(Debug)]
struct Lock {
    disk: SimulatedDisk,
    operations_when_dropped: Arc<AtomicU64>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.operations_when_dropped.store(self.disk.operations(), Ordering::SeqCst);
    }
}

impl Medium for Lock {
    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.exists(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        self.disk.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        self.disk.create(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
}

#[test]
fn nothing_is_written_after_the_lock_was_given_up() {
    let disk = SimulatedDisk::new();
    let operations_when_dropped = Arc::new(AtomicU64::new(0));
    let lock = Lock { disk: disk.clone(), operations_when_dropped: operations_when_dropped.clone() };
    let store = EmbeddedStore::open_in(Box::new(lock), "state").expect("the store opens");
    run(must_commit(&store, writes([put("a", "1")])));
    drop(store);
    assert_eq!(operations_when_dropped.load(Ordering::SeqCst), disk.operations());
}

/// Makes a store with some entries, closes it, and changes its file behind its back.
fn damaged(change: impl FnOnce(&redb::WriteTransaction)) -> StoreError {
    let (_directory, path) = scratch();
    let store = EmbeddedStore::open(&path).expect("the store opens");
    run(must_commit(&store, writes([put("a", "1"), put("b", "2")])));
    drop(store);
    let database = Database::open(&path).expect("the database opens");
    let transaction = database.begin_write().expect("a transaction");
    change(&transaction);
    transaction.commit().expect("it commits");
    drop(database);
    EmbeddedStore::open(&path).expect_err("a damaged store is not served")
}

#[test]
fn state_revision_and_id_outlive_the_process() {
    let (_directory, path) = scratch();
    let store = EmbeddedStore::open(&path).expect("the store opens");
    let id = store.id().to_owned();
    let revision = run(must_commit(&store, writes([put("a", "1"), put("b", "2")])));
    let last = run(must_commit(&store, writes([delete("b")])));
    let listing = run(store.list("")).unwrap();
    drop(store);
    let store = EmbeddedStore::open(&path).expect("the store opens again");
    assert_eq!(store.id(), id);
    assert_eq!(run(store.list("")).unwrap(), listing);
    assert!(run(store.watch("", last)).is_ok(), "who was up to date needs no new list");
    assert!(matches!(run(store.watch("", revision)), Err(StoreError::Compacted { .. })));
    assert!(run(must_commit(&store, writes([delete("a")]))) > last);
}

#[test]
fn two_stores_are_never_the_same() {
    let open = || EmbeddedStore::open(&scratch().1).expect("the store opens").id().to_owned();
    assert_ne!(open(), open());
}

#[test]
fn second_opener_is_told_who_has_it() {
    let (_directory, path) = scratch();
    let store = EmbeddedStore::open(&path).expect("the store opens");
    let error = EmbeddedStore::open(&path).expect_err("it is in use");
    let text = error.to_string();
    assert!(matches!(error, StoreError::InUse { .. }), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(store);
    EmbeddedStore::open(&path).expect("it is free again");
}

#[test]
fn only_the_owner_can_read_the_state() {
    let (_directory, path) = scratch();
    drop(EmbeddedStore::open(&path).expect("the store opens"));
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mode = std::fs::metadata(path.parent().expect("it has one")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn unknown_format_is_refused_by_name() {
    let error = damaged(|transaction| {
        let mut meta = transaction.open_table(META).expect("the table");
        meta.insert("format", b"7".as_slice()).expect("it is written");
    });
    let expected = format!(
        "state store has format 7, this program understands only format {FORMAT}: use the version of setkeeper that \
         wrote it, or restore a backup"
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn database_of_something_else_is_refused() {
    let (_directory, path) = scratch();
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("the directory");
    drop(Database::create(&path).expect("a database"));
    assert!(matches!(EmbeddedStore::open(&path), Err(StoreError::Corrupt { .. })));
}

#[test]
fn file_that_is_no_database_is_refused_and_kept() {
    for content in [&b""[..], b"{}", &[0xa5; 9000]] {
        let (_directory, path) = scratch();
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("the directory");
        std::fs::write(&path, content).expect("the file");
        let error = EmbeddedStore::open(&path).expect_err("it is not a store");
        assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Open { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).expect("it is there"), content);
    }
}

#[test]
fn record_that_was_changed_lost_or_added_is_not_served() {
    let changed = damaged(|transaction| {
        let mut entries = transaction.open_table(ENTRIES).expect("the table");
        let mut record = entries.get("a").expect("it reads").expect("it is there").value().to_vec();
        *record.last_mut().expect("it has a value") ^= 1;
        entries.insert("a", record.as_slice()).expect("it is written");
    });
    let lost = damaged(|transaction| {
        let mut entries = transaction.open_table(ENTRIES).expect("the table");
        entries.remove("b").expect("it is removed");
    });
    let moved = damaged(|transaction| {
        let mut entries = transaction.open_table(ENTRIES).expect("the table");
        let record = entries.get("a").expect("it reads").expect("it is there").value().to_vec();
        entries.insert("c", record.as_slice()).expect("it is written");
    });
    for error in [changed, lost, moved] {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn rot_anywhere_in_the_file_is_never_served_as_truth() {
    let (_directory, path) = scratch();
    let store = EmbeddedStore::open(&path).expect("the store opens");
    for key in 0..20 {
        run(must_commit(&store, writes([put(&format!("key-{key}"), vec![key; 300])])));
    }
    let truth = run(store.list("")).unwrap();
    drop(store);
    let whole = std::fs::read(&path).expect("the file");
    let (mut refused, mut harmless) = (0, 0);
    for offset in (0..whole.len()).step_by(whole.len() / 300) {
        let mut rotten = whole.clone();
        rotten[offset] ^= 0x10;
        std::fs::write(&path, &rotten).expect("the file");
        match EmbeddedStore::open(&path) {
            Ok(store) => {
                assert_eq!(run(store.list("")).unwrap(), truth, "at {offset}");
                harmless += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0 && harmless > 0, "{refused} refused, {harmless} in unused places");
}
