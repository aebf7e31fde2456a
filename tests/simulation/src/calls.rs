//! Calls, seen at both of their ends: there a host may die, a handler be dropped, an answer be lost, a deadline make no sense.
//!
//! Each call has a number, which travels with it, so that both ends know what is to happen to it. What happens is drawn by
//! the swarm or planned by a campaign ([`Lab`](crate::lab::Lab)).

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request};
use http_body_util::{BodyExt as _, Full};
use serde::{Deserialize, Serialize};
use service_kit::network::{Handler, Sender};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status};

use crate::clock::Standstill;
use crate::hosts::SERVICES;
use crate::place::Place;

/// Carries the number of a call.
const NUMBER: HeaderName = HeaderName::from_static("simulation-call");

/// The header of deadlines.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long a repeated call is waited for; whoever repeats one does not look at its answer.
const REPEATED_WAIT: Duration = Duration::from_secs(2);

/// Largest request that is kept to be repeated, in bytes. All of a simulation are far smaller.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCall {
    /// F1: the caller dies instead of sending it.
    CrashBeforeSending,
    /// F1: the receiver dies when the request is there, before it does anything.
    CrashBeforeWork,
    /// F1: the receiver dies when it has done its work, before it answers.
    CrashBeforeAnswer,
    /// F1: the caller dies when the answer is there, before it does anything with it.
    CrashAfterAnswer,
    /// F2: the handler is dropped after it was polled so many times, unless it has ended by then.
    Drop(u32),
    /// F15: what was asked cannot be read from the answer.
    Unread(Unread),
    /// F23: the server is told this deadline.
    Deadline(&'static str),
    /// F8: it is made twice, and kept to be made once more when it is old.
    Repeat,
}

/// An answer that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// An error.
    Error,
    /// A message without any field; of a stream, none at all.
    Empty,
    /// Bytes that do not decode.
    Garbage,
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its number in the run, from 1.
    pub number: u64,
    /// The host that made it.
    pub caller: String,
    /// The method, such as `/setkeeper.identity_dns.v1.IdentityDnsService/Publish`.
    pub path: String,
    /// Commits of the coordinator before it.
    pub commits: u64,
    /// Whether it reached its receiver. A caller may give up before that.
    pub arrived: bool,
    /// How often its handler was polled until it had ended; 0 where it has not.
    pub polls: u32,
    /// Whether its caller was there for the answer.
    pub answered: bool,
}

/// A request that can be made again.
#[derive(Debug, Clone)]
pub struct Kept {
    head: request::Parts,
    body: Bytes,
}

impl Kept {
    fn request(&self) -> Request<Body> {
        Request::from_parts(self.head.clone(), Body::new(Full::new(self.body.clone()).map_err(|never| match never {})))
    }
}

/// Host of the service that a method belongs to; none for methods that are not the product's own.
#[must_use]
pub fn receiver(path: &str) -> Option<&'static str> {
    let package = path.strip_prefix("/setkeeper.")?.split('.').next()?;
    SERVICES.into_iter().find(|host| host.replace('-', "_") == package)
}

/// Whether an answer to it is read as the state of something, from which something else is decided.
#[must_use]
pub fn reads_state(path: &str) -> bool {
    receiver(path).is_some_and(|host| host != "coordinator") || path.ends_with("/WatchAssignments")
}

/// Stands around a call that goes out.
pub async fn outgoing(place: Arc<Place>, mut request: Request<Body>, send: Sender) -> Result<Response<Body>, Status> {
    let path = request.uri().path().to_owned();
    if receiver(&path).is_none() {
        return send(request).await;
    }
    place.clock.goes_on().await;
    let (number, at) = place.lab.call_begins(place.name, &path);
    let _open = place.lab.open_call(number, &path);
    request.headers_mut().insert(NUMBER, HeaderValue::from(number));
    if at == Some(AtCall::CrashBeforeSending) {
        place.lab.crash(&place, "F1 crash before a call");
        return pending().await;
    }
    if let Some(AtCall::Deadline(text)) = at {
        request.headers_mut().insert(TIMEOUT, HeaderValue::from_static(text));
    }
    repeat_earlier(&place, &path, &send);
    let answer = match at {
        Some(AtCall::Repeat) => twice(&place, request, &send).await,
        _ => send(request).await,
    };
    place.lab.call_answered(number);
    place.clock.goes_on().await;
    match at {
        Some(AtCall::CrashAfterAnswer) => {
            place.lab.crash(&place, "F1 crash after an answer");
            pending().await
        }
        Some(AtCall::Unread(how)) => unread(how, &path),
        _ => answer,
    }
}

/// Stands around the handler of a call that came in.
pub fn incoming(place: Arc<Place>, path: &str, headers: &HeaderMap, mut handler: Handler) -> Handler {
    let number = headers.get(NUMBER).and_then(|number| number.to_str().ok()?.parse::<u64>().ok());
    let Some(number) = number else { return handler };
    let at = place.lab.call_arrives(number);
    let mut standstill = Standstill::default();
    let (mut polls, mut over) = (0_u32, false);
    let ends = place.lab.open_handler(number, path);
    poll_fn(move |context| {
        let _until_it_ends = &ends;
        if over || place.wires.is_silent() || standstill.poll(&place.clock, context).is_pending() {
            return Poll::Pending;
        }
        if at == Some(AtCall::CrashBeforeWork) {
            over = true;
            place.lab.crash(&place, "F1 crash before the work of a call");
            return Poll::Pending;
        }
        polls += 1;
        match handler.poll_unpin(context) {
            Poll::Ready(response) => {
                place.lab.call_handled(number, polls);
                if at == Some(AtCall::CrashBeforeAnswer) {
                    over = true;
                    place.lab.crash(&place, "F1 crash before an answer");
                    return Poll::Pending;
                }
                Poll::Ready(response)
            }
            Poll::Pending if at == Some(AtCall::Drop(polls)) => {
                place.lab.fault("F2 handler dropped at an await");
                handler = pending().boxed();
                Poll::Ready(Ok(Status::cancelled("its handler was dropped").into_http()))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .boxed()
}

/// Makes a call, and makes it again: whoever asked has not seen the answer, and asks once more.
async fn twice(place: &Arc<Place>, request: Request<Body>, send: &Sender) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let kept = Kept { head, body };
    if kept.body.len() <= KEPT_BYTES_MAX {
        place.lab.keep_call(place.name, kept.head.uri.path(), kept.clone());
    }
    let first = send(kept.request()).await;
    place.lab.fault("F8 repeated call");
    let second = send(kept.request()).await;
    // A caller that gave up on the first hears the second.
    if first.is_err() { second } else { first }
}

/// Makes a call again that somebody on this host made before, perhaps in an earlier life.
fn repeat_earlier(place: &Arc<Place>, path: &str, send: &Sender) {
    let Some((kept, ended)) = place.lab.earlier_call(place.name, path) else { return };
    let again = send(kept.request());
    // Ends within its time, or with its host.
    tokio::spawn(async move {
        let _nobody_looks = tokio::time::timeout(REPEATED_WAIT, again).await;
        drop(ended);
    });
}

fn unread(how: Unread, path: &str) -> Result<Response<Body>, Status> {
    let streams = path.ends_with("/WatchAssignments");
    let frame: &[u8] = match how {
        Unread::Error => return Err(Status::new(Code::Unknown, "the answer was lost")),
        Unread::Empty if streams => &[],
        Unread::Empty => &[0, 0, 0, 0, 0],
        // Field 1 of a wire type that there is not.
        Unread::Garbage => &[0, 0, 0, 0, 3, 0x0f, 0xff, 0xff],
    };
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Some(Ok(trailers))
    };
    let body = Full::new(Bytes::from_static(frame)).with_trailers(trailers).map_err(|never| match never {});
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}
