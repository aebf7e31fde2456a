//! Calls from within the process: what a connection does for the others, without a connection.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;
use tonic::body::Body;

use super::connection::Door;
use super::shell::Shell;

/// A server, as those in its process call it. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Inside {
    shell: Shell,
    /// All callers of the process together have as many calls as one connection.
    streams: Arc<Semaphore>,
    calls: TaskTracker,
    /// Cancelled when calls are no longer waited for.
    cut: CancellationToken,
}

/// The server ended before the call did.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether the call never began.
    pub(crate) unsent: bool,
}

impl fmt::Debug for Inside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inside").field("service", &self.shell.service).finish_non_exhaustive()
    }
}

impl Inside {
    pub(super) fn new(shell: Shell) -> Self {
        let streams = Arc::new(Semaphore::new(shell.limits.streams_per_connection as usize));
        Self { shell, streams, calls: TaskTracker::new(), cut: CancellationToken::new() }
    }

    /// Makes a call. Its handler runs wherever this is awaited.
    ///
    /// # Errors
    /// The server ends.
    ///
    /// # Cancel safety
    /// Dropping it drops the handler, as a caller who hangs up does.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Ended> {
        let under_way = self.calls.token();
        let answer = async {
            let place = self.streams.clone().acquire_owned().await;
            let Some(place) = place.ok().filter(|_| !self.cut.is_cancelled()) else {
                return Err(Ended { unsent: true });
            };
            let response = self.shell.clone().answer(request, &Door::Private).await;
            Ok(response.map(|body| {
                Body::new(Answer { body, cut: Box::pin(self.cut.clone().cancelled_owned()), _held: (place, under_way) })
            }))
        };
        // The answer first: most are there at once.
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.cut.cancelled() => Err(Ended { unsent: false }),
        }
    }

    /// Returns when every call that began has ended.
    pub(super) async fn ended(&self) {
        self.calls.close();
        self.calls.wait().await;
    }

    /// Dropping this ends what is still under way.
    pub(super) fn cut_on_drop(&self) -> DropGuard {
        self.cut.clone().drop_guard()
    }
}

/// Completes when calls are cut.
type Cut = Pin<Box<WaitForCancellationFutureOwned>>;

/// The body of an answer, which takes its place until it ends.
struct Answer {
    body: Body,
    cut: Cut,
    _held: (OwnedSemaphorePermit, TaskTrackerToken),
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Status::unavailable("its server ended")))),
            Poll::Pending => Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
