//! The channel that every client calls through.
//!
//! **Deadlines.** A unary call without one gets [`CALL_DEADLINE`]; with one (`tonic::Request::set_timeout`) that; either
//! is capped by what is left of the incoming call that this task answers. It covers the whole answer, down to its last
//! byte: a server that begins one and falls silent holds nobody. A streaming call has to *begin* to be answered
//! within the same time; a stream that has begun goes on as long as both sides want, unless its caller set a timeout,
//! which then bounds its beginning. Every call that runs out of time ends with `DEADLINE_EXCEEDED`.
//!
//! **Broken answers.** An answer that does not end with its server's status ends with `UNAVAILABLE` (`answer`).
//!
//! **Several servers.** A target that stands for several addresses is balanced (`replicas`). **Again.** A channel that is
//! told to ([`Channel::retrying`]) repeats idempotent calls whose server cannot be reached (`retry`). A unary call that was
//! never sent, because its connection ended in that moment, is sent over the next one whatever it is (`send`).

mod answer;
mod replicas;
mod retry;
mod send;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tracing::{Instrument as _, Span};

use self::replicas::{Picked, Replicas};
pub use self::retry::Retry;
use self::send::unreachable;
use crate::limits::{
    CALL_DEADLINE, CLIENT_KEEPALIVE_INTERVAL, CONNECT_DEADLINE, CONNECTION_WINDOW_BYTES, KEEPALIVE_TIMEOUT,
    RESPONSE_HEADER_BYTES_MAX, STREAM_WINDOW_BYTES,
};
use crate::methods::{Shape, idempotent, shape, streams_requests};
use crate::metrics::{Counted, Registry, Rpc};
use crate::network::{Call, Network};
use crate::status::StatusBuilder;
use crate::telemetry::propagation;
use crate::{Identity, InProcess, Role, Target, Token, deadline};

/// How long a server may take to say how it is.
const HEALTH_DEADLINE: Duration = Duration::from_secs(2);

/// A connection to one server, that comes back by itself. Cheap to clone; usable by every generated client.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: Inner,
    target: Arc<str>,
    /// Service whose spans calls are, where no span around them says so.
    caller: Option<&'static str>,
    authorization: Option<HeaderValue>,
    /// The network that it goes over, where that is not the machine's.
    network: Option<Arc<dyn Network>>,
    retry: Option<Retry>,
    registry: Option<Registry>,
    /// Where calls are counted, once it is known whose they are.
    counts: Option<Arc<Rpc>>,
}

#[derive(Debug, Clone)]
enum Inner {
    One(tonic::transport::Channel),
    /// That server, or the one of this process that listens there.
    Near(InProcess, SocketAddr, tonic::transport::Channel),
    Several(Arc<Replicas>),
}

/// A channel to `target`. It connects when it is first used and again whenever the connection is lost, so this never
/// fails and never waits.
///
/// # Panics
/// Outside a tokio runtime.
#[must_use]
pub fn connect(target: &Target, token: Option<&Token>) -> Channel {
    let inner = match target {
        Target::Tcp(address) => {
            let name = called(address);
            reached(address, move |replica| channel_to(name.as_deref(), replica))
        }
        Target::Unix(path) => {
            let path = path.clone();
            Inner::One(unreachable_endpoint().connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            })))
        }
    };
    Channel::new(inner, target, token, None)
}

/// The same from within a process that may be where the server is.
pub(crate) fn connect_from(process: &InProcess, target: &Target, token: Option<&Token>) -> Channel {
    let address = match target {
        Target::Tcp(address) => address.parse::<SocketAddr>(),
        Target::Unix(_) => return connect(target, token),
    };
    let Ok(address) = address else { return connect(target, token) };
    Channel::new(Inner::Near(process.clone(), address, channel_to(None, address)), target, token, None)
}

/// The same, where a server over TCP has to prove that it is `role`, and is shown who calls. A Unix socket needs no TLS:
/// only its owner can open it.
pub(crate) fn connect_tls(identity: &Identity, role: Role, target: &Target, token: Option<&Token>) -> Channel {
    let Target::Tcp(address) = target else { return connect(target, token) };
    let identity = identity.clone();
    let name = called(address);
    let channel_to = move |replica: SocketAddr| {
        let called = name.clone().unwrap_or_else(|| replica.to_string());
        let endpoint = by_name(unreachable_endpoint(), "https", &called);
        let identity = identity.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (identity, called) = (identity.clone(), called.clone());
            async move { identity.connect(role, replica, &called).await.map(TokioIo::new) }
        }))
    };
    Channel::new(reached(address, channel_to), target, token, None)
}

/// One address needs no look-up and has no other to turn to.
fn reached(
    address: &str,
    channel_to: impl Fn(SocketAddr) -> tonic::transport::Channel + Send + Sync + 'static,
) -> Inner {
    match address.parse::<SocketAddr>() {
        Ok(address) => Inner::One(channel_to(address)),
        Err(_) => Inner::Several(Replicas::new(address.split(',').map(str::to_owned).collect(), channel_to)),
    }
}

fn channel_to(called: Option<&str>, address: SocketAddr) -> tonic::transport::Channel {
    let uri = format!("http://{address}").parse().expect("an address with a port is an authority");
    match called {
        Some(called) => by_name(endpoint(uri), "http", called),
        None => endpoint(uri),
    }
    .connect_lazy()
}

/// The name by which servers are called; none where several are listed.
fn called(address: &str) -> Option<String> {
    (!address.contains(',')).then(|| address.to_owned())
}

/// Calls say by which name they were made: proxies route by it.
fn by_name(endpoint: Endpoint, scheme: &str, called: &str) -> Endpoint {
    match format!("{scheme}://{called}").parse() {
        Ok(origin) => endpoint.origin(origin),
        Err(_) => endpoint,
    }
}

/// The same over another network.
pub(crate) fn connect_over(network: Arc<dyn Network>, target: &Target, token: Option<&Token>) -> Channel {
    let address = target.to_string();
    let over = network.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let connecting = over.connect(address.clone());
        async move { connecting.await.map(TokioIo::new) }
    });
    let inner = Inner::One(unreachable_endpoint().connect_with_connector_lazy(connector));
    Channel::new(inner, target, token, Some(network))
}

/// Whether the server of this name at the other end says that it takes calls.
///
/// # Errors
/// It cannot be reached in time, or is another server.
pub async fn readiness(channel: Channel, name: &str) -> Result<bool, Status> {
    let mut request = tonic::Request::new(HealthCheckRequest { service: name.to_owned() });
    request.set_timeout(HEALTH_DEADLINE);
    let answer = HealthClient::new(channel).check(request).await?.into_inner();
    Ok(answer.status() == ServingStatus::Serving)
}

/// Whether the server at the other end says that it lives.
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
    fn new(inner: Inner, target: &Target, token: Option<&Token>, network: Option<Arc<dyn Network>>) -> Self {
        let (target, authorization) = (target.to_string().into(), token.map(Token::header));
        Self { inner, target, caller: None, authorization, network, retry: None, registry: None, counts: None }
    }

    /// The same channel, whose calls are counted there once it is known who makes them ([`Channel::called_by`]).
    #[must_use]
    pub(crate) fn measured(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// The same channel, that repeats idempotent calls; not where another network stands around them.
    #[must_use]
    pub fn retrying(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// A channel to each server that the target stands for now, for calls that every one of them must get. The target of
    /// each is its address. Names are looked up again as calls do, so whoever asks from time to time learns of servers
    /// that come and go; those that stay keep their connections.
    ///
    /// # Errors
    /// No server is known, and no name has an address.
    pub async fn each(&self) -> Result<Vec<Self>, Status> {
        let Inner::Several(replicas) = &self.inner else { return Ok(vec![self.clone()]) };
        let all = replicas.all().await.map_err(|why| unreachable(&self.target, &why))?;
        let to = |picked: Picked| Self {
            inner: Inner::One(picked.channel),
            target: picked.address.to_string().into(),
            ..self.clone()
        };
        Ok(all.into_iter().map(to).collect())
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
        self.counts = self.registry.as_ref().map(|registry| registry.client(service));
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
        let mut counted = channel.counts.as_ref().map(|counts| counts.begin(&path));
        let told = Told { span: span.clone(), code: None };
        let call = async move {
            let sent = channel.send_over(request, path, shape, time);
            let result = match tokio::time::timeout(time, sent).await {
                Ok(Ok(response)) => Ok(with_honest_deadline(response)),
                Ok(Err(status)) => Err(status),
                Err(_) => Err(late(&channel.target, time)),
            };
            let code = code(&result);
            told.ended(code);
            match (result, counted.take()) {
                (Ok(response), Some(call)) if shape == Shape::Streaming && code == Code::Ok => {
                    Ok(response.map(|body| Counted::wrap(body, call)))
                }
                (result, counted) => {
                    counted.into_iter().for_each(|call| call.end(code));
                    result
                }
            }
        };
        Box::pin(call.instrument(span))
    }
}

impl Channel {
    /// Sends over the network of this channel. One that is not the machine's stands around the call, and sees each call as
    /// it is: nothing is repeated there.
    fn send_over(&self, request: Request<Body>, path: String, shape: Shape, time: Duration) -> Call {
        let channel = self.clone();
        match (&self.network, shape) {
            (Some(network), _) => {
                let send = move |request| Box::pin(channel.clone().send_once(request, shape)) as Call;
                network.call(request, Arc::new(send))
            }
            (None, Shape::Streaming) if streams_requests(&path) => Box::pin(channel.send_once(request, shape)),
            (None, _) => {
                let retry = self.retry.filter(|_| idempotent(&path));
                Box::pin(async move { channel.send_until_answered(retry, request, shape, time).await })
            }
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

fn code(result: &Result<Response<Body>, Status>) -> Code {
    match result {
        Ok(response) => Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()),
        Err(status) => status.code(),
    }
}

/// Tells in the span of a call how it ended. One that its caller waits for no longer is cancelled, which is nobody's
/// failure; it may never have come to its server, which then has no span of it.
struct Told {
    span: Span,
    code: Option<Code>,
}

impl Told {
    fn ended(mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.span.record("rpc.grpc.status_code", i32::from(self.code.unwrap_or(Code::Cancelled)));
        if self.code.is_some_and(|code| code != Code::Ok) {
            self.span.record("otel.status_code", "error");
        }
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

fn late(target: &str, time: Duration) -> Status {
    let message = format!("{target} did not answer within {time:?}");
    StatusBuilder::new("client", Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message).build()
}
