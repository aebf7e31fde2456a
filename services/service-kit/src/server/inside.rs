//! Calls from within the process: what a connection does for the others, without a connection.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

    /// Makes a call. Its handler runs wherever this is awaited, and a stream of its answer wherever that is read.
    ///
    /// # Errors
    /// The server ends.
    ///
    /// # Cancel safety
    /// Dropping it drops the handler, as a caller who hangs up does.
    pub(crate) async fn call(&self, mut request: Request<Body>) -> Result<Response<Body>, Ended> {
        let place = tokio::select! {
            biased;
            () = self.cut.cancelled() => return Err(Ended { unsent: true }),
            place = self.streams.clone().acquire_owned() => place.map_err(|_| Ended { unsent: true })?,
        };
        let over = CancellationToken::new();
        let held = Held { _place: place, _under_way: self.calls.token(), _over: over.clone().drop_guard() };
        // What only one process can know of a request does not go to its server.
        request.extensions_mut().clear();
        let request = request.map(|body| Body::new(Asked { body, over: Box::pin(over.cancelled_owned()) }));
        let answer = self.shell.clone().answer(request, &Door::Private);
        // The answer first: most are there at once.
        let response = tokio::select! {
            biased;
            response = answer => response,
            () = self.cut.cancelled() => return Err(Ended { unsent: false }),
        };
        let cut = Box::pin(self.cut.clone().cancelled_owned());
        Ok(response.map(|body| Body::new(Answer { body, cut, held: Some(held) })))
    }

    /// Calls that began and have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.calls.len()
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

/// Completes when a token is cancelled.
type Cancelled = Pin<Box<WaitForCancellationFutureOwned>>;

type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// What a call has until its answer ends.
struct Held {
    _place: OwnedSemaphorePermit,
    _under_way: TaskTrackerToken,
    /// Ends the requests of its caller.
    _over: DropGuard,
}

/// The requests of a call, which end with it: whoever still reads them learns that nobody waits.
struct Asked {
    body: Body,
    over: Cancelled,
}

/// The answer to a call.
struct Answer {
    body: Body,
    /// The server no longer waits for it.
    cut: Cancelled,
    /// None once it has ended.
    held: Option<Held>,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match self.over.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Status::cancelled("the call is over")))),
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

impl Answer {
    /// Goes on with the stream of a handler, whose panic is not its caller's.
    fn go_on(&mut self, context: &mut Context<'_>) -> Polled {
        if self.held.is_some() && self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Status::unavailable("its server ended"))));
        }
        let body = Pin::new(&mut self.body);
        catch_unwind(AssertUnwindSafe(|| body.poll_frame(context)))
            .unwrap_or_else(|_| Poll::Ready(Some(Err(Status::internal("its server failed")))))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let polled = self.go_on(context);
        let goes_on = match &polled {
            Poll::Pending => true,
            Poll::Ready(Some(Ok(frame))) => !frame.is_trailers(),
            Poll::Ready(Some(Err(_)) | None) => false,
        };
        if !goes_on {
            self.held = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
