//! The channel that every client calls through.
//!
//! **Deadlines.** A unary call without one gets [`CALL_DEADLINE`]; with one (`tonic::Request::set_timeout`) that; either
//! is capped by what is left of the incoming call that this task answers. It covers the whole answer, down to its last
//! byte: a server that begins one and falls silent holds nobody. A streaming call has to *begin* to be answered
//! within the same time; a stream that has begun goes on as long as both sides want, unless its caller set a timeout,
//! which then bounds its beginning. Every call that runs out of time ends with `DEADLINE_EXCEEDED`.

use std::future;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use crate::limits::{
    CALL_DEADLINE, CLIENT_KEEPALIVE_INTERVAL, CONNECT_DEADLINE, CONNECTION_WINDOW_BYTES, KEEPALIVE_TIMEOUT,
    RESPONSE_BYTES_MAX, RESPONSE_HEADER_BYTES_MAX, STREAM_WINDOW_BYTES,
};
use crate::methods::{Shape, shape};
use crate::network::{Call, Network};
use crate::status::{RETRY_DELAY, StatusBuilder, chain};
use crate::telemetry::propagation;
use crate::{Identity, Role, Target, Token, deadline};

/// What a message costs beside its bytes: flag and length.
const FRAMING_BYTES: usize = 5;

/// A connection to one server, that comes back by itself. Cheap to clone; usable by every generated client.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: tonic::transport::Channel,
    target: Arc<str>,
    /// Service whose spans calls are, where no span around them says so.
    caller: Option<&'static str>,
    authorization: Option<HeaderValue>,
    /// The network that it goes over, where that is not the machine's.
    network: Option<Arc<dyn Network>>,
}

/// A channel to `target`. It connects when it is first used and again whenever the connection is lost, so this never
/// fails and never waits.
///
/// # Panics
/// Outside a tokio runtime.
#[must_use]
pub fn connect(target: &Target, token: Option<&Token>) -> Channel {
    let inner = match target {
        Target::Tcp(address) => match format!("http://{address}").parse::<Uri>() {
            Ok(uri) => endpoint(uri).connect_lazy(),
            Err(error) => {
                let text = error.to_string();
                unreachable_endpoint().connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                    future::ready(Err::<TokioIo<UnixStream>, _>(std::io::Error::other(text.clone())))
                }))
            }
        },
        Target::Unix(path) => {
            let path = path.clone();
            unreachable_endpoint().connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
        }
    };
    Channel::new(inner, target, token, None)
}

/// The same, where a server over TCP has to prove that it is `role`, and is shown who calls. A Unix socket needs no TLS:
/// only its owner can open it.
pub(crate) fn connect_tls(identity: &Identity, role: Role, target: &Target, token: Option<&Token>) -> Channel {
    let Target::Tcp(address) = target else { return connect(target, token) };
    let (identity, own_address) = (identity.clone(), address.clone());
    let connector = tower::service_fn(move |_: Uri| {
        let (identity, address) = (identity.clone(), own_address.clone());
        async move { identity.connect(role, &address).await.map(TokioIo::new) }
    });
    // Proxies route by the name that was called.
    let endpoint = match format!("https://{address}").parse::<Uri>() {
        Ok(origin) => unreachable_endpoint().origin(origin),
        Err(_) => unreachable_endpoint(),
    };
    let inner = endpoint.connect_with_connector_lazy(connector);
    Channel::new(inner, target, token, None)
}

/// The same over another network.
pub(crate) fn connect_over(network: Arc<dyn Network>, target: &Target, token: Option<&Token>) -> Channel {
    let address = target.to_string();
    let over = network.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let connecting = over.connect(address.clone());
        async move { connecting.await.map(TokioIo::new) }
    });
    let inner = unreachable_endpoint().connect_with_connector_lazy(connector);
    Channel::new(inner, target, token, Some(network))
}

/// Whether the server at the other end says that it can do its work.
///
/// # Errors
/// It cannot be reached, or has no health service.
pub async fn health(channel: Channel) -> Result<bool, Status> {
    let mut client = HealthClient::new(channel);
    let answer = client.check(HealthCheckRequest::default()).await?.into_inner();
    Ok(answer.status() == ServingStatus::Serving)
}

/// What every connection has in common.
pub(crate) fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(CLIENT_KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(RESPONSE_HEADER_BYTES_MAX)
}

/// The name is never looked up: a connector of our own decides where to go.
fn unreachable_endpoint() -> Endpoint {
    endpoint(Uri::from_static("http://setkeeper.invalid"))
}

impl Channel {
    fn new(
        inner: tonic::transport::Channel,
        target: &Target,
        token: Option<&Token>,
        network: Option<Arc<dyn Network>>,
    ) -> Self {
        let authorization = token.map(Token::header);
        Self { inner, target: target.to_string().into(), caller: None, authorization, network }
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The same channel, whose calls are spans of `service`. For services that call of their own accord, several of which
    /// may live in one process; a call without a caller is a span of the service whose span it is below.
    #[must_use]
    pub fn called_by(mut self, service: &'static str) -> Self {
        self.caller = Some(service);
        self
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    /// Always ready: waiting for a connection is part of the call, where the deadline covers it.
    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        let path = request.uri().path().to_owned();
        let span = client_span(&path, &channel);
        propagation::inject(&span, request.headers_mut());
        if let Some(authorization) = &channel.authorization {
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        let shape = shape(&path);
        let time = granted(&mut request, shape);
        let call = async move {
            let result = match tokio::time::timeout(time, channel.send_over(request, shape)).await {
                Ok(Ok(response)) => Ok(with_honest_deadline(response)),
                Ok(Err(status)) => Err(status),
                Err(_) => Err(late(&channel.target, time)),
            };
            record(&Span::current(), &result);
            result
        };
        Box::pin(call.instrument(span))
    }
}

impl Channel {
    /// Sends over the network of this channel, which may stand around the call.
    fn send_over(&self, request: Request<Body>, shape: Shape) -> Call {
        let channel = self.clone();
        let send = move |request| {
            let channel = channel.clone();
            let answer = async move {
                let response = channel.send(request).await?;
                if shape == Shape::Unary { whole(response).await } else { Ok(response) }
            };
            Box::pin(answer) as Call
        };
        match &self.network {
            Some(network) => network.call(request, Arc::new(send)),
            None => send(request),
        }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut inner = self.inner.clone();
        let answered = match inner.ready().await {
            Ok(ready) => ready.call(request).await,
            Err(error) => Err(error),
        };
        answered.map_err(|error| unreachable(&self.target, error))
    }
}

/// The response once all of it is there.
async fn whole(response: Response<Body>) -> Result<Response<Body>, Status> {
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

/// How long the call may take; a unary call tells its server.
fn granted(request: &mut Request<Body>, shape: Shape) -> Duration {
    let asked = deadline::from_headers(request.headers());
    let time = asked.unwrap_or(CALL_DEADLINE).min(deadline::left().unwrap_or(Duration::MAX));
    if shape == Shape::Unary || asked.is_some() {
        request.headers_mut().insert(deadline::GRPC_TIMEOUT, deadline::to_header(time));
    }
    time
}

fn client_span(path: &str, channel: &Channel) -> Span {
    let method = path.trim_start_matches('/');
    let (rpc_service, rpc_method) = method.split_once('/').unwrap_or((method, ""));
    tracing::info_span!(
        "call",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        service = channel.caller,
        server.address = &*channel.target,
        rpc.system = "grpc",
        rpc.service = rpc_service,
        rpc.method = rpc_method,
        rpc.grpc.status_code = tracing::field::Empty,
    )
}

fn record(span: &Span, result: &Result<Response<Body>, Status>) {
    let code = match result {
        Ok(response) => Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()),
        Err(status) => status.code(),
    };
    span.record("rpc.grpc.status_code", i32::from(code));
    if code != Code::Ok {
        span.record("otel.status_code", "error");
    }
}

/// Servers built on tonic alone end a late call with CANCELLED; it is a deadline all the same.
fn with_honest_deadline(mut response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    if status
        .is_some_and(|status| status.code() == Code::Cancelled && status.message() == deadline::TONIC_TIMEOUT_MESSAGE)
    {
        let code = HeaderValue::from(i32::from(Code::DeadlineExceeded));
        response.headers_mut().insert(Status::GRPC_STATUS, code);
    }
    response
}

/// No answer came. Whether the server did what it was asked is unknown, as always with UNAVAILABLE.
fn unreachable(target: &str, error: tonic::transport::Error) -> Status {
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
    let why = why.strip_prefix("transport error: ").unwrap_or(&why);
    let message = format!("cannot reach {target}: {why}");
    StatusBuilder::new("client", Code::Unavailable, "UNREACHABLE", message).retry_after(RETRY_DELAY).build()
}

fn late(target: &str, time: Duration) -> Status {
    let message = format!("{target} did not answer within {time:?}");
    StatusBuilder::new("client", Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message).build()
}
