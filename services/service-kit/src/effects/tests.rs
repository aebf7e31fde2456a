use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, oneshot};

use super::ledger::RESULTS_MAX;
use super::*;

const FENCE: Fence = Fence { store: String::new(), epoch: 1, generation: 1 };

fn fence(epoch: u64, generation: u64) -> Fence {
    of("", epoch, generation)
}

fn of(store: &str, epoch: u64, generation: u64) -> Fence {
    Fence { store: store.to_owned(), epoch, generation }
}

async fn done(text: &'static str) -> Result<Bytes, Status> {
    Ok(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn work_finishes_when_its_caller_is_gone() {
    let effects = Effects::in_memory();
    let (begun, has_begun) = oneshot::channel();
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let work = async move {
        let _ = begun.send(());
        wait.notified().await;
        done("made").await
    };
    {
        let caller = effects.run("op-1", FENCE, work);
        tokio::select! {
            _ = caller => panic!("cannot finish yet"),
            begun = has_begun => begun.expect("the work begins"),
        }
    }
    go_on.notify_one();
    effects.finish().await;
    assert_eq!(effects.recorded("op-1"), Some(Bytes::from_static(b"made")));
}

#[tokio::test]
async fn the_same_operation_is_done_once_and_all_callers_get_its_result() {
    let effects = Effects::in_memory();
    let count = Arc::new(AtomicUsize::new(0));
    let go_on = Arc::new(Notify::new());
    let calls = (0..8).map(|_| {
        let (count, go_on) = (Arc::clone(&count), Arc::clone(&go_on));
        effects.run("op-1", FENCE, async move {
            count.fetch_add(1, Ordering::SeqCst);
            go_on.notified().await;
            done("made").await
        })
    });
    let all = futures::future::join_all(calls);
    let (results, ()) = tokio::join!(all, async { go_on.notify_one() });
    assert!(results.into_iter().all(|result| result.expect("done") == "made"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let again = effects.run("op-1", FENCE, async { panic!("is recorded") }).await;
    assert_eq!(again.expect("recorded"), "made");
}

#[tokio::test]
async fn a_failure_is_not_recorded() {
    let effects = Effects::in_memory();
    let failed = effects.run("op-1", FENCE, async { Err(Status::resource_exhausted("no space")) }).await;
    assert_eq!(Status::from(failed.expect_err("fails")).code(), Code::ResourceExhausted);
    let panicked = effects.run("op-1", FENCE, async { panic!("defect") }).await;
    assert_eq!(Status::from(panicked.expect_err("fails")).code(), Code::Internal);
    assert_eq!(effects.run("op-1", FENCE, done("made")).await.expect("runs again"), "made");
}

#[tokio::test]
async fn what_is_older_than_something_seen_is_refused() {
    let effects = Effects::in_memory();
    effects.run_for("a", "op-1", fence(2, 5), done("")).await.expect("first");
    effects.run_for("b", "op-2", fence(2, 3), done("")).await.expect("another subject");
    effects.run_for("a", "op-3", fence(2, 5), done("")).await.expect("equal");
    let cases = [("a", fence(2, 4)), ("a", fence(1, 9)), ("b", fence(2, 2)), ("c", fence(1, 9))];
    for (index, (subject, fence)) in cases.into_iter().enumerate() {
        let work = async { panic!("must not run") };
        let error = effects.run_for(subject, &format!("old-{index}"), fence.clone(), work).await.expect_err("refused");
        assert!(matches!(error, EffectError::Fenced { .. }), "{subject} {fence}: {error}");
        let status = Status::from(error);
        assert_eq!((status.code(), crate::status::reason(&status).as_str()), (Code::Aborted, "FENCED"));
    }
    effects.run_for("a", "op-4", fence(3, 1), done("")).await.expect("a new epoch starts over");
    assert!(effects.run_for("b", "op-5", fence(2, 9), done("")).await.is_err());
}

#[tokio::test]
async fn an_operation_needs_an_id() {
    let effects = Effects::in_memory();
    let long = "x".repeat(KEY_BYTES_MAX + 1);
    for id in ["", &long] {
        assert!(matches!(effects.run(id, FENCE, done("")).await, Err(EffectError::InvalidId)));
    }
}

#[tokio::test]
async fn results_and_fences_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operations");
    let effects = Effects::open(&path).expect("a new log");
    effects.run("op-1", fence(4, 7), done("made")).await.expect("done");
    drop(effects);
    let effects = Effects::open(&path).expect("the same log");
    let again = effects.run("op-1", fence(4, 7), async { panic!("is recorded") }).await;
    assert_eq!(again.expect("recorded"), "made");
    assert!(matches!(effects.run("op-0", fence(4, 6), done("")).await, Err(EffectError::Fenced { .. })));
}

/// Whether an operation is refused, with the file that remembers why.
async fn refused(effects: &Effects, id: &str, fence: Fence, file: &Path) -> bool {
    let Err(error) = effects.run(id, fence, done("")).await else { return false };
    let status = Status::from(error);
    assert_eq!((status.code(), crate::status::reason(&status).as_str()), (Code::Aborted, "FENCED"));
    status.message().contains(&format!("remove {}", file.display()))
}

#[tokio::test]
async fn another_store_takes_over_and_the_one_before_is_refused_from_then_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operations");
    let effects = Effects::open(&path).expect("a new log");
    effects.run("op-1", of("old", 9, 40), done("old")).await.expect("the first store");
    let mut effects = Effects::open(&path).expect("the same log");
    assert!(refused(&effects, "op-2", of("old", 8, 99), &path).await, "an earlier epoch of the same store");
    let anew = effects.run("op-1", of("new", 1, 1), done("new")).await;
    assert_eq!(anew.expect("a store that was wiped begins at 1"), "new", "the same id of another store is another");
    for _ in 0..2 {
        assert!(refused(&effects, "op-1", of("old", 9, 40), &path).await, "no longer followed, recorded or not");
        assert!(refused(&effects, "op-3", of("old", 99, 1), &path).await, "no longer followed");
        assert!(refused(&effects, "op-3", of("new", 1, 0), &path).await, "an earlier generation of the new store");
        let again = effects.run("op-1", of("", 1, 1), async { panic!("is recorded") }).await;
        assert_eq!(again.expect("recorded"), "new", "whoever names none speaks for the one that is followed");
        effects = Effects::open(&path).expect("the same log");
    }
}

#[tokio::test]
async fn what_ends_after_its_store_was_replaced_is_not_recorded_for_the_next() {
    let effects = Effects::in_memory();
    let (begun, has_begun) = oneshot::channel();
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let late = effects.run("op-1", of("old", 1, 1), async move {
        let _ = begun.send(());
        wait.notified().await;
        done("old").await
    });
    let next = async {
        has_begun.await.expect("the work begins");
        effects.run("op-2", of("new", 1, 1), done("new")).await.expect("takes over");
        go_on.notify_one();
    };
    let (late, ()) = tokio::join!(late, next);
    assert_eq!(late.expect("its caller still learns of it"), "old");
    assert_eq!(effects.recorded("op-1"), None);
    assert_eq!(effects.run("op-1", of("new", 1, 1), done("anew")).await.expect("runs"), "anew");
}

#[tokio::test]
async fn a_fence_is_durable_before_the_work_begins() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operations");
    let effects = Effects::open(&path).expect("a new log");
    let (begun, has_begun) = oneshot::channel();
    let work = async move {
        let _ = begun.send(());
        std::future::pending().await
    };
    let caller = effects.run("op-1", fence(9, 1), work);
    tokio::select! {
        _ = caller => panic!("never finishes"),
        begun = has_begun => begun.expect("the work begins"),
    }
    // The process is killed here: what another one finds on disk refuses older coordinators.
    let found = Effects::open(&path).expect("the same log");
    assert!(matches!(found.run("op-0", fence(8, 9), done("")).await, Err(EffectError::Fenced { .. })));
    assert_eq!(found.recorded("op-1"), None);
}

/// Cuts the log after every byte, as a crash might, and looks that nothing is invented and nothing whole is lost.
#[tokio::test]
async fn a_torn_end_is_dropped_wherever_it_is_torn() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operations");
    let effects = Effects::open(&path).expect("a new log");
    effects.run("op-1", fence(1, 1), done("one")).await.expect("done");
    let first = std::fs::read(&path).expect("a file").len();
    effects.run("op-2", fence(1, 2), done("two")).await.expect("done");
    drop(effects);
    let whole = std::fs::read(&path).expect("a file");
    for length in first..=whole.len() {
        std::fs::write(&path, &whole[..length]).expect("a file");
        let effects = Effects::open(&path).expect("a torn log opens");
        assert_eq!(effects.recorded("op-1"), Some(Bytes::from_static(b"one")), "cut at {length}");
        assert_eq!(effects.recorded("op-2").is_some(), length == whole.len(), "cut at {length}");
        let added = effects.run("op-3", fence(1, 3), done("three")).await;
        assert_eq!(added.expect("goes on"), "three");
        assert!(Effects::open(&path).expect("still whole").recorded("op-3").is_some());
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_named_and_nothing_is_dropped() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operations");
    let effects = Effects::open(&path).expect("a new log");
    effects.run("op-1", FENCE, done("one")).await.expect("done");
    drop(effects);
    let mut content = std::fs::read(&path).expect("a file");
    content[20] ^= 1;
    std::fs::write(&path, &content).expect("a file");
    let error = Effects::open(&path).expect_err("damaged");
    assert!(matches!(error, LogError::Damaged { line: 1, .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("a file"), content);
}

#[test]
fn compaction_keeps_what_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operations");
    let mut ledger = Ledger::default();
    let mut log = Log::open(&path, |_| panic!("new")).expect("a new log");
    ledger.apply(Entry::Seen { subject: String::new(), store: "a".to_owned(), epoch: 9, generation: 9 });
    for index in 0..100_u64 {
        for entry in [
            Entry::Seen { subject: format!("s{}", index % 3), store: "b".to_owned(), epoch: 1, generation: index },
            Entry::Done {
                id: format!("op-{}", index % 10),
                store: "b".to_owned(),
                result: Bytes::from(index.to_string()),
            },
        ] {
            log.append(&entry).expect("appends");
            ledger.apply(entry);
        }
    }
    log.compact(&ledger.entries()).expect("compacts");
    log.append(&Entry::Done { id: "later".to_owned(), store: String::new(), result: Bytes::new() }).expect("appends");
    let mut again = Ledger::default();
    Log::open(&path, |entry| again.apply(entry)).expect("the same log");
    assert_eq!(std::fs::read_to_string(&path).expect("a file").lines().count(), 1 + 3 + 10 + 1);
    assert_eq!((again.epoch, again.generations), (1, ledger.generations));
    assert_eq!(again.authority, ledger.authority);
    assert!(again.results.contains_key("later"));
    assert_eq!(again.results["op-9"], "99");
}

#[test]
fn memory_is_bounded() {
    let mut ledger = Ledger::default();
    for index in 0..(RESULTS_MAX + 10) {
        ledger.apply(Entry::Done { id: format!("op-{index}"), store: String::new(), result: Bytes::new() });
    }
    assert_eq!((ledger.results.len(), ledger.ids_by_age.len()), (RESULTS_MAX, RESULTS_MAX));
    assert!(!ledger.results.contains_key("op-0"));
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing").join("operations");
    let error = Effects::open(&missing).expect_err("no directory").to_string();
    assert!(error.contains("missing/operations"), "{error}");
}
