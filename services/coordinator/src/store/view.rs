//! What readers and watchers share: the visible state, and the news that it moved.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures::Stream;
use tokio::sync::watch;

use super::state::{Progress, State};
use super::{Changes, StoreError, StoreRevision, Watch};

/// The visible state of a store. Reads are from memory, so they cost no I/O and see one revision.
#[derive(Debug)]
pub(super) struct View {
    state: Arc<RwLock<State>>,
    moved: watch::Sender<StoreRevision>,
}

impl View {
    pub(super) fn new(state: State) -> Self {
        let moved = watch::Sender::new(state.revision());
        Self { state: Arc::new(RwLock::new(state)), moved }
    }

    /// The lock is held for the time of a look-up, never across an await or I/O (the committer only reads under it).
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        read(&self.state)
    }

    /// Makes durable commits visible, all at once.
    pub(super) fn publish(&self, commits: Vec<Changes>) {
        let Some(last) = commits.last().map(|commit| commit.revision) else { return };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        commits.into_iter().for_each(|commit| state.apply(commit));
        drop(state);
        self.moved.send_replace(last);
    }

    pub(super) fn watch(&self, prefix: String, after: StoreRevision) -> Result<Watch, StoreError> {
        self.read().check_watch(after)?;
        let watcher = Watcher { state: self.state.clone(), moved: self.moved.subscribe(), prefix, at: after };
        Ok(Watch::new(watcher.into_stream()))
    }
}

/// A watcher keeps no changes of its own: it is a position in the shared history, so a slow one costs nothing.
struct Watcher {
    state: Arc<RwLock<State>>,
    moved: watch::Receiver<StoreRevision>,
    prefix: String,
    at: StoreRevision,
}

impl Watcher {
    fn into_stream(self) -> impl Stream<Item = Result<Changes, StoreError>> + Send {
        futures::stream::unfold(Some(self), |watcher| async move { watcher?.next().await })
    }

    async fn next(mut self) -> Option<(Result<Changes, StoreError>, Option<Self>)> {
        loop {
            self.moved.mark_unchanged(); // Before looking, so that what moves after the look wakes us.
            let progress = read(&self.state).progress(&self.prefix, self.at);
            match progress {
                Progress::Deliver(changes) => {
                    self.at = changes.revision;
                    return Some((Ok(changes), Some(self)));
                }
                Progress::Compacted { oldest } => return Some((Err(StoreError::Compacted { oldest }), None)),
                Progress::UpTo(revision) => self.at = revision,
            }
            self.moved.changed().await.ok()?;
        }
    }
}

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    // A panic under the lock is a broken invariant in `State::apply`, which the committer turns into a failed store;
    // what was published before it is still true.
    state.read().unwrap_or_else(PoisonError::into_inner)
}
