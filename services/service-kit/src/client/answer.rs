//! What becomes of an answer under way.
//!
//! A server's last word is its status, in trailers. An answer that ends without one was ended by something else: the
//! connection broke, its server died, or a proxy between lost patience or lost its own server. How that shows depends on
//! who ended it (a reset with any of a dozen codes, a closed connection, an end as of an answer that is whole), and says
//! nothing about what was asked. So all of it is `UNAVAILABLE`, as a server is that cannot be reached to begin with, and
//! what came of the answer is never taken for all of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::limits::RESPONSE_BYTES_MAX;
use crate::status::{StatusBuilder, chain};

/// What a message costs beside its bytes: flag and length.
const FRAMING_BYTES: usize = 5;

/// An answer that has to end with a status.
struct Answer {
    body: Body,
    target: Arc<str>,
    ended: bool,
}

impl Answer {
    fn broke(&self, why: &str) -> Status {
        super::send::unreachable(&self.target, &format!("its answer broke off: {why}"))
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.ended |= frame.trailers_ref().is_some_and(|trailers| trailers.contains_key(Status::GRPC_STATUS));
                Some(Ok(frame))
            }
            Some(Err(status)) => {
                self.ended = true;
                Some(Err(self.broke(&chain(&status))))
            }
            None if self.ended => None,
            None => {
                self.ended = true;
                Some(Err(self.broke("it ended without a status")))
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same response, whose body ends with a status or with `UNAVAILABLE`. One that is no answer of a server of ours, such
/// as a page of a proxy, is left as it is: its code says what it is.
pub(super) fn complete(target: &Arc<str>, response: Response<Body>) -> Response<Body> {
    let is_whole = response.headers().contains_key(Status::GRPC_STATUS) || !response.status().is_success();
    if is_whole {
        return response;
    }
    response.map(|body| Body::new(Answer { body, target: target.clone(), ended: false }))
}

/// The response once all of it is there.
pub(super) async fn whole(response: Response<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, RESPONSE_BYTES_MAX + FRAMING_BYTES).collect().await.map_err(unfinished)?;
    Ok(Response::from_parts(parts, Body::new(body.map_err(|never| match never {}))))
}

/// A response that broke off, or is larger than any may be.
fn unfinished(error: Box<dyn std::error::Error + Send + Sync>) -> Status {
    match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(error) => {
            let message = format!("the answer has more than {RESPONSE_BYTES_MAX} bytes: {error}");
            StatusBuilder::new("client", Code::OutOfRange, "TOO_LARGE", message).build()
        }
    }
}
