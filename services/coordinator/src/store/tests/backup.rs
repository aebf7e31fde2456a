//! Backups: whole or refused; and what is restored from them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::super::backup::{BACKUP_FORMAT, BackupError, Header, Pieces, verify};
use super::super::offline::{self, FORMER_KEY, FORMER_MAX, RESTORED_REVISION_STEP, Restored, examine, former_stores};
use super::super::{EmbeddedStore, Entry, StateStore};
use super::*;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("setkeeper.meta");

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path).expect("the store opens")
}

fn restore(backup: &Path, store: &Path, replace: bool) -> Result<Restored, StoreError> {
    offline::restore(File::open(backup).expect("it is there"), store, replace)
}

/// A backup of what the store holds now.
fn backup_of(store: &EmbeddedStore) -> Vec<u8> {
    let listing = run(store.list("")).expect("it can be read");
    let header = Header {
        store_id: store.id().to_owned(),
        revision: listing.revision,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        program: "1".to_owned(),
    };
    Pieces::new(&header, listing).flatten().collect()
}

fn written(directory: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join("backup");
    std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("it is written");
    path
}

/// A store with a few entries, some changed and some deleted again.
fn used(path: &Path) -> EmbeddedStore {
    let store = open(path);
    for number in 0..40u8 {
        run(must_commit(&store, writes([put(&format!("key-{:02}", number % 30), vec![number; 20_000])])));
    }
    run(must_commit(&store, writes([delete("key-07")])));
    store
}

fn entries(path: &Path) -> Vec<Entry> {
    let store = open(path);
    let all = run(store.list("")).expect("it can be read").entries;
    all.into_iter().filter(|entry| entry.key != FORMER_KEY).collect()
}

#[test]
fn a_restored_store_holds_the_same_under_a_new_identity() {
    let directory = TempDir::new().expect("a directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("deep/to"));
    let store = used(&from);
    let backup = written(&directory, &backup_of(&store));
    let (id, before) = (store.id().to_owned(), run(store.list("")).expect("it can be read"));
    drop(store);
    let restored = restore(&backup, &to, false).expect("the backup is whole");
    assert_eq!(entries(&to), before.entries);
    let store = open(&to);
    assert_eq!(store.id(), restored.store_id);
    assert_ne!(store.id(), id);
    let former = run(store.get(FORMER_KEY)).expect("it can be read").expect("it is there");
    assert_eq!(former_stores(&former.value), [id]);
    // No revision that was given out after the backup means anything in it.
    assert_eq!(restored.revision.0, before.revision.0 + RESTORED_REVISION_STEP);
    let stale = run(store.watch("", StoreRevision(before.revision.0 + 5)));
    assert!(matches!(stale, Err(StoreError::Compacted { .. })));
    assert!(run(must_commit(&store, writes([put("new", "1")]))) > restored.revision);
}

#[test]
fn a_store_that_is_there_is_replaced_only_when_asked() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("store");
    let backup = written(&directory, &backup_of(&used(&path)));
    run(must_commit(&open(&path), writes([put("later", "1")])));
    let before = entries(&path);
    let refused = restore(&backup, &path, false).expect_err("there is a store").to_string();
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(entries(&path), before);
    restore(&backup, &path, true).expect("it was asked for");
    assert!(!entries(&path).iter().any(|entry| entry.key == "later"));
    let store = open(&path);
    let in_use = restore(&backup, &path, true).expect_err("it is in use");
    assert!(matches!(in_use, StoreError::InUse { .. }), "{in_use}");
    drop(store);
}

#[test]
fn former_stores_are_remembered_up_to_a_bound() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("store");
    let mut ids = Vec::new();
    for _ in 0..FORMER_MAX + 3 {
        let store = open(&path);
        ids.push(store.id().to_owned());
        let backup = written(&directory, &backup_of(&store));
        drop(store);
        restore(&backup, &path, true).expect("the backup is whole");
    }
    let former = run(open(&path).get(FORMER_KEY)).expect("it can be read").expect("it is there");
    assert_eq!(former_stores(&former.value), ids[3..]);
}

#[test]
fn what_was_cut_off_or_changed_anywhere_is_refused_whole() {
    let directory = TempDir::new().expect("a directory");
    let whole = {
        let store = open(&directory.path().join("from"));
        for number in 0..20u8 {
            run(must_commit(&store, writes([put(&format!("key-{number:02}"), vec![number; 60])])));
        }
        backup_of(&store)
    };
    verify(&whole[..]).expect("it is whole");
    for length in 0..whole.len() {
        verify(&whole[..length]).expect_err("it was cut off");
    }
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        verify(&changed[..]).expect_err("it was changed");
    }
    let longer = [&whole[..], b"x"].concat();
    verify(&longer[..]).expect_err("something was added");
    // And nothing is made of it.
    let to = directory.path().join("to");
    let backup = written(&directory, &whole[..whole.len() - 1]);
    let error = service_kit::status::chain(&restore(&backup, &to, false).expect_err("it was cut off"));
    assert!(error.contains("ends too early"), "{error}");
    assert!(!to.exists() && !directory.path().join("to.new").exists());
}

#[test]
fn a_newer_format_is_refused_with_what_to_do() {
    let directory = TempDir::new().expect("a directory");
    let mut newer = backup_of(&used(&directory.path().join("from")));
    newer[16] = 9;
    let error = verify(&newer[..]).expect_err("it is newer");
    assert!(matches!(error, BackupError::UnknownFormat { found: 9 }) && BACKUP_FORMAT < 9);
    assert!(error.to_string().contains("use the version of setkeeper that made it"), "{error}");
}

#[test]
fn examining_changes_nothing_and_finds_rot() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("store");
    let missing = examine(&path).expect_err("there is none").to_string();
    assert!(missing.contains("--data-dir"), "{missing}");
    let store = used(&path);
    assert!(matches!(examine(&path), Err(StoreError::InUse { .. })));
    // As a kill leaves it: open, with what is committed.
    let killed = directory.path().join("killed");
    std::fs::copy(&path, &killed).expect("a copy");
    drop(store);
    for (path, unclean) in [(&path, false), (&killed, true)] {
        let content = std::fs::read(path).expect("it is there");
        let examined = examine(path).expect("it is sound");
        assert_eq!(examined.entries.len(), 29);
        assert_eq!(examined.unclean, unclean);
        assert!(std::fs::read(path).expect("it is there") == content, "the file was changed");
    }
    let whole = std::fs::read(&path).expect("it is there");
    let mut refused = 0;
    for place in (0..whole.len()).step_by(whole.len() / 60) {
        let mut rotten = whole.clone();
        rotten[place] ^= 0x10;
        std::fs::write(&path, &rotten).expect("it is written");
        refused += u32::from(examine(&path).is_err());
    }
    assert!(refused > 20, "{refused} of 60 places");
}

#[test]
fn a_forged_newer_store_is_refused_by_the_examination_too() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("store");
    drop(used(&path));
    let database = Database::open(&path).expect("the database opens");
    let transaction = database.begin_write().expect("a transaction");
    transaction.open_table(META).expect("the table").insert("format", b"2".as_slice()).expect("it is written");
    transaction.commit().expect("it commits");
    drop(database);
    let error = examine(&path).expect_err("it is newer").to_string();
    assert!(error.contains("format 2") && error.contains("restore a backup"), "{error}");
}

#[test]
fn a_store_that_is_replaced_is_remembered() {
    let directory = TempDir::new().expect("a directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let store = used(&from);
    let (first, backup) = (store.id().to_owned(), written(&directory, &backup_of(&store)));
    let second = restore(&backup, &to, false).expect("there is none").store_id;
    restore(&backup, &to, true).expect("it was asked for");
    let entries = examine(&to).expect("it is sound").entries;
    assert_eq!(former_stores(&entries[FORMER_KEY].value), [first, second]);
}
