//! Watches that outlive a restart of the server: where one breaks, it goes on from the last revision that was told, or
//! begins anew with what exists where the server no longer knows what came after that.

use api::object;
use api::proto::coordinator::v1::WatchRequest;
use futures::{StreamExt as _, stream};
use std::time::Duration;

use tonic::{Code, Status, Streaming};

use super::{Change, Changes, Client};
use api::proto::coordinator::v1::WatchResponse;

/// Tries to go on, and the wait before each but the first: as long as a server takes to start again.
const TRIES_MAX: u32 = 20;
const TRY_INTERVAL: Duration = Duration::from_millis(250);

/// A watch, and from where it goes on.
struct Following {
    client: Client,
    request: WatchRequest,
    changes: Streaming<WatchResponse>,
    /// Whether it has told anything since it began, or went on.
    told: bool,
}

impl Client {
    /// Begins a watch that goes on by itself.
    pub(super) async fn follow(&self, request: WatchRequest) -> Result<Changes, Status> {
        let changes = self.objects().watch(request.clone()).await?.into_inner();
        let following = Following { client: self.clone(), request, changes, told: false };
        let changes = stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            match following.next().await {
                Ok(change) => Some((Ok(change), Some(following))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(changes.boxed())
    }
}

impl Following {
    async fn next(&mut self) -> Result<Change, Status> {
        loop {
            match self.changes.message().await {
                Ok(Some(change)) => {
                    // What exists is told in no order of revisions; only from its end on is there a place to go on from. A
                    // commit may change several objects: that it has been told whole only a bookmark says.
                    if change.r#type == "BOOKMARK" {
                        self.request.from_revision = change.revision;
                    } else if self.request.from_revision > 0 {
                        self.request.from_revision = change.revision.saturating_sub(1).max(1);
                    }
                    self.told = true;
                    let object = change.object.map(object::from_struct).unwrap_or_default();
                    return Ok(Change { kind: change.r#type, object });
                }
                Ok(None) => self.go_on(None).await?,
                Err(status) if broke(status.code()) => self.go_on(Some(status)).await?,
                Err(status) => return Err(status),
            }
        }
    }

    async fn go_on(&mut self, mut why: Option<Status>) -> Result<(), Status> {
        // A server that ends every watch at once is not asked in a hot loop either.
        let mut wait = !std::mem::take(&mut self.told);
        for _ in 0..TRIES_MAX {
            if std::mem::replace(&mut wait, true) {
                tokio::time::sleep(TRY_INTERVAL).await;
            }
            match self.client.objects().watch(self.request.clone()).await {
                Ok(changes) => {
                    self.changes = changes.into_inner();
                    return Ok(());
                }
                Err(status) if broke(status.code()) => why = Some(status),
                // What changed while the server ended is not told again; what exists is.
                Err(status) if status.code() == Code::OutOfRange => self.request.from_revision = 0,
                Err(status) => return Err(status),
            }
        }
        Err(why.unwrap_or_else(|| Status::unavailable("the server ended the watch and did not come back")))
    }
}

/// Whether the connection or its server ended, which says nothing about what is watched. A connection that breaks in the
/// middle of a stream shows as UNKNOWN, INTERNAL or CANCELLED.
fn broke(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
}
