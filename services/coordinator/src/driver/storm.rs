//! A storm of changes to one key: its passes collapse and never overlap, and no other key waits for it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::manifest::Kind;
use serde_json::json;
use service_kit::CancellationToken;

use super::*;
use crate::store::MemoryStore;
use crate::world::{Key, Transaction};

/// Changes of the noisy key.
const STORM: usize = 500;

/// The other key changes once, after this many.
const QUIET_AFTER: usize = 100;

/// Notes its passes.
#[derive(Default)]
struct Noting {
    under_way: Mutex<BTreeMap<String, usize>>,
    passes: Mutex<BTreeMap<String, usize>>,
    /// Changes of the noisy key so far.
    storm: AtomicUsize,
    /// How many of them there were when the other key had its pass.
    quiet_at: AtomicUsize,
}

impl Controller for Noting {
    type Key = String;
    const NAME: &'static str = "noting";

    fn keys(&self, _: &World) -> Vec<String> {
        Vec::new()
    }

    fn affected(&self, _: &World, change: &Change) -> Vec<String> {
        vec![change.key.name.clone()]
    }

    async fn pass(self: Arc<Self>, key: String) -> Outcome {
        let together = {
            let mut under_way = self.under_way.lock().unwrap();
            let count = under_way.entry(key.clone()).or_default();
            *count += 1;
            *count
        };
        assert_eq!(together, 1, "passes of {key} overlap");
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        if key == "quiet" {
            self.quiet_at.store(self.storm.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        *self.passes.lock().unwrap().entry(key.clone()).or_default() += 1;
        self.under_way.lock().unwrap().remove(&key);
        Outcome::Settled
    }
}

async fn change(world: &World, name: &str, round: usize) {
    let mut transaction = Transaction::default();
    transaction.record(Key::new(Kind::ConfigMap, "default", name), Some(json!({ "data": { "round": round } })));
    world.commit(transaction).await.unwrap();
}

#[tokio::test]
async fn s_202_passes_of_one_key_never_overlap_and_delay_no_other() {
    let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
    tokio::spawn(world.clone().follow(CancellationToken::new()));
    let (noting, context) = (Arc::new(Noting::default()), Context::default());
    let running = tokio::spawn(run(noting.clone(), world.clone(), context.clone()));
    // Once it has passed over a first key, it listens.
    while noting.passes.lock().unwrap().is_empty() {
        change(&world, "first", 0).await;
        tokio::task::yield_now().await;
    }
    for round in 0..STORM {
        change(&world, "noisy", round).await;
        noting.storm.store(round + 1, Ordering::SeqCst);
        if round == QUIET_AFTER {
            change(&world, "quiet", round).await;
        }
    }
    context.shutdown.cancel();
    running.await.expect("no pass panics");
    let passes = noting.passes.lock().unwrap().clone();
    assert!(passes["noisy"] > 1 && passes["noisy"] < STORM, "passes collapse: {passes:?}");
    assert_eq!(passes["quiet"], 1);
    let delay = noting.quiet_at.load(Ordering::SeqCst) - QUIET_AFTER;
    assert!(delay < 50, "the other key waited for {delay} changes of the noisy one");
}
