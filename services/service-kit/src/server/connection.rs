//! One connection: HTTP/2 with prior knowledge, its calls, and its end.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;

use super::lobby::Place;
use super::shell::Shell;
use crate::Identity;
use crate::limits::{
    CONNECTION_AGE_JITTER, CONNECTION_WINDOW_BYTES, KEEPALIVE_TIMEOUT, SERVER_KEEPALIVE_INTERVAL, STREAM_WINDOW_BYTES,
};
use crate::network::Connection;
use crate::random;
use crate::role::Holder;

/// Spawns the calls of a connection where they can be counted and waited for.
#[derive(Clone)]
struct Calls(TaskTracker);

impl<F> hyper::rt::Executor<F> for Calls
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn(call);
    }
}

/// Serves one connection over TCP: where there is an identity only once its caller has proved who they are, and until it
/// has to make room where nobody on it was let in.
pub(super) async fn serve_tcp(
    stream: Connection,
    peer: SocketAddr,
    place: Place,
    tls: Option<Identity>,
    shell: Shell,
    ends: Ends,
) {
    let place = Arc::new(place);
    tokio::select! {
        () = serve_by_proof(stream, peer, place.clone(), tls, shell, ends) => {}
        () = place.taken() => {}
    }
}

async fn serve_by_proof(
    stream: Connection,
    peer: SocketAddr,
    place: Arc<Place>,
    tls: Option<Identity>,
    shell: Shell,
    ends: Ends,
) {
    let Some(identity) = tls else { return serve_connection(stream, Door::Plain(peer, place), shell, ends).await };
    let accepted = tokio::select! {
        accepted = identity.accept(stream) => accepted,
        () = ends.draining.cancelled() => return,
    };
    match accepted {
        Ok((stream, holder)) => {
            place.admitted();
            serve_connection(stream, Door::Tls(peer, holder), shell, ends).await;
        }
        // Whoever only looks whether the port is open, as probes do, has done nothing to be recorded.
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            tracing::debug!(%peer, %error, "a caller left before the TLS handshake was done");
        }
        Err(error) => shell.access.audit.stranger(shell.service, &peer.ip().to_string(), &error.to_string()),
    }
}

/// How a connection came in.
#[derive(Debug, Clone)]
pub(super) enum Door {
    /// By the Unix socket, which only the owner of the process can open, or by none from within the process.
    Private,
    /// Over TCP: who calls is said by each call, if at all.
    Plain(SocketAddr, Arc<Place>),
    /// Over TLS, with a certificate.
    Tls(SocketAddr, Holder),
}

impl Door {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Private => None,
            Self::Plain(peer, _) | Self::Tls(peer, _) => Some(*peer),
        }
    }
}

/// When a connection takes no more calls.
pub(super) struct Ends {
    /// The server ends.
    pub(super) draining: CancellationToken,
    /// It is about that old.
    pub(super) age: Option<Duration>,
}

impl Ends {
    async fn reached(&self) {
        let Some(age) = self.age else { return self.draining.cancelled().await };
        // From -1 to 1.
        let spread = f64::from(random::uuid().as_bytes()[0]) / 127.5 - 1.0;
        let age = age.mul_f64(1.0 + spread * CONNECTION_AGE_JITTER);
        let _ = tokio::time::timeout(age, self.draining.cancelled()).await;
    }
}

/// Serves one connection until its peer leaves, or until its calls have ended after it was told to take no more.
pub(super) async fn serve_connection<IO>(io: IO, door: Door, shell: Shell, ends: Ends)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let calls = TaskTracker::new();
    let limits = shell.limits;
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        if let Some(peer) = door.peer() {
            request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: Some(peer) });
        }
        let (shell, door) = (shell.clone(), door.clone());
        async move { Ok::<_, Infallible>(shell.answer(request.map(Body::new), &door).await) }
    });
    let mut connection = pin!(
        http2::Builder::new(Calls(calls.clone()))
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_per_connection)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(SERVER_KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .max_header_list_size(limits.request_header_bytes)
            .serve_connection(TokioIo::new(io), service)
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = ends.reached() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
    calls.close();
    calls.wait().await;
}
