//! The RPCs of a pod runtime: decode, ask, encode.

use std::sync::Arc;

use api::proto::pod_runtime::v1 as wire;
use api::proto::pod_runtime::v1::pod_runtime_service_server::PodRuntimeService;
use bytes::Bytes;
use service_kit::CancellationToken;
use service_kit::effects::{Effects, Fence};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::backend::PodBackend;
use crate::error::Error;
use crate::forward::Forwards;
use crate::kubelet::Pods;
use crate::kubelet::logs::{self, LogPod, Wish};
use crate::spec::Role;

/// Pieces of a log on their way to one reader.
const PIECES_MAX: usize = 16;

/// The server.
pub(crate) struct PodRuntime {
    backend: Arc<dyn PodBackend>,
    pods: Pods,
    effects: Effects,
    forwards: Forwards,
    shutdown: CancellationToken,
}

impl PodRuntime {
    /// A server over these pods. `effects` remembers which operations were done.
    #[must_use]
    pub(crate) fn new(backend: Arc<dyn PodBackend>, pods: Pods, effects: Effects, shutdown: CancellationToken) -> Self {
        let forwards = Forwards::new(backend.clone(), pods.clone(), shutdown.clone());
        Self { backend, pods, effects, forwards, shutdown }
    }
}

#[tonic::async_trait]
impl PodRuntimeService for PodRuntime {
    type LogsStream = futures::stream::BoxStream<'static, Result<wire::LogsResponse, Status>>;
    type PortForwardStream = ReceiverStream<Result<wire::PortForwardResponse, Status>>;

    async fn list_pods(&self, _: Request<wire::ListPodsRequest>) -> Result<Response<wire::ListPodsResponse>, Status> {
        let found = self.backend.list().await.map_err(Error::from)?;
        let capabilities = self.backend.capabilities();
        let pods = found.into_iter().map(|sandbox| wire::RunningPod {
            namespace: sandbox.spec.namespace,
            name: sandbox.spec.name,
            uid: sandbox.spec.uid.0,
            ip: sandbox.ip.to_string(),
            running: sandbox.alive,
            pids: sandbox.pids,
        });
        Ok(Response::new(wire::ListPodsResponse {
            tier: capabilities.tier.to_owned(),
            tier_reason: capabilities.tier_reason,
            pods: pods.collect(),
        }))
    }

    async fn logs(&self, request: Request<wire::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let pod = self
            .pods
            .find(&request.namespace, &request.pod)
            .ok_or_else(|| Error::PodNotFound { namespace: request.namespace.clone(), name: request.pod.clone() })?;
        let container = container(&pod, &request)?;
        let instance = instance(&pod, &request, &container)?;
        let wish = Wish {
            follow: request.follow && !request.previous,
            tail_lines: request.tail_lines,
            timestamps: request.timestamps,
        };
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let shutdown = self.shutdown.clone();
        // Ends with its reader, or with this runtime.
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                result = logs::stream(&pod, &container, instance, wish, &sender) => if let Err(error) = result {
                    tracing::warn!(error = %error, container, "cannot read a log");
                },
            }
        });
        let pieces = ReceiverStream::new(receiver).filter(|piece| !piece.is_empty());
        let pieces = pieces.map(|piece| Ok(wire::LogsResponse { data: piece.into() }));
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<wire::PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        Ok(Response::new(self.forwards.open(request.into_inner()).await?))
    }

    async fn stop_all(
        &self,
        request: Request<wire::StopAllRequest>,
    ) -> Result<Response<wire::StopAllResponse>, Status> {
        let request = request.into_inner();
        let fence = Fence { store: request.store_id, epoch: request.epoch, generation: request.generation };
        let pods = self.pods.clone();
        let work = async move { Ok(Bytes::copy_from_slice(&pods.stop_all().await.to_be_bytes())) };
        let bytes = self.effects.run(&request.operation_id, fence, work).await?;
        let stopped = bytes.as_ref().try_into().map_or(0, u32::from_be_bytes);
        Ok(Response::new(wire::StopAllResponse { stopped }))
    }
}

/// The container whose log is wanted.
fn container(pod: &LogPod, request: &wire::LogsRequest) -> Result<String, Error> {
    if !request.container.is_empty() {
        return match pod.containers.contains_key(&request.container) {
            true => Ok(request.container.clone()),
            false => Err(Error::ContainerNotFound {
                pod: request.pod.clone(),
                container: request.container.clone(),
                why: "there is no container of that name".to_owned(),
            }),
        };
    }
    let mut regular = pod.containers.iter().filter(|(_, role)| **role == Role::Regular).map(|(name, _)| name);
    match (regular.next(), regular.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => {
            let choices = pod.containers.keys().cloned().collect::<Vec<_>>().join(", ");
            Err(Error::ContainerRequired { pod: request.pod.clone(), choices })
        }
    }
}

/// The run whose log is wanted.
fn instance(pod: &LogPod, request: &wire::LogsRequest, container: &str) -> Result<u32, Error> {
    let current = pod.summary.borrow().containers.get(container).and_then(|(instance, _)| *instance);
    let current = current.or(request.follow.then_some(0)); // Whoever follows may wait for the first run.
    let wanted = if request.previous { current.and_then(|instance| instance.checked_sub(1)) } else { current };
    wanted.ok_or_else(|| Error::ContainerNotFound {
        pod: request.pod.clone(),
        container: container.to_owned(),
        why: if request.previous { "it has no previous run" } else { "it was not started yet" }.to_owned(),
    })
}
