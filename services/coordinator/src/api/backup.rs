//! Backups of the state store, while it is in use.

use std::sync::Arc;

use api::proto::coordinator::v1::BackupResponse;
use service_kit::status::{StatusBuilder, shutting_down};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::Front;
use crate::error::{SERVICE, store_status};
use crate::objects::time_text;
use crate::store::backup::{Header, Pieces};

/// Backups that may be made at once: a scheduled one, and one by hand. Each keeps every value of its revision in memory
/// until it is sent, so that a slow reader must not be one of many.
pub(crate) const BACKUPS_AT_ONCE_MAX: usize = 2;

/// Pieces that are made ahead of a slow reader.
const PIECES_BUFFERED_MAX: usize = 2;

/// Begins a backup of everything at the present revision.
pub(super) async fn backup(
    front: &Front,
    permits: Arc<Semaphore>,
) -> Result<ReceiverStream<Result<BackupResponse, Status>>, Status> {
    let permit = permits.try_acquire_owned().map_err(|_| too_many())?;
    let store = front.world.store();
    let listing = store.list("").await.map_err(|error| store_status(&error))?;
    let header = Header {
        store_id: store.id().to_owned(),
        revision: listing.revision,
        created_at: time_text(front.now()),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    tracing::info!(revision = listing.revision.0, entries = listing.entries.len(), "a backup is made");
    let (feed, receiver) = mpsc::channel(PIECES_BUFFERED_MAX);
    let shutdown = front.context.shutdown.clone();
    // Owned by its receiver: it ends when the client hangs up, or at shutdown.
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {
                // The end of the stream alone would look like the end of the backup. Who left needs not be told.
                let _ = feed.send(Err(shutting_down(SERVICE))).await;
            }
            () = feed.closed() => {}
            () = send(Pieces::new(&header, listing), &feed, permit) => {}
        }
    });
    Ok(ReceiverStream::new(receiver))
}

async fn send(
    pieces: Pieces,
    feed: &mpsc::Sender<Result<BackupResponse, Status>>,
    _held_to_the_end: OwnedSemaphorePermit,
) {
    for data in pieces {
        if feed.send(Ok(BackupResponse { data: data.into() })).await.is_err() {
            return;
        }
    }
}

fn too_many() -> Status {
    let message = format!("{BACKUPS_AT_ONCE_MAX} backups are being made already: wait for one to end");
    let status = StatusBuilder::new(SERVICE, Code::ResourceExhausted, "TOO_MANY_BACKUPS", &message);
    status.quota("backups at once", message).build()
}
