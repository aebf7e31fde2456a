//! Watches: what exists, then every change, in order and without gaps.

use std::collections::HashMap;
use std::sync::Arc;

use prost_types::Struct;
use service_kit::status::StatusBuilder;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::page::Filter;
use crate::error::{SERVICE, store_status};
use crate::store::{Change, StoreError, StoreRevision};
use crate::world::{Key, Object, PREFIX, World};

/// Changes a slow client may be behind before the feed waits for it. The store's history bounds how long that may last.
const FEED_BUFFERED_MAX: usize = 256;

/// One change as every watch tells it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) kind: &'static str,
    pub(super) object: Option<Struct>,
    pub(super) revision: u64,
}

/// Starts a watch. `from` 0 sends what exists first. It ends with what `cut` says, if that ends.
pub(super) async fn watch<T: Send + 'static>(
    world: Arc<World>,
    filter: Filter,
    from: u64,
    cut: impl Future<Output = Status> + Send + 'static,
    tell: fn(Told) -> T,
) -> Result<ReceiverStream<Result<T, Status>>, Status> {
    let (start, existing) = if from == 0 { filter.all(&world) } else { (StoreRevision(from), Vec::new()) };
    let mut changes = world.store().watch(PREFIX, start).await.map_err(|error| watch_status(&error))?;
    let (feed, receiver) = mpsc::channel(FEED_BUFFERED_MAX);
    let ending = feed.clone();
    let mut filter = Following::new(filter, from == 0, &existing);
    let following = async move {
        for object in existing {
            feed.send(Ok(tell(told("ADDED", &object, object.version.0)))).await.ok()?;
        }
        if from == 0 {
            feed.send(Ok(tell(Told { kind: "BOOKMARK", object: None, revision: start.0 }))).await.ok()?;
        }
        loop {
            let next = tokio::select! {
                () = feed.closed() => return None,
                next = changes.next() => next?,
            };
            let commit = match next {
                Ok(commit) => commit,
                Err(error) => return feed.send(Err(watch_status(&error))).await.ok(),
            };
            for change in commit.changes {
                if let Some(change) = filter.tell(change, commit.revision) {
                    feed.send(Ok(tell(change))).await.ok()?;
                }
            }
        }
    };
    // Owned by its receiver: it ends when the client hangs up, or is cut off.
    tokio::spawn(async move {
        tokio::select! {
            why = cut => {
                // Whoever reads goes on elsewhere, or here once this is back; who is gone need not know.
                let _ = ending.send(Err(why)).await;
            }
            _ = following => {}
        }
    });
    Ok(ReceiverStream::new(receiver))
}

fn told(kind: &'static str, object: &Object, revision: u64) -> Told {
    Told { kind, object: Some(super::visible(object)), revision }
}

/// A filter, and which objects it let through: one that comes to match is ADDED, one that no longer does is DELETED.
struct Following {
    filter: Filter,
    /// Whether each object matched when last seen. Kept only where labels decide, which change.
    matched: HashMap<Key, bool>,
    /// Whether objects never seen are known not to match.
    complete: bool,
}

impl Following {
    fn new(filter: Filter, complete: bool, existing: &[Arc<Object>]) -> Self {
        let matched = match filter.by_labels() {
            true => existing.iter().map(|object| (object.key.clone(), true)).collect(),
            false => HashMap::new(),
        };
        Self { filter, matched, complete }
    }

    fn tell(&mut self, change: Change, revision: StoreRevision) -> Option<Told> {
        let (entry, kind) = match change {
            Change::Put(entry) if entry.created == entry.modified => (entry, "ADDED"),
            Change::Put(entry) => (entry, "MODIFIED"),
            Change::Delete { last, .. } => (last, "DELETED"),
        };
        let key = Key::from_store(&entry.key).filter(|key| key.kind == self.filter.kind)?;
        let value = serde_json::from_slice(&entry.value).ok()?;
        let object = Object::new(key, value, entry.modified);
        if !self.filter.in_scope(&object) {
            return None;
        }
        let matches = self.filter.admits(&object);
        if !self.filter.by_labels() {
            return matches.then(|| told(kind, &object, revision.0));
        }
        let before = match kind {
            "DELETED" => self.matched.remove(&object.key),
            _ => self.matched.insert(object.key.clone(), matches),
        };
        // Whether an object matched before this watch began is not known where it began in the past: then it is told
        // as gone, which is harmless to who never saw it.
        let before = before.or((self.complete || kind == "ADDED").then_some(false));
        let kind = match (kind, before, matches) {
            ("DELETED", _, matches) => matches.then_some("DELETED"),
            (_, Some(false), true) => Some("ADDED"),
            (kind, _, true) => Some(kind),
            (_, Some(false), false) => None,
            (_, _, false) => Some("DELETED"),
        };
        kind.map(|kind| told(kind, &object, revision.0))
    }
}

fn watch_status(error: &StoreError) -> Status {
    match error {
        StoreError::Compacted { oldest } => StatusBuilder::new(
            SERVICE,
            Code::OutOfRange,
            "REVISION_COMPACTED",
            format!("history begins at revision {oldest}: list again, then watch from the list's revision"),
        )
        .build(),
        StoreError::FutureRevision { .. } => crate::error::invalid_argument("INVALID_REVISION", &error.to_string()),
        error => store_status(error),
    }
}
