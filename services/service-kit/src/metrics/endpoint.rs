//! `GET /metrics`, `GET /healthz` and `GET /readyz` over HTTP/1.1, for scrapers and probes.
//!
//! The last two say what gRPC health says, for probes that speak no mutual TLS: that the process lives, and that every
//! server in it takes calls and all that they tell of is true.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{NothingServes, Registry};

/// Connections at once: a few scrapers and probes. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// How long a connection may take to send a request, and how long one may stay: longer than any usual scrape interval.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(120);

/// Most bytes of a request's head that are kept. No scraper sends a tenth of that.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after the machine refused to accept, for instance because files ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Media type of the text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A port that tells what a process measures. Whoever reaches it may read: it holds no names of objects.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    registry: Registry,
}

impl Endpoint {
    /// Takes the address.
    ///
    /// # Errors
    /// It is in use, or cannot be listened on.
    pub async fn bind(address: SocketAddr, registry: Registry) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, registry })
    }

    /// Where it listens, with the port it really got.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown`.
    pub async fn serve(self, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, self.registry.clone()))),
                    Err(error) => {
                        tracing::debug!(%error, "a scrape cannot be accepted");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, registry: Registry) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &registry);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that leaves, stalls or talks nonsense is no matter of ours.
    let _ = tokio::time::timeout(CONNECTION_AGE_MAX, connection).await;
}

fn answer(method: &Method, path: &str, registry: &Registry) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/readyz") => readiness(registry),
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, PROMETHEUS_TEXT, registry.render()),
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "text/plain", "here are /metrics, /healthz and /readyz\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
    };
    let body = if method == Method::HEAD { Full::default() } else { Full::from(body) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn readiness(registry: &Registry) -> (StatusCode, &'static str, String) {
    let body = match registry.unready() {
        Ok(unready) if unready.is_empty() => return (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        Ok(unready) => format!("not ready: {}\n", unready.join(", ")),
        Err(NothingServes) => "nothing is served yet\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, "text/plain", body)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::watch;

    use super::*;
    use crate::{Context, Server, ServerConfig};

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn scrapers_and_probes_are_answered_and_others_told() {
        let registry = Registry::default();
        registry.add(|page| page.counter("setkeeper_test_total", "A test.", &[], 7));
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().expect("an address"), registry).await.expect("it is free");
        let address = endpoint.local_addr().expect("it is bound");
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(endpoint.serve(shutdown.clone()));
        let metrics = ask(address, "GET /metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("setkeeper_test_total 7\n"), "{metrics}");
        assert!(metrics.contains("version=0.0.4"), "{metrics}");
        assert!(ask(address, "GET /healthz").await.ends_with("ok\n"));
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        shutdown.cancel();
        serving.await.expect("it ends");
    }

    #[tokio::test]
    async fn readiness_follows_every_server_until_its_drain() {
        let context = Context::default();
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().expect("an address"), context.metrics.clone()).await;
        let endpoint = endpoint.expect("it is free");
        let address = endpoint.local_addr().expect("it is bound");
        let end = CancellationToken::new();
        let answering = tokio::spawn(endpoint.serve(end.clone()));
        assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        let config = ServerConfig { listen: "127.0.0.1:0".parse().ok(), ..ServerConfig::default() };
        let (told, truth) = watch::channel(false);
        let server = Server::new("volume-claim").tells("setkeeper.volumes", truth);
        let bound = server.bind(&config).await.expect("it is free");
        let health = bound.health();
        let serving = tokio::spawn(bound.serve(context.clone()));
        let until = async |end: &str| while !ask(address, "GET /readyz").await.ends_with(end) {};
        let told_first = until("not ready: setkeeper.volumes\n");
        tokio::time::timeout(Duration::from_secs(10), told_first).await.expect("calls are taken");
        told.send_replace(true);
        assert!(ask(address, "GET /readyz").await.ends_with("ok\n"));
        health.set_serving(false);
        let answer = ask(address, "GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: volume-claim\n"), "{answer}");
        assert!(ask(address, "GET /metrics").await.contains("\nsetkeeper_volume_claim_ready 0\n"));
        assert!(ask(address, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        context.shutdown.cancel();
        serving.await.expect("it ends").expect("it was well");
        end.cancel();
        answering.await.expect("it ends");
    }
}
