//! `RolloutStatus`: how far a rolling update is, while it goes on.

use std::sync::Arc;

use api::proto::coordinator::v1::RolloutStatusResponse;
use api::rollout::{Rollout, progress, rollout, trace_id};
use serde_json::Value;
use service_kit::access::Caller;
use service_kit::status::shutting_down;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::{Front, cut_off};
use crate::error::{SERVICE, not_found};
use crate::world::{Commit, Key, Object, World};

/// Messages that a slow reader may be behind. After them it misses what came in between, never the last.
const FEED_BUFFERED_MAX: usize = 16;

type Feed = mpsc::Sender<Result<RolloutStatusResponse, Status>>;

/// Tells how far the update of a set is, once or until it is over.
pub(in crate::api) fn follow(
    front: &Front,
    caller: Caller,
    key: &Key,
    once: bool,
) -> Result<ReceiverStream<Result<RolloutStatusResponse, Status>>, Status> {
    // Changes first: what is read after it is at least as new.
    let commits = front.world.subscribe();
    let set = front.get(key)?;
    let (feed, receiver) = mpsc::channel(FEED_BUFFERED_MAX);
    let cut = cut_off(front.context.clone(), caller, key.kind, key.namespace.clone());
    let world = front.world.clone();
    // Owned by its receiver: it ends when the caller hangs up, is cut off, or has heard everything.
    tokio::spawn(async move {
        let failed = tokio::select! {
            why = cut => why,
            () = feed.closed() => return,
            told = tell(&world, commits, set, once, &feed) => match told {
                Ok(()) => return,
                Err(why) => why,
            },
        };
        // Who is gone need not know.
        let _ = feed.send(Err(failed)).await;
    });
    Ok(ReceiverStream::new(receiver))
}

async fn tell(
    world: &World,
    mut commits: broadcast::Receiver<Arc<Commit>>,
    mut set: Arc<Object>,
    once: bool,
    feed: &Feed,
) -> Result<(), Status> {
    let mut last = None;
    loop {
        let (status, over) = status(&set.value);
        if last.as_ref() != Some(&status) {
            last = Some(status.clone());
            if feed.send(Ok(status)).await.is_err() {
                return Ok(());
            }
        }
        if over || once {
            return Ok(());
        }
        changed(&mut commits, &set.key).await?;
        // The newest, whatever has happened: the steps in between are no news any more.
        let now = world.get(&set.key).filter(|now| now.is(&set));
        set = now.ok_or_else(|| not_found(set.key.kind, &set.key.name))?;
    }
}

/// Returns when an object may have changed.
async fn changed(commits: &mut broadcast::Receiver<Arc<Commit>>, key: &Key) -> Result<(), Status> {
    loop {
        match commits.recv().await {
            Ok(commit) if commit.changes.iter().all(|change| change.key != *key) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(shutting_down(SERVICE)),
        }
    }
}

/// How far the update of a set is, and whether that is the last word.
fn status(set: &Value) -> (RolloutStatusResponse, bool) {
    let (state, message) = match rollout(set) {
        Rollout::Waiting(message) => ("Waiting", message),
        Rollout::Done(message) => ("Done", message),
        Rollout::Stuck(message) => ("Stuck", message),
        Rollout::Unavailable(message) => ("Unavailable", message),
    };
    let progress = progress(set);
    let count = |pods: u64| u32::try_from(pods).unwrap_or(u32::MAX);
    let status = RolloutStatusResponse {
        state: state.to_owned(),
        message,
        done: count(progress.done),
        wanted: count(progress.wanted),
        why: progress.why,
        trace_id: trace_id(set).unwrap_or_default().to_owned(),
    };
    (status, state != "Waiting")
}
