//! Carries out probes and hooks (pod rules, 6.1 and 7.2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Uid;
use http_body_util::Empty;
use hyper::header::{ACCEPT, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use service_kit::status::chain;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::environment::probe_command;
use super::probing::ProbeOutcome;
use crate::backend::{BackendError, ExecOutcome, PodBackend};
use crate::spec::{Container, GrpcHandler, Hook, HttpHandler, Probe, TcpHandler};

/// Tries of a probe that could not be run, at once, before its result is thrown away.
const TRIES_MAX: u32 = 3;

/// Redirects that a probe follows.
const REDIRECTS_MAX: u32 = 10;

/// Longest preStop or postStart where nothing else bounds it: a day. A hook that never ends holds its container back,
/// as the rules say, but not for ever.
const HOOK_MAX: Duration = Duration::from_secs(86_400);

/// What probes and hooks of one container act on.
#[derive(Clone)]
pub struct Prober {
    /// How to reach it.
    pub backend: Arc<dyn PodBackend>,
    /// The pod.
    pub uid: Uid,
    /// Its address.
    pub pod_ip: IpAddr,
    /// The container.
    pub container: Container,
}

enum Failure {
    /// It answered badly, or not at all.
    Failed(String),
    /// It could not be asked.
    Impossible(String),
}

impl Prober {
    /// Runs a probe once.
    pub async fn probe(&self, probe: &Probe) -> ProbeOutcome {
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            match self.try_probe(probe).await {
                Ok(warning) => return ProbeOutcome::Passed(warning),
                Err(Failure::Failed(why)) => return ProbeOutcome::Failed(why),
                Err(Failure::Impossible(why)) => last = why,
            }
        }
        ProbeOutcome::Impossible(last)
    }

    async fn try_probe(&self, probe: &Probe) -> Result<String, Failure> {
        let timeout = probe.timeout();
        if let Some(exec) = &probe.exec {
            let command = probe_command(&self.container, &exec.command);
            return self.exec(command, timeout).await.map(|()| String::new());
        }
        let work = async {
            if let Some(http) = &probe.http_get {
                self.http(http, timeout, false).await
            } else if let Some(tcp) = &probe.tcp_socket {
                self.tcp(tcp, timeout).await
            } else if let Some(grpc) = &probe.grpc {
                self.grpc(grpc, timeout).await
            } else {
                Err(Failure::Impossible("the probe has no handler".to_owned()))
            }
        };
        let late = || Failure::Failed(format!("no answer within {} s", timeout.as_secs()));
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Runs a hook. A hook over HTTP is fine with any answer.
    ///
    /// # Errors
    /// In words.
    pub async fn hook(&self, hook: &Hook, timeout: Option<Duration>) -> Result<(), String> {
        let timeout = timeout.unwrap_or(HOOK_MAX);
        let work = async {
            if let Some(exec) = &hook.exec {
                self.exec(exec.command.clone(), timeout).await
            } else if let Some(http) = &hook.http_get {
                self.http(http, timeout, true).await.map(|_| ())
            } else if let Some(tcp) = &hook.tcp_socket {
                self.tcp(tcp, timeout).await.map(|_| ())
            } else if let Some(sleep) = &hook.sleep {
                tokio::time::sleep(Duration::from_secs(sleep.seconds)).await;
                Ok(())
            } else {
                Ok(())
            }
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Failed(why) | Failure::Impossible(why))) => Err(why),
            Err(_) => Err(format!("cut off after {} s", timeout.as_secs())),
        }
    }

    async fn exec(&self, command: Vec<String>, timeout: Duration) -> Result<(), Failure> {
        match self.backend.exec(&self.uid, &self.container.name, command, timeout).await {
            Ok(ExecOutcome::Exited { exit_code: 0, .. }) => Ok(()),
            Ok(ExecOutcome::Exited { exit_code, output }) => {
                Err(Failure::Failed(format!("exit code {exit_code}: {}", output.trim_end())))
            }
            Ok(ExecOutcome::TimedOut) => {
                Err(Failure::Failed(format!("command timed out after {} s and was killed", timeout.as_secs())))
            }
            Err(error) => Err(Failure::Impossible(chain(&error))),
        }
    }

    async fn address(&self, host: &str, port: u16) -> Result<SocketAddr, Failure> {
        if host.is_empty() {
            return Ok(SocketAddr::new(self.pod_ip, port));
        }
        if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
            return Ok(SocketAddr::new(ip, port));
        }
        let found = tokio::net::lookup_host((host, port)).await.map(|mut all| all.next());
        found.ok().flatten().ok_or_else(|| Failure::Failed(format!("no such host: {host}")))
    }

    async fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<tokio::net::TcpStream, Failure> {
        self.backend.connect(address, timeout).await.map_err(|error| {
            let refused = matches!(&error, BackendError::Machine { source, .. }
                if source.kind() == std::io::ErrorKind::ConnectionRefused);
            let hint = " (a server that listens on 127.0.0.1 only is not reached at the pod's address; let it listen on \
                        0.0.0.0 or $(POD_IP))";
            Failure::Failed(format!("{}{}", chain(&error), if refused { hint } else { "" }))
        })
    }

    async fn tcp(&self, tcp: &TcpHandler, timeout: Duration) -> Result<String, Failure> {
        let port = self.container.port(tcp.port.as_ref()).ok_or_else(|| no_port(&tcp.port))?;
        let address = self.address(&tcp.host, port).await?;
        self.connect(address, timeout).await.map(|_| String::new())
    }

    async fn grpc(&self, grpc: &GrpcHandler, timeout: Duration) -> Result<String, Failure> {
        let address = SocketAddr::new(self.pod_ip, grpc.port);
        let prober = self.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let prober = prober.clone();
            async move {
                let stream = prober.connect(address, timeout).await.map_err(|failure| match failure {
                    Failure::Failed(why) | Failure::Impossible(why) => std::io::Error::other(why),
                })?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://setkeeper.invalid");
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|error| Failure::Failed(chain(&error)))?;
        let request = HealthCheckRequest { service: grpc.service.clone() };
        match HealthClient::new(channel).check(request).await {
            Ok(answer) => match answer.into_inner().status() {
                ServingStatus::Serving => Ok(String::new()),
                other => Err(Failure::Failed(format!("service unhealthy (responded with {:?})", other.as_str_name()))),
            },
            Err(status) if status.code() == tonic::Code::Unimplemented => Err(Failure::Failed(
                "this server does not implement the grpc health protocol (grpc.health.v1.Health)".into(),
            )),
            Err(status) => Err(Failure::Failed(format!("rpc error: {:?}: {}", status.code(), status.message()))),
        }
    }

    /// Asks over HTTP. `any`: whether any answer is fine.
    async fn http(&self, http: &HttpHandler, timeout: Duration, any: bool) -> Result<String, Failure> {
        let port = self.container.port(http.port.as_ref()).ok_or_else(|| no_port(&http.port))?;
        if http.scheme.eq_ignore_ascii_case("https") {
            return Err(Failure::Failed("scheme HTTPS is not supported here; use HTTP, tcpSocket or exec".to_owned()));
        }
        let address = self.address(&http.host, port).await?;
        let mut path = if http.path.starts_with('/') { http.path.clone() } else { format!("/{}", http.path) };
        for _ in 0..=REDIRECTS_MAX {
            let request = request(http, address, &path)?;
            let (status, location) = self.exchange(address, request, timeout).await?;
            if any {
                return Ok(String::new());
            }
            let Some(location) = location.filter(|_| status.is_redirection()) else { return verdict(status) };
            match same_host(&location, &http.host, address) {
                Some(next) => path = next,
                None => return Ok(format!("redirected to another host, which counts as passed: {location}")),
            }
        }
        Err(Failure::Failed(format!("stopped after {REDIRECTS_MAX} redirects")))
    }

    async fn exchange(
        &self,
        address: SocketAddr,
        request: Request<Empty<Bytes>>,
        timeout: Duration,
    ) -> Result<(StatusCode, Option<String>), Failure> {
        let stream = self.connect(address, timeout).await?;
        let failed = |error: hyper::Error| Failure::Failed(format!("{}: {}", address, chain(&error)));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok((response.status(), location))
        };
        // The connection ends with the sender; what it says then is of no interest.
        let (answer, _) = tokio::join!(exchange, connection);
        answer.map_err(failed)
    }
}

fn verdict(status: StatusCode) -> Result<String, Failure> {
    let code = status.as_u16();
    if (200..400).contains(&code) {
        return Ok(String::new());
    }
    Err(Failure::Failed(format!("HTTP probe failed with statuscode: {code}")))
}

fn no_port(port: &Option<crate::spec::Port>) -> Failure {
    Failure::Impossible(match port {
        Some(crate::spec::Port::Name(name)) => format!("the container has no port named {name:?}"),
        _ => "the probe has no port".to_owned(),
    })
}

fn request(http: &HttpHandler, address: SocketAddr, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let invalid = |what: String| Failure::Impossible(what);
    let uri: Uri = path.parse().map_err(|_| invalid(format!("path {path:?} is not valid")))?;
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    let host = if http.host.is_empty() { address.to_string() } else { format!("{}:{}", http.host, address.port()) };
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kube-probe/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(HOST, host.parse().map_err(|_| invalid(format!("host {host:?} is not valid")))?);
    let mut own: Vec<HeaderName> = Vec::new();
    for header in &http.http_headers {
        let name: HeaderName =
            header.name.parse().map_err(|_| invalid(format!("header {:?} is not valid", header.name)))?;
        let value: HeaderValue =
            header.value.parse().map_err(|_| invalid(format!("header {:?} has a bad value", header.name)))?;
        if header.value.is_empty() {
            headers.remove(&name);
        } else if own.contains(&name) {
            headers.append(name.clone(), value);
        } else {
            headers.insert(name.clone(), value);
        }
        own.push(name);
    }
    Ok(request)
}

/// The path of a redirect that stays on the host; none if it leaves.
fn same_host(location: &str, host: &str, address: SocketAddr) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    match uri.host() {
        None => Some(path),
        Some(other) => {
            let same =
                other.trim_matches(['[', ']']) == address.ip().to_string() || (!host.is_empty() && other == host);
            (same && uri.port_u16().unwrap_or(80) == address.port()).then_some(path)
        }
    }
}

#[cfg(test)]
mod live_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p33_redirects_stay_on_the_host() {
        let address: SocketAddr = "10.0.0.1:8080".parse().unwrap();
        for (location, expected) in [
            ("/x?y=1", Some("/x?y=1")),
            ("http://10.0.0.1:8080/z", Some("/z")),
            ("http://10.0.0.1/z", None),
            ("http://example.org/", None),
        ] {
            assert_eq!(same_host(location, "", address).as_deref(), expected, "{location}");
        }
        assert!(verdict(StatusCode::NOT_FOUND).is_err());
        assert!(verdict(StatusCode::FOUND).is_ok());
    }

    #[test]
    fn headers_of_the_manifest_win() {
        let header = |name: &str, value: &str| crate::spec::HttpHeader { name: name.into(), value: value.into() };
        let http = HttpHandler {
            http_headers: vec![header("Host", "web"), header("Accept", ""), header("X", "1"), header("X", "2")],
            ..HttpHandler::default()
        };
        let Ok(request) = request(&http, "10.0.0.1:80".parse().unwrap(), "/") else { panic!("a valid request") };
        assert_eq!(request.headers()[HOST], "web");
        assert!(!request.headers().contains_key(ACCEPT));
        assert_eq!(request.headers().get_all("x").iter().count(), 2);
    }
}
