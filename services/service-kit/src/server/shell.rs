//! What every call passes through.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http::{HeaderMap, Request, Response, header};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

use super::connection::Door;
use super::health::HEALTH_SERVICE;
use crate::access::{Access, Caller, Principal};
use crate::limits::{Limits, OPEN_CALLS_MAX, SERVER_DEADLINE};
use crate::methods::{Shape, shape};
use crate::metrics::{Call, Counted, Rpc};
use crate::network::{Handler, Network};
use crate::status::{RETRY_DELAY, StatusBuilder, panic_text};
use crate::telemetry::propagation;
use crate::{Token, deadline};

/// Services that anyone may call: whether a server lives, and what it offers, is no secret, and probes have no token.
const OPEN_PREFIXES: [&str; 3] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];

/// A caller's deadline is kept a tenth early, so that the caller gets our answer, which says who was late, and not its own;
/// but no more than the way back takes, through proxies and on machines under load.
const DEADLINE_MARGIN_MAX: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(super) struct Shell {
    pub(super) service: &'static str,
    pub(super) routes: Routes,
    pub(super) token: Option<Token>,
    pub(super) access: Access,
    pub(super) calls: Arc<Semaphore>,
    pub(super) open_calls: Arc<Semaphore>,
    pub(super) limits: Limits,
    pub(super) network: Option<Arc<dyn Network>>,
    pub(super) counts: Arc<Rpc>,
}

impl Shell {
    /// Answers a call. Whatever happens inside, there is an answer.
    pub(super) async fn answer(mut self, mut request: Request<Body>, door: &Door) -> Response<Body> {
        let call = self.counts.begin(request.uri().path());
        let open = OPEN_PREFIXES.iter().any(|prefix| request.uri().path().starts_with(prefix));
        if !open {
            match self.admit(&request, door) {
                Ok(caller) => drop(request.extensions_mut().insert(caller)),
                Err(status) => return ended(call, refuse(status)),
            }
        }
        let path = request.uri().path();
        // Who need not say who they are take no place from those who did.
        let (places, most) =
            if open { (&self.open_calls, OPEN_CALLS_MAX) } else { (&self.calls, self.limits.calls_in_flight) };
        let Ok(_in_flight) = Arc::clone(places).try_acquire_owned() else {
            return ended(call, refuse(overloaded(self.service, most)));
        };
        let span = if open { Span::none() } else { server_span(self.service, &request) };
        let granted = deadline::from_headers(request.headers());
        let granted = granted.map(|granted| granted - (granted / 10).min(DEADLINE_MARGIN_MAX));
        let incoming = propagation::incoming(request.headers());
        let shape = shape(path);
        // Of a stream it is the beginning that has a deadline: a request that never comes whole must not keep its place.
        let time = granted.unwrap_or(SERVER_DEADLINE);
        let until = Instant::now() + time;
        let handler = propagation::within(incoming, deadline::within(until, self.handler(request)));
        let answered = tokio::time::timeout_at(until, AssertUnwindSafe(handler).catch_unwind());
        let response = match answered.instrument(span.clone()).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(panic)) => span.in_scope(|| refuse(panicked(self.service, &*panic))),
            Err(_) => refuse(late(self.service, time)),
        };
        record(&span, response.headers());
        let begun = Status::from_header_map(response.headers()).is_none();
        if shape == Shape::Streaming && begun {
            response.map(|body| Counted::wrap(body, call))
        } else {
            ended(call, response)
        }
    }

    /// The handler that routing finds, with what the network puts around it.
    fn handler(&mut self, request: Request<Body>) -> Handler {
        let Some(network) = self.network.clone() else { return self.routes.call(request).boxed() };
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        network.handle(&path, &headers, self.routes.call(request).boxed())
    }

    fn admit(&self, request: &Request<Body>, door: &Door) -> Result<Caller, Status> {
        let principal = match door {
            Door::Private => Principal::Owner,
            Door::Tls(_, holder) => Principal::Holder(holder.clone()),
            Door::Plain(peer, place) => {
                let principal = self.principal(request.headers()).ok_or_else(|| {
                    self.access.audit.stranger(self.service, &peer.ip().to_string(), "no token, or another one");
                    unauthenticated(self.service)
                })?;
                place.admitted();
                principal
            }
        };
        self.access.admit(self.service, request.uri().path(), principal, self.limits.user_calls_per_second)
    }

    /// Whom a token stands for; where none is asked for, everyone is the owner.
    fn principal(&self, headers: &HeaderMap) -> Option<Principal> {
        let Some(token) = &self.token else { return Some(Principal::Owner) };
        match headers.get(header::AUTHORIZATION).is_some_and(|value| token.is_in(value)) {
            true => Some(Principal::Owner),
            false => self.access.user_of(headers),
        }
    }
}

fn server_span(service: &'static str, request: &Request<Body>) -> Span {
    let method = request.uri().path().trim_start_matches('/');
    let (rpc_service, rpc_method) = method.split_once('/').unwrap_or((method, ""));
    let span = tracing::info_span!(
        // The headers say whose child it is, also where the caller is of this process.
        parent: None,
        "call",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        service,
        rpc.system = "grpc",
        rpc.service = rpc_service,
        rpc.method = rpc_method,
        rpc.grpc.status_code = tracing::field::Empty,
    );
    propagation::adopt(&span, request.headers());
    span
}

/// A call that goes well carries its status in trailers, behind the response: only refusals are visible here.
fn record(span: &Span, headers: &HeaderMap) {
    let code = Status::from_header_map(headers).map_or(Code::Ok, |status| status.code());
    span.record("rpc.grpc.status_code", i32::from(code));
    let ours = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if ours {
        span.record("otel.status_code", "error");
    }
}

/// Counts a call whose answer is all there: what goes well only has its status behind it.
fn ended(call: Call, response: Response<Body>) -> Response<Body> {
    call.end(Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()));
    response
}

fn refuse(status: Status) -> Response<Body> {
    status.into_http()
}

fn unauthenticated(service: &str) -> Status {
    let message = "this address asks for a token: send the metadata `authorization: Bearer <token>` with what the \
                   server's token file holds (for `setkeeper up`, the file `token` in its data directory), or call \
                   over the server's Unix socket, which asks for none";
    StatusBuilder::new(service, Code::Unauthenticated, "TOKEN_REQUIRED", message).build()
}

fn overloaded(service: &str, calls_max: u32) -> Status {
    let message = "too many calls at the same time; try again";
    StatusBuilder::new(service, Code::ResourceExhausted, "TOO_MANY_CALLS", message)
        .quota("calls in flight", format!("at most {calls_max}"))
        .retry_after(RETRY_DELAY)
        .build()
}

fn late(service: &str, time: Duration) -> Status {
    let message = format!("{service} did not answer within {time:?}");
    StatusBuilder::new(service, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message).build()
}

fn panicked(service: &str, panic: &(dyn Any + Send)) -> Status {
    tracing::debug!(service, panic = panic_text(panic), "a call panicked");
    // Nothing of the inside goes to the caller.
    StatusBuilder::new(service, Code::Internal, "INTERNAL", format!("{service} failed; its log says more")).build()
}

const _: () = assert!(HEALTH_SERVICE.len() + 2 == OPEN_PREFIXES[0].len());
