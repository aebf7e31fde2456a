//! The embedded store on disks that fail.

use super::super::embedded::Limits;
use super::super::state::HistoryLimits;
use super::super::{EmbeddedStore, StateStore};
use super::simulated_disk::{Faults, Random, SimulatedDisk};
use super::*;

fn open(disk: &SimulatedDisk) -> EmbeddedStore {
    EmbeddedStore::open_in(Box::new(disk.clone()), "state").expect("the store opens")
}

#[test]
fn failed_sync_ends_the_store_and_is_not_retried() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    let acknowledged = run(must_commit(&store, writes([put("a", "1")])));
    disk.set_faults(Faults { sync: true, ..Faults::default() });
    let error = store_error(run(store.commit(writes([put("a", "2")]))));
    assert!(error.is_fatal() && error.is_ambiguous(), "{error:?}");
    assert!(std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("input/output error")));
    // The disk works again, but what it lost is unknown: nothing is written or acknowledged any more.
    disk.set_faults(Faults::default());
    let operations = disk.operations();
    for batch in [writes([put("b", "1")]), Batch { preconditions: vec![absent("b")], writes: vec![] }] {
        assert!(store_error(run(store.commit(batch))).is_fatal());
    }
    assert_eq!(disk.operations(), operations, "the file is left alone");
    let seen = run(store.get("a")).unwrap().expect("reads go on");
    assert_eq!((seen.value, seen.modified), ("1".into(), acknowledged));
    drop(store);
    assert_eq!(disk.operations(), operations, "also when it is closed");
    let recovered = open(&disk.after_crash(&mut Random::new(1)));
    let entry = run(recovered.get("a")).unwrap().expect("an acknowledged write is kept");
    assert!(entry.modified >= acknowledged);
}

#[test]
fn failed_write_ends_the_store_too() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    disk.set_faults(Faults { write: true, ..Faults::default() });
    assert!(store_error(run(store.commit(writes([put("a", "2")])))).is_fatal());
    assert_eq!(run(store.list("")).unwrap().entries, []);
}

#[test]
fn full_disk_refuses_writes_and_resumes() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    let before = run(must_commit(&store, writes([put("a", "1")])));
    let mut watch = run(store.watch("", before)).unwrap();
    for round in 0..3 {
        let large = |part: usize| {
            let write = |key: usize| put(&format!("{round}/{part}/{key}"), vec![round; 200 * 1024]);
            writes((0..4).map(write).collect::<Vec<_>>())
        };
        disk.set_faults(Faults { bytes_max: Some(disk.used()), ..Faults::default() });
        let mut part = 0;
        let error = loop {
            match run(store.commit(large(part))) {
                Ok(revision) => assert_eq!(run(next(&mut watch)).revision, revision),
                refused => break store_error(refused),
            }
            part += 1;
            assert!(part < 100, "the disk becomes full");
        };
        let listing = run(store.list("")).unwrap();
        let again = store_error(run(store.commit(large(part))));
        for error in [error, again] {
            assert!(error.is_exhausted() && !error.is_fatal() && !error.is_ambiguous(), "{error:?}");
        }
        assert_eq!(run(store.list("")).unwrap(), listing, "no half object");
        assert_eq!(run(store.get("a")).unwrap().map(|entry| entry.value), Some("1".into()), "reads go on");
        disk.set_faults(Faults::default());
        let after = run(must_commit(&store, large(part)));
        assert_eq!(after.0, listing.revision.0 + 1, "writes resume");
        assert_eq!(run(next(&mut watch)).revision, after, "watches go on");
    }
    let listing = run(store.list("")).unwrap();
    drop(store);
    assert_eq!(run(open(&disk).list("")).unwrap(), listing);
}

#[test]
fn full_disk_at_first_creation_leaves_nothing_half_made() {
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { bytes_max: Some(64 * 1024), ..Faults::default() });
    let error = EmbeddedStore::open_in(Box::new(disk.clone()), "state").expect_err("there is no space");
    assert!(error.is_exhausted(), "{error:?}");
    disk.set_faults(Faults::default());
    open(&disk);
}

#[test]
fn store_is_bounded_and_can_be_emptied() {
    let limits = Limits { history: HistoryLimits::default(), store_bytes: 1000 };
    let store = EmbeddedStore::open_with(Box::new(SimulatedDisk::new()), "state", limits).expect("the store opens");
    run(must_commit(&store, writes([put("a", vec![0; 600])])));
    let error = store_error(run(store.commit(writes([put("b", vec![0; 600])]))));
    assert!(error.is_exhausted(), "{error:?}");
    run(must_commit(&store, writes([put("b", vec![0; 600]), delete("a")])));
    run(must_commit(&store, writes([delete("b")])));
}

#[test]
fn queued_commits_are_finished_when_the_store_is_dropped() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    for key in 0..10 {
        let mut commit = store.commit(writes([put(&format!("{key}"), "1")]));
        // Queues it, and does not wait for the answer.
        let _ = run(async { futures::poll!(&mut commit) });
    }
    drop(store);
    assert_eq!(run(open(&disk).list("")).unwrap().entries.len(), 10);
}
