//! Everything that is stored, decoded and in memory.
//!
//! The world follows the store's watch, so that it sees exactly the commits, in order. Reads cost no I/O. A commit made
//! through it returns only when the world has seen it: whoever commits reads its own writes. All controllers and the
//! API read here; nothing else decodes what is stored.

mod bonds;
mod key;
mod object;
mod recent;
mod state;
#[cfg(test)]
mod tests;
mod transaction;
mod written;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use self::state::State;
use self::written::Written;
use crate::store::{
    Batch, Change as StoreChange, CommitError, CommitResult, Entry, StateStore, StoreError, StoreRevision,
};

pub use key::{Key, PREFIX};
pub use object::Object;
pub(crate) use object::{controller_reference, owners};
pub use transaction::{Transaction, Untouched};

/// Commits that a slow subscriber may be behind before it must look at everything anew. Each holds two pointers an
/// object; 4096 cover a scale-up of a thousand pods.
const CHANGES_BUFFERED_MAX: usize = 4096;

/// How long a conflict waits to be seen: many times what a commit takes.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// One object before and after a commit.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// Before; none for a creation.
    pub old: Option<Arc<Object>>,
    /// After; none for a deletion.
    pub new: Option<Arc<Object>>,
}

/// One commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Store revision after it.
    pub revision: StoreRevision,
    /// What it changed.
    pub changes: Vec<Change>,
    /// Whether it is not one commit but all that were missed, as one.
    pub merged: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

/// Why the world cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The store failed.
    #[error("the state store failed")]
    Store(#[from] StoreError),
    /// What is stored cannot be decoded. The store is left as it is.
    #[error("stored object {key} cannot be decoded")]
    Corrupt {
        /// Store key.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// The decoded state.
pub struct World {
    store: Arc<dyn StateStore>,
    state: RwLock<State>,
    revision: watch::Sender<StoreRevision>,
    commits: broadcast::Sender<Arc<Commit>>,
    written: Written,
    /// Cancelled when the world does not go on: what is committed from then on is never seen.
    ended: CancellationToken,
    /// The first error after which the store takes no more writes.
    fatal: watch::Sender<Option<StoreError>>,
}

impl World {
    /// Reads everything that is stored. [`World::follow`] must run for the world to go on.
    ///
    /// # Errors
    /// Where the store fails, or holds what cannot be decoded.
    pub async fn load(store: Arc<dyn StateStore>) -> Result<Arc<Self>, WorldError> {
        let state = read_all(&*store).await?;
        let revision = state.revision;
        let world = Self {
            store,
            state: RwLock::new(state),
            revision: watch::Sender::new(revision),
            commits: broadcast::Sender::new(CHANGES_BUFFERED_MAX),
            written: Written::default(),
            ended: CancellationToken::new(),
            fatal: watch::Sender::new(None),
        };
        Ok(Arc::new(world))
    }

    /// Applies commits as they come, until `shutdown`.
    ///
    /// # Errors
    /// Where the store fails, or holds what cannot be decoded: the process must not go on with a stale view.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), WorldError> {
        // Whoever waits to read what it wrote must not wait for ever once nobody follows.
        let _ended = self.ended.clone().drop_guard();
        let mut watch = self.store.watch(PREFIX, self.revision()).await?;
        loop {
            let changes = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                changes = watch.next() => changes,
            };
            match changes {
                Some(Ok(changes)) => self.apply(changes.revision, changes.changes)?,
                Some(Err(StoreError::Compacted { .. })) | None => {
                    self.reload().await?;
                    watch = self.store.watch(PREFIX, self.revision()).await?;
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Identity of the store.
    #[must_use]
    pub fn store_id(&self) -> &str {
        self.store.id()
    }

    /// The store itself, for watches from a revision.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Revision that reads see.
    #[must_use]
    pub fn revision(&self) -> StoreRevision {
        *self.revision.borrow()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.read().get(key)
    }

    /// Objects of a kind, by namespace and name; of one namespace where one is given.
    #[must_use]
    pub fn list(&self, kind: api::manifest::Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.read().list(kind, namespace)
    }

    /// Objects of a kind together with the revision they were read at.
    #[must_use]
    pub fn list_at(&self, kind: api::manifest::Kind, namespace: Option<&str>) -> (StoreRevision, Vec<Arc<Object>>) {
        let state = self.read();
        (state.revision, state.list(kind, namespace))
    }

    /// Objects that name `uid` as an owner, by key.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Object>> {
        self.read().owned_by(uid)
    }

    /// Runs `look` on one consistent state. It must be quick: writers wait for it.
    pub fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        look(&View(&self.read()))
    }

    /// Every commit from now on. A receiver that lags must look at everything anew.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Commit>> {
        self.commits.subscribe()
    }

    /// Commits, all or nothing, and returns when reads see it. An empty transaction does nothing.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] where something is not as the transaction expects; nothing has changed then. After an
    /// error of the store that is fatal, [`World::failed`] tells whoever runs the process.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have committed.
    pub async fn commit(&self, transaction: Transaction) -> CommitResult {
        self.commit_encoded(transaction.into_batch()).await
    }

    /// Commits two transactions, each as [`World::commit`] does, the second right after the first and whatever becomes of that.
    ///
    /// # Errors
    /// Those of each.
    ///
    /// # Cancel safety
    /// As that of [`World::commit`].
    pub async fn commit_both(&self, first: Transaction, second: Transaction) -> (CommitResult, CommitResult) {
        match (first.into_batch(), second.into_batch()) {
            (Some(first), Some(second)) => {
                let _kept = (self.written.keep(first.1), self.written.keep(second.1));
                let (first, second) = self.store.commit_both(first.0, second.0).await;
                futures::join!(self.seen(first), self.seen(second))
            }
            (first, second) => (self.commit_encoded(first).await, self.commit_encoded(second).await),
        }
    }

    async fn commit_encoded(&self, transaction: Option<(Batch, Vec<written::Encoded>)>) -> CommitResult {
        let Some((batch, encoded)) = transaction else { return Ok(self.revision()) };
        let _kept = self.written.keep(encoded);
        let committed = self.store.commit(batch).await;
        self.seen(committed).await
    }

    /// Returns when reads see what was committed.
    async fn seen(&self, committed: CommitResult) -> CommitResult {
        let revision = match committed {
            Ok(revision) => revision,
            Err(CommitError::Store(error)) if error.is_fatal() => {
                self.fatal.send_if_modified(|first| {
                    let new = first.is_none();
                    first.get_or_insert_with(|| error.clone());
                    new
                });
                return Err(error.into());
            }
            Err(CommitError::Conflict { key, expected, actual }) => {
                self.catch_up(&key, expected, actual).await;
                return Err(CommitError::Conflict { key, expected, actual });
            }
            Err(error) => return Err(error),
        };
        let mut seen = self.revision.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as self, so this cannot fail.
            _ = seen.wait_for(|seen| *seen >= revision) => Ok(revision),
            // Durable, but it will not be read here any more.
            () = self.ended.cancelled() => Err(StoreError::Closed.into()),
        }
    }

    /// Returns when reads see what a commit was in conflict with: who decides anew must not decide from the same again.
    async fn catch_up(&self, key: &str, expected: Option<StoreRevision>, actual: Option<StoreRevision>) {
        let key = Key::from_store(key);
        let caught_up = |seen: &StoreRevision| match (actual, &key) {
            (Some(actual), _) => *seen >= actual,
            // Removed at a revision that is not known; a version never comes back.
            (None, Some(key)) => {
                let reached = expected.is_none_or(|expected| seen.next() >= expected);
                reached && self.get(key).map(|object| object.version) != expected
            }
            (None, None) => true,
        };
        let mut seen = self.revision.subscribe();
        tokio::select! {
            biased;
            _ = seen.wait_for(caught_up) => {}
            // What was in the way may itself have failed to become durable: then it never shows.
            () = tokio::time::sleep(CATCH_UP_MAX) => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// Returns when the store takes no more writes, with the reason: the process must end and start again.
    pub async fn failed(&self) -> StoreError {
        let mut fatal = self.fatal.subscribe();
        let first = fatal.wait_for(Option::is_some).await;
        // The sender lives as long as self.
        first.ok().and_then(|error| error.clone()).unwrap_or(StoreError::Closed)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of this lock panics")
    }

    fn apply(&self, revision: StoreRevision, changes: Vec<StoreChange>) -> Result<(), WorldError> {
        let decoded = changes.into_iter().filter_map(|change| self.decode(change).transpose());
        let decoded = decoded.collect::<Result<Vec<_>, _>>()?;
        let mut state = self.state.write().expect("no holder of this lock panics");
        state.revision = revision;
        let changes = decoded.into_iter().map(|(key, new)| state.put(key, new)).collect();
        drop(state);
        self.announce(Commit { revision, changes, merged: false });
        Ok(())
    }

    /// None for keys of kinds that this version does not know.
    fn decode(&self, change: StoreChange) -> Result<Option<Decoded>, WorldError> {
        let entry = match change {
            StoreChange::Put(entry) => entry,
            StoreChange::Delete { key, .. } => return Ok(Key::from_store(&key).map(|key| (key, None))),
        };
        let object = object(&entry, self.written.take(&entry.value))?;
        Ok(object.map(|object| (object.key.clone(), Some(object))))
    }

    async fn reload(&self) -> Result<(), WorldError> {
        let fresh = read_all(&*self.store).await?;
        let revision = fresh.revision;
        let mut state = self.state.write().expect("no holder of this lock panics");
        let changes = state.replace(fresh);
        drop(state);
        self.announce(Commit { revision, changes, merged: true });
        Ok(())
    }

    fn announce(&self, commit: Commit) {
        let revision = commit.revision;
        // Changes first: whoever sees a revision finds every change up to it in its subscription. Nobody may be
        // listening; that is fine.
        let _ = self.commits.send(Arc::new(commit));
        self.revision.send_replace(revision);
    }
}

/// One consistent state, for several reads at once.
#[derive(Debug)]
pub struct View<'a>(&'a State);

impl View<'_> {
    /// Revision of this state.
    #[must_use]
    pub fn revision(&self) -> StoreRevision {
        self.0.revision
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.0.get(key)
    }

    /// Objects of a kind, by namespace and name.
    #[must_use]
    pub fn list(&self, kind: api::manifest::Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.0.list(kind, namespace)
    }

    /// Objects of a kind in a namespace whose names begin with `prefix`, by name.
    #[must_use]
    pub fn named(&self, kind: api::manifest::Kind, namespace: &str, prefix: &str) -> Vec<Arc<Object>> {
        self.0.named(kind, namespace, prefix)
    }

    /// Pods or revision records that nobody controls, in a namespace, whose names begin with `prefix`, by name.
    #[must_use]
    pub fn free(&self, kind: api::manifest::Kind, namespace: &str, prefix: &str) -> Vec<Arc<Object>> {
        self.0.free(kind, namespace, prefix)
    }

    /// Objects of a kind that name `uid` as an owner, by key.
    pub fn owned<'a>(
        &'a self,
        uid: &str,
        kind: api::manifest::Kind,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.0.owned(uid, kind)
    }

    /// Objects of a kind that `uid` controls, by key.
    pub fn controlled_by(&self, uid: &str, kind: api::manifest::Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.0.controlled_by(uid, kind)
    }

    /// Claims and volumes that are not at rest with each other ([`domain::volume::at_rest`]), by key.
    pub fn loose(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.0.loose()
    }

    /// Pods that use a claim, whether it exists or not, by key.
    pub fn users(&self, claim: &Key) -> impl Iterator<Item = &Arc<Object>> {
        self.0.users(claim)
    }

    /// Pods that name `uid` as an owner, or did, and came, changed or went after that revision; none where that is not known
    /// any more.
    #[must_use]
    pub fn pods_changed(&self, uid: &str, after: StoreRevision) -> Option<BTreeSet<&Key>> {
        self.0.pods_changed(uid, after)
    }

    /// Claims that came, changed or went after that revision; none where that is not known any more.
    #[must_use]
    pub fn claims_changed(&self, after: StoreRevision) -> Option<BTreeSet<&Key>> {
        self.0.claims_changed(after)
    }
}

async fn read_all(store: &dyn StateStore) -> Result<State, WorldError> {
    let listing = store.list(PREFIX).await?;
    let mut state = State::at(listing.revision);
    for entry in listing.entries {
        if let Some(object) = object(&entry, None)? {
            state.put(object.key.clone(), Some(object));
        }
    }
    Ok(state)
}

type Decoded = (Key, Option<Arc<Object>>);

/// What is stored, and says `own` where that is known. None for keys of kinds that this version does not know: they are kept,
/// not interpreted.
fn object(entry: &Entry, own: Option<Value>) -> Result<Option<Arc<Object>>, WorldError> {
    let Some(key) = Key::from_store(&entry.key) else { return Ok(None) };
    let decode = || {
        serde_json::from_slice(&entry.value).map_err(|source| WorldError::Corrupt { key: entry.key.clone(), source })
    };
    debug_assert!(
        own.as_ref().is_none_or(|own| decode().is_ok_and(|stored: Value| stored == *own)),
        "{} says something else",
        entry.key
    );
    let value = own.map_or_else(decode, Ok)?;
    Ok(Some(Arc::new(Object::new(key, value, entry.modified))))
}
