//! A small service, and servers of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::proto::pod_runtime::v1 as proto;
use api::proto::pod_runtime::v1::pod_runtime_service_client::PodRuntimeServiceClient;
use api::proto::pod_runtime::v1::pod_runtime_service_server::{PodRuntimeService, PodRuntimeServiceServer};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use service_kit::{
    CancellationToken, Channel, Context, HealthHandle, Running, Server, ServerConfig, Target, Token, connect,
};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const SERVICE: &str = "setkeeper.pod_runtime.v1.PodRuntimeService";

/// Behaves as the metadata `behave` of a call says: `panic`, `hang`, `keep` what is asked for when the call is over, or well.
pub(crate) struct Fake {
    shutdown: CancellationToken,
    ends_streams: bool,
    left: Arc<Notify>,
}

fn behaves<T>(request: &Request<T>) -> Option<&str> {
    request.metadata().get("behave")?.to_str().ok()
}

#[tonic::async_trait]
impl PodRuntimeService for Fake {
    type LogsStream = BoxStream<'static, Result<proto::LogsResponse, Status>>;
    type PortForwardStream = BoxStream<'static, Result<proto::PortForwardResponse, Status>>;

    async fn list_pods(
        &self,
        request: Request<proto::ListPodsRequest>,
    ) -> Result<Response<proto::ListPodsResponse>, Status> {
        match behaves(&request) {
            Some("panic") => panic!("a defect with a secret in it"),
            Some("hang") => std::future::pending().await,
            _ => {}
        }
        let peer = request.remote_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
        Ok(Response::new(proto::ListPodsResponse { tier: "process".to_owned(), tier_reason: peer, pods: Vec::new() }))
    }

    async fn logs(&self, request: Request<proto::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let first = stream::iter([Ok(proto::LogsResponse { data: "first line\n".into() })]);
        if behaves(&request) == Some("panic") {
            let defect = stream::once(async {
                // What came before is sent first.
                tokio::task::yield_now().await;
                panic!("a defect with a secret in it")
            });
            return Ok(Response::new(first.chain(defect).boxed()));
        }
        let endless = first.chain(stream::pending());
        let shutdown = self.shutdown.clone();
        Ok(Response::new(if self.ends_streams {
            endless.take_until(shutdown.cancelled_owned()).boxed()
        } else {
            endless.boxed()
        }))
    }

    /// Sends back what comes, as it comes.
    async fn port_forward(
        &self,
        request: Request<Streaming<proto::PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        if behaves(&request) == Some("keep") {
            let (mut requests, left) = (request.into_inner(), self.left.clone());
            tokio::spawn(async move {
                while let Ok(Some(_)) = requests.message().await {}
                left.notify_one();
            });
            return Ok(Response::new(stream::pending().boxed()));
        }
        let echo = request
            .into_inner()
            .map(|request| request.map(|request| proto::PortForwardResponse { data: request.data, end: request.end }));
        Ok(Response::new(echo.boxed()))
    }

    async fn stop_all(
        &self,
        request: Request<proto::StopAllRequest>,
    ) -> Result<Response<proto::StopAllResponse>, Status> {
        let size = u32::try_from(request.into_inner().operation_id.len()).unwrap_or(u32::MAX);
        Ok(Response::new(proto::StopAllResponse { stopped: size }))
    }
}

/// A server that runs.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) health: HealthHandle,
    pub(crate) context: Context,
    /// Told when a call that keeps its requests has no more of them.
    pub(crate) left: Arc<Notify>,
}

impl Served {
    pub(crate) async fn start(config: &ServerConfig) -> Self {
        Self::start_with(config, true).await
    }

    pub(crate) async fn start_with(config: &ServerConfig, ends_streams: bool) -> Self {
        let context = Context::default();
        let left = Arc::new(Notify::new());
        let fake = Fake { shutdown: context.shutdown.clone(), ends_streams, left: left.clone() };
        let server = Server::new("pod-runtime").add(service_kit::sized_server!(PodRuntimeServiceServer::new(fake)));
        let bound = server.bind_in(&context, config).await.expect("binds");
        let health = bound.health();
        Self { health, running: bound.spawn(context.clone()), context, left }
    }

    pub(crate) fn target(&self) -> Target {
        Target::from(self.running.address.expect("listens over TCP"))
    }

    pub(crate) fn channel(&self, token: Option<&Token>) -> Channel {
        connect(&self.target(), token)
    }

    /// Ends the server as a signal would.
    pub(crate) async fn stop(self) {
        self.context.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running.task).await.expect("ends in bounded time");
        ended.expect("no panic").expect("no error");
    }
}

pub(crate) fn over_tcp(token: Option<&Token>) -> ServerConfig {
    ServerConfig { listen: Some(([127, 0, 0, 1], 0).into()), token: token.cloned(), ..ServerConfig::default() }
}

pub(crate) fn over_socket(path: &Path) -> ServerConfig {
    ServerConfig { unix_socket: Some(path.to_owned()), ..ServerConfig::default() }
}

pub(crate) fn client(channel: Channel) -> PodRuntimeServiceClient<Channel> {
    service_kit::sized_client!(PodRuntimeServiceClient::new(channel))
}

pub(crate) fn behaving(how: &'static str) -> Request<proto::ListPodsRequest> {
    asking(how, proto::ListPodsRequest {})
}

pub(crate) fn asking<T>(how: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("behave", tonic::metadata::MetadataValue::from_static(how));
    request
}

pub(crate) async fn lists(channel: Channel) -> Result<proto::ListPodsResponse, Status> {
    let mut client = client(channel);
    let listed = client.list_pods(proto::ListPodsRequest {});
    Ok(tokio::time::timeout(PATIENCE, listed).await.expect("answers in time")?.into_inner())
}
