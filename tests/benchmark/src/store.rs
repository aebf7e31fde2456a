//! The embedded store: durable commits, alone and from many writers, reads, and opening.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use coordinator::store::{Batch, EmbeddedStore, StateStore, Write};

use crate::samples::{Row, Samples, now};

const VALUE_BYTES: usize = 1024;
const KEYS: usize = 10_000;
/// Keys per batch while the store is filled.
const FILL: usize = 500;
const SINGLE_COMMITS: usize = 2000;
/// As many as a set of one hundred takes, each way.
const STEPS: u64 = 100;
/// Decision records that a set keeps.
const DECISIONS: u64 = 50;
const WRITERS: usize = 64;
const COMMITS_PER_WRITER: usize = 300;
const LISTS: usize = 50;
const GETS: usize = 100_000;

pub(crate) async fn measure(directory: &Path) -> anyhow::Result<Vec<Row>> {
    let path = directory.join("state");
    let store = Arc::new(EmbeddedStore::open(&path)?);
    for first in (0..KEYS).step_by(FILL) {
        store.commit(Batch { preconditions: vec![], writes: (first..first + FILL).map(put).collect() }).await?;
    }
    let mut rows = vec![single(&store).await?, grouped(&store).await?];
    rows.extend(reads(&store).await?);
    let store = Arc::into_inner(store).context("the writers have ended")?;
    drop(store);
    let before = now();
    let store = EmbeddedStore::open(&path)?;
    rows.push(Row::value("open, reading and checking everything", format!("{:.1} ms", millis(before))));
    drop(store);
    let size = std::fs::metadata(&path)?.len() as f64 / 1048576.0;
    rows.push(Row::value("file", format!("{size:.1} MiB")));
    Ok(rows)
}

/// What an ordered step writes, and nothing else: the report of a pod, then its successor with all that is told of it; both in
/// one go, as a step does, and one durable after the other. The keys and sizes are those of the set whose steps are measured.
pub(crate) async fn step(directory: &Path) -> anyhow::Result<[Row; 2]> {
    let store = EmbeddedStore::open(&directory.join("steps"))?;
    let value = |bytes: usize| vec![b'x'; bytes].into();
    let object = |kind: &str, name: String, bytes| Write::Put {
        key: format!("/objects/{kind}/default/{name}"),
        value: value(bytes),
    };
    let (mut in_one_go, mut one_by_one) = (Samples::default(), Samples::default());
    for step in 0..2 * STEPS {
        let decision = |number: u64| format!("web.{number:010}");
        let report = object("pods", format!("web-{step}"), 1663);
        let successor = vec![
            object("statefulsets", "web".to_owned(), 1533),
            object("pods", format!("web-{}", step + 1), 1152),
            object("events", format!("web.{:010x}", (step + 1).wrapping_mul(0x9e37_79b9)), 565),
            object("decisions", decision(step + DECISIONS), 695),
            Write::Delete { key: format!("/objects/decisions/default/{}", decision(step)) },
        ];
        let [report, successor] = [vec![report], successor].map(|writes| Batch { preconditions: vec![], writes });
        let before = now();
        if step % 2 == 0 {
            let (first, second) = store.commit_both(report, successor).await;
            first.and(second)?;
            in_one_go.0.push(now() - before);
        } else {
            store.commit(report).await?;
            store.commit(successor).await?;
            one_by_one.0.push(now() - before);
        }
    }
    Ok([
        Row::latency("its two durable commits in one go, and nothing else", in_one_go),
        Row::latency("its two durable commits one after the other", one_by_one),
    ])
}

fn put(key: usize) -> Write {
    let key = format!("pods/default/web-{}", key % KEYS);
    Write::Put { value: vec![key.len() as u8; VALUE_BYTES].into(), key }
}

async fn single(store: &EmbeddedStore) -> anyhow::Result<Row> {
    let mut samples = Samples::default();
    let start = now();
    for round in 0..SINGLE_COMMITS {
        let before = now();
        store.commit(Batch { preconditions: vec![], writes: vec![put(round * 7919)] }).await?;
        samples.0.push(now() - before);
    }
    Ok(Row::rate("one writer: commits", SINGLE_COMMITS, now() - start, samples))
}

async fn grouped(store: &Arc<EmbeddedStore>) -> anyhow::Result<Row> {
    let start = now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut samples = Samples::default();
            for round in 0..COMMITS_PER_WRITER {
                let before = now();
                let key = (writer * COMMITS_PER_WRITER + round) * 7919;
                store.commit(Batch { preconditions: vec![], writes: vec![put(key)] }).await?;
                samples.0.push(now() - before);
            }
            anyhow::Ok(samples)
        });
    }
    let mut samples = Samples::default();
    while let Some(of_writer) = writers.join_next().await {
        samples.0.extend(of_writer??.0);
    }
    Ok(Row::rate("64 writers: commits", WRITERS * COMMITS_PER_WRITER, now() - start, samples))
}

async fn reads(store: &EmbeddedStore) -> anyhow::Result<Vec<Row>> {
    let mut lists = Samples::default();
    for _ in 0..LISTS {
        let before = now();
        let listing = store.list("pods/").await?;
        lists.0.push(now() - before);
        anyhow::ensure!(listing.entries.len() == KEYS, "{} entries", listing.entries.len());
    }
    let start = now();
    for round in 0..GETS {
        let key = format!("pods/default/web-{}", (round * 7919) % KEYS);
        anyhow::ensure!(store.get(&key).await?.is_some(), "{key} is missing");
    }
    let gets = Row::rate("gets", GETS, now() - start, Samples::default());
    Ok(vec![gets, Row::latency("list of all", lists)])
}

fn millis(since: std::time::Duration) -> f64 {
    (now() - since).as_secs_f64() * 1000.0
}
