//! Sending a call: to whose turn it is, again where that is allowed, until the answer is whole.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body as http_body;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::answer::{complete, whole};
use super::{Channel, Inner, Retry, code};
use crate::deadline;
use crate::in_process::Neighbour;
use crate::methods::Shape;
use crate::server::Ended;
use crate::status::{RETRY_DELAY, StatusBuilder, chain};

/// Connections that may end one after the other before a call is sent. Each ends because it is old or its server ends, so
/// a second one in a row is rare already.
const RESENDS_MAX: u32 = 3;

impl Channel {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Refused> {
        let (mut inner, replica) = match &self.inner {
            Inner::One(channel) => (channel.clone(), None),
            Inner::Near(process, address, channel) => match process.at(*address) {
                Some(neighbour) => return self.send_inside(neighbour, request).await,
                None => (channel.clone(), None),
            },
            Inner::Several(replicas) => {
                let picked = replicas.next().await;
                let picked =
                    picked.map_err(|why| Refused { status: unreachable(&self.target, &why), unsent: false })?;
                (picked.channel, Some((replicas, picked.address)))
            }
        };
        let answered = match inner.ready().await {
            Ok(ready) => ready.call(request).await,
            Err(error) => Err(error),
        };
        answered.map(|response| complete(&self.target, response)).map_err(|error| {
            // Where there is another server, one that cannot be connected to has not been asked.
            let mut unsent = was_unsent(&error);
            if let Some((replicas, address)) = replica {
                replicas.leave_out(address);
                unsent |= replicas.count() > 1 && is_unconnected(&error);
            }
            Refused { unsent, status: failed(&self.target, error) }
        })
    }

    /// Makes a call of a server of this process.
    async fn send_inside(&self, neighbour: Neighbour, request: Request<Body>) -> Result<Response<Body>, Refused> {
        let answered = match neighbour.serving().await {
            Some(server) => server.call(request).await,
            None => Err(Ended { unsent: true }),
        };
        answered
            .map(|response| complete(&self.target, response))
            .map_err(|Ended { unsent }| Refused { unsent, status: unreachable(&self.target, "it ends") })
    }

    /// Sends a call once; a unary one is answered when all of the answer is there.
    pub(super) async fn send_once(self, request: Request<Body>, shape: Shape) -> Result<Response<Body>, Status> {
        let response = self.send(request).await.map_err(|refused| refused.status)?;
        if shape == Shape::Unary { whole(response).await } else { Ok(response) }
    }

    /// Sends a call whose request is one message until it is answered, as often as the rule allows and within `time`. One
    /// that was never sent is sent again whatever it is.
    pub(super) async fn send_until_answered(
        &self,
        retry: Option<Retry>,
        request: Request<Body>,
        shape: Shape,
        time: Duration,
    ) -> Result<Response<Body>, Status> {
        let until = Instant::now() + time;
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let (mut attempt, mut resent) = (0, 0);
        loop {
            let mut request = Request::from_parts(parts.clone(), Body::new(whole_body(body.clone())));
            let left = until.saturating_duration_since(Instant::now());
            if request.headers().contains_key(deadline::GRPC_TIMEOUT) {
                request.headers_mut().insert(deadline::GRPC_TIMEOUT, deadline::to_header(left));
            }
            let result = match self.send(request).await {
                Err(refused) if refused.unsent && resent < RESENDS_MAX => {
                    resent += 1;
                    continue;
                }
                Err(refused) => Err(refused.status),
                Ok(response) if shape == Shape::Unary => whole(response).await,
                Ok(response) => return Ok(response),
            };
            attempt += 1;
            let wait = retry.and_then(|retry| retry.wait(code(&result), attempt));
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < until) else { return result };
            tracing::debug!(target = &*self.target, attempt, "a call is made again");
            // Another replica need not be waited for.
            if attempt >= self.replicas() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn replicas(&self) -> u32 {
        match &self.inner {
            Inner::One(_) | Inner::Near(..) => 1,
            Inner::Several(replicas) => u32::try_from(replicas.count()).unwrap_or(u32::MAX),
        }
    }
}

/// Why there is no answer.
struct Refused {
    status: Status,
    /// Whether it is certain that the server never saw the call.
    unsent: bool,
}

/// Whether the connection ended while the call waited to be sent: its server told it to take no more (GOAWAY) in the very
/// moment.
fn was_unsent(error: &(dyn std::error::Error + 'static)) -> bool {
    is_caused_by(error, |cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled))
}

fn is_caused_by(
    error: &(dyn std::error::Error + 'static),
    is: impl Fn(&(dyn std::error::Error + 'static)) -> bool,
) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(is)
}

fn is_unconnected(error: &(dyn std::error::Error + 'static)) -> bool {
    is_caused_by(error, |cause| cause.is::<tonic::ConnectError>())
}

fn whole_body(bytes: Bytes) -> impl http_body::Body<Data = Bytes, Error = Status> {
    Full::new(bytes).map_err(|never| match never {})
}

/// No answer came. Whether the server did what it was asked is unknown, as always with UNAVAILABLE.
fn failed(target: &str, error: tonic::transport::Error) -> Status {
    let why = chain(&error);
    let status = Status::from_error(Box::new(error));
    if status.code() == Code::Cancelled && status.message() == deadline::TONIC_TIMEOUT_MESSAGE {
        return StatusBuilder::new(
            "client",
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            format!("{target} did not answer in time"),
        )
        .build();
    }
    unreachable(target, why.strip_prefix("transport error: ").unwrap_or(&why))
}

/// Nobody is there to call, and why.
pub(super) fn unreachable(target: &str, why: &str) -> Status {
    let message = format!("cannot reach {target}: {why}");
    StatusBuilder::new("client", Code::Unavailable, "UNREACHABLE", message).retry_after(RETRY_DELAY).build()
}
