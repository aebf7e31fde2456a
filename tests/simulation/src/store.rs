//! The real embedded store, watched at its seam: every commit is written down, and some are where a fault happens.

mod phases;
mod teller;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use coordinator::store::{
    Batch, CommitError, CommitResult, Entry, Listing, StateStore, StoreError, StoreRevision, Watch,
};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use crate::lab::Planted;
use crate::mutant::Mutant;
use crate::place::Place;

use phases::Phases;
use teller::Teller;

/// What happens at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCommit {
    /// The coordinator dies before anything is written.
    CrashBefore,
    /// The coordinator dies when it is durable, before anybody is told.
    CrashAfter,
    /// Watchers are told that they missed something instead of what.
    HideEvent,
    /// Reads go on seeing what was before, for so long.
    PreviousView(Duration),
    /// Every handler that somebody waits for is dropped.
    CancelHandlers,
    /// The disk takes so long.
    Slow(Duration),
}

/// The store of one life of the coordinator.
pub struct WatchedStore {
    inner: Arc<dyn StateStore>,
    place: Arc<Place>,
    phases: Arc<Phases>,
}

impl WatchedStore {
    /// Watches a store that was just opened: what it holds is held against what was acknowledged.
    pub async fn new(inner: Arc<dyn StateStore>, place: Arc<Place>) -> Self {
        let listing = inner.list("").await.expect("the embedded store can be read");
        place.lab.store_opened(inner.id(), &listing);
        Self { inner, place, phases: Arc::default() }
    }
}

impl StateStore for WatchedStore {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.inner.list(prefix)
    }

    fn watch(&self, prefix: &str, after: StoreRevision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        let (place, prefix) = (self.place.clone(), prefix.to_owned());
        async move {
            let watch = self.inner.watch(&prefix, after).await?;
            let mut last = after;
            let told = watch.then(move |item| {
                let place = place.clone();
                async move {
                    place.clock.goes_on().await;
                    let Ok(changes) = item else { return item };
                    let silent = place.lab.mutant() == Some(Mutant::SilentCompaction);
                    match place.lab.delivery(changes.revision.0) {
                        Some(AtCommit::HideEvent) if silent => Err(StoreError::Closed),
                        Some(AtCommit::HideEvent) => {
                            Err(StoreError::Compacted { oldest: StoreRevision(changes.revision.0) })
                        }
                        Some(AtCommit::PreviousView(time)) => {
                            // Whoever asks for something after the faults is shown what there is.
                            let _ = tokio::time::timeout(time, place.lab.healed()).await;
                            Ok(changes)
                        }
                        _ => Ok(changes),
                    }
                }
            });
            let place = self.place.clone();
            let mut teller = Teller::new(place.lab.mutant());
            let told = told.flat_map(move |item| {
                let items = teller.tell(item);
                for changes in items.iter().flatten() {
                    place.lab.delivered(last.0, changes);
                    last = changes.revision;
                }
                futures::stream::iter(items)
            });
            // After an error there is nothing more: the watcher lists again.
            let told = told.scan(false, |ended, item| {
                let go_on = !std::mem::replace(ended, item.is_err());
                std::future::ready(go_on.then_some(item))
            });
            Ok(Watch::new(told))
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitResult> {
        let asked = self.ask(batch);
        async move {
            let inner = self.inner.clone();
            let commit = move |[batch]: [Batch; 1]| async move { [inner.commit(batch).await] }.boxed();
            let [result] = self.commit_asked([asked?], commit).await;
            result
        }
        .boxed()
    }

    fn commit_both(&self, first: Batch, second: Batch) -> BoxFuture<'_, (CommitResult, CommitResult)> {
        let asked = (self.ask(first), self.ask(second));
        async move {
            let inner = self.inner.clone();
            let commit =
                move |[first, second]: [Batch; 2]| async move { inner.commit_both(first, second).await.into() }.boxed();
            match asked {
                (Ok(first), Ok(second)) if self.place.lab.mutant() == Some(Mutant::AheadOfItsReport) => {
                    let [second, first] = self.commit_asked([second, first], commit).await;
                    (first, second)
                }
                (Ok(first), Ok(second)) => self.commit_asked([first, second], commit).await.into(),
                (Err(refused), _) | (_, Err(refused)) => (Err(refused.clone()), Err(refused)),
            }
        }
        .boxed()
    }
}

/// A batch that the coordinator asks for.
struct Asked {
    /// What the store is given.
    batch: Batch,
    /// What the rules judge.
    judged: Batch,
    number: u64,
    at: Option<AtCommit>,
    /// Sets to which it begins something.
    begun: Vec<String>,
}

impl WatchedStore {
    /// A batch as a planted bug leaves it, and what happens at it.
    fn ask(&self, batch: Batch) -> Result<Asked, CommitError> {
        let lab = &self.place.lab;
        let begun = self.phases.begin(lab, &batch)?;
        let Planted { batch: mutated, as_asked, at: planted } = lab.planted(&batch);
        let judged = if as_asked { mutated.clone() } else { batch };
        let (number, at) = lab.next_commit(&judged);
        Ok(Asked { batch: mutated, judged, number, at: planted.or(at), begun })
    }

    /// Commits batches in one go, with what happens at any of them.
    async fn commit_asked<const BATCHES: usize>(
        &self,
        asked: [Asked; BATCHES],
        commit: impl FnOnce([Batch; BATCHES]) -> BoxFuture<'static, [CommitResult; BATCHES]> + Send + 'static,
    ) -> [CommitResult; BATCHES] {
        for at in asked.iter().filter_map(|asked| asked.at) {
            match at {
                AtCommit::CrashBefore => {
                    self.place.lab.crash(&self.place, "F1 crash before a commit");
                    return std::future::pending().await;
                }
                AtCommit::CancelHandlers => {
                    self.place.wires.cut();
                    tokio::task::yield_now().await;
                }
                AtCommit::Slow(_) | AtCommit::CrashAfter | AtCommit::HideEvent | AtCommit::PreviousView(_) => {}
            }
        }
        let slow = |asked: &Asked| match asked.at {
            Some(AtCommit::Slow(time)) => Some(time),
            _ => None,
        };
        if let Some(slowest) = asked.iter().filter_map(slow).max() {
            tokio::time::sleep(slowest).await;
        }
        self.place.clock.goes_on().await;
        if self.place.wires.is_silent() {
            return std::future::pending().await;
        }
        let (place, phases) = (self.place.clone(), self.phases.clone());
        let made = async move {
            asked.iter().for_each(|asked| place.lab.committing(asked.number, &asked.judged));
            let results = commit(asked.each_ref().map(|asked| asked.batch.clone())).await;
            let made = || asked.iter().zip(&results);
            made().filter(|(_, result)| result.is_ok()).for_each(|(asked, _)| phases.end(&asked.begun));
            if place.wires.is_silent() {
                return std::future::pending().await;
            }
            made().for_each(|(asked, result)| place.lab.committed(asked.number, result, &place));
            if asked.iter().any(|asked| asked.at == Some(AtCommit::CrashAfter)) {
                place.lab.crash(&place, "F1 crash after a commit");
                return std::future::pending().await;
            }
            results
        };
        ToItsEnd(Some(made.boxed())).await
    }
}

/// A commit that is written down when it is durable, also where whoever asked for it was dropped meanwhile.
struct ToItsEnd<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<T> {
        let Some(made) = &mut self.0 else { return Poll::Pending };
        let result = made.poll_unpin(context);
        if result.is_ready() {
            self.0 = None;
        }
        result
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        // Without a runtime its host has just died: then what is durable is found when the store is opened again.
        if let Some(rest) = self.0.take()
            && let Ok(host) = tokio::runtime::Handle::try_current()
        {
            host.spawn(rest);
        }
    }
}

impl std::fmt::Debug for WatchedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedStore").finish_non_exhaustive()
    }
}
