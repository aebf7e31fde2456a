//! `PodService`.

use std::time::Duration;

use api::manifest::Kind;
use api::proto::coordinator::v1::pod_service_server::PodService;
use api::proto::coordinator::v1::{
    ApplyPodRequest, ApplyPodResponse, DeletePodRequest, DeletePodResponse, GetPodRequest, GetPodResponse,
    ListPodsRequest, ListPodsResponse, LogsRequest, LogsResponse, PortForwardRequest, WatchPodsRequest,
    WatchPodsResponse,
};
use api::proto::pod_runtime::v1::LogsRequest as RuntimeLogsRequest;
use api::proto::pod_runtime::v1::pod_runtime_service_client::PodRuntimeServiceClient;
use service_kit::access::Caller;
use service_kit::status::StatusBuilder;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::page::{Filter, page};
use super::port_forward::{self, port_forward};
use super::watch::watch;
use super::{Deletion, Front, cut_off, namespace, visible};
use crate::apply::Application;
use crate::error::SERVICE;
use crate::machines::Machines;
use crate::world::Key;

/// Pieces of a log that a slow reader may be behind before the machine waits for it.
const LOG_BUFFERED_MAX: usize = 16;

/// How long a machine may take to begin with a log.
const LOG_START_MAX: Duration = Duration::from_secs(10);

/// Pods, and the machines that have their logs.
#[derive(Debug, Clone)]
pub(crate) struct Pods {
    pub(crate) front: Front,
    pub(crate) machines: Machines,
}

#[tonic::async_trait]
impl PodService for Pods {
    type WatchStream = ReceiverStream<Result<WatchPodsResponse, Status>>;
    type LogsStream = ReceiverStream<Result<LogsResponse, Status>>;
    type PortForwardStream = port_forward::Responses;

    async fn apply(&self, request: Request<ApplyPodRequest>) -> Result<Response<ApplyPodResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let application = Application::one(Kind::Pod, request.pod, request.dry_run)?;
        let mut applied = self.front.apply(&caller, application).await?;
        let one = applied.objects.remove(0);
        Ok(Response::new(ApplyPodResponse {
            pod: Some(api::object::to_struct(&one.value)),
            result: one.result.to_owned(),
            warnings: applied.warnings,
        }))
    }

    async fn get(&self, request: Request<GetPodRequest>) -> Result<Response<GetPodResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = key(&request.namespace, &request.name);
        caller.may(key.kind, &key.namespace)?;
        let pod = self.front.get(&key)?;
        Ok(Response::new(GetPodResponse { pod: Some(visible(&pod)) }))
    }

    async fn list(&self, request: Request<ListPodsRequest>) -> Result<Response<ListPodsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let filter = Filter::new(&caller, Kind::Pod, &request.namespace, &request.label_selector, "")?;
        let page = page(&self.front.world, &filter, request.page_size, &request.page_token)?;
        Ok(Response::new(ListPodsResponse {
            pods: page.objects.iter().map(|pod| visible(pod)).collect(),
            next_page_token: page.next,
            revision: page.revision,
        }))
    }

    async fn watch(&self, request: Request<WatchPodsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let filter = Filter::new(&caller, Kind::Pod, &request.namespace, &request.label_selector, &request.name)?;
        let tell = |told: super::watch::Told| WatchPodsResponse {
            r#type: told.kind.to_owned(),
            pod: told.object,
            revision: told.revision,
        };
        let front = &self.front;
        let cut = cut_off(front.context.clone(), caller, filter.kind, filter.namespace.clone());
        Ok(Response::new(watch(front.world.clone(), filter, request.from_revision, cut, tell).await?))
    }

    async fn delete(&self, request: Request<DeletePodRequest>) -> Result<Response<DeletePodResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let deletion = Deletion {
            uid: request.uid,
            grace_period_seconds: request.grace_period_seconds,
            within_budget: request.within_budget,
            ..Deletion::default()
        };
        let pod = self.front.delete(&caller, key(&request.namespace, &request.name), deletion).await?;
        Ok(Response::new(DeletePodResponse { pod: Some(visible(&pod)) }))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = key(&request.namespace, &request.pod);
        caller.may(key.kind, &key.namespace)?;
        let pod = self.front.get(&key)?;
        let node = pod.text("/spec/nodeName");
        if node.is_empty() {
            let why = crate::objects::condition(&pod.value, "PodScheduled").and_then(|c| c.get("message")?.as_str());
            let message =
                format!("pod {:?} has no machine yet: {}", pod.key.name, why.unwrap_or("it was just created"));
            return Err(StatusBuilder::new(SERVICE, Code::FailedPrecondition, "POD_NOT_PLACED", message).build());
        }
        let mut runtime = service_kit::sized_client!(PodRuntimeServiceClient::new(self.machines.channel(node)?));
        let asked = RuntimeLogsRequest {
            namespace: pod.key.namespace.clone(),
            pod: pod.key.name.clone(),
            container: request.container,
            follow: request.follow,
            previous: request.previous,
            tail_lines: request.tail_lines,
            timestamps: request.timestamps,
        };
        let started = tokio::time::timeout(LOG_START_MAX, runtime.logs(asked)).await;
        let mut pieces = started
            .map_err(|_| crate::machines::unreachable(node, "no answer in time"))?
            .map_err(|status| match status.code() {
                Code::Unavailable => crate::machines::unreachable(node, status.message()),
                _ => status,
            })?
            .into_inner();
        let (feed, receiver) = mpsc::channel(LOG_BUFFERED_MAX);
        let cut = cut_off(self.front.context.clone(), caller, key.kind, key.namespace);
        // Owned by its receiver: it ends when the reader hangs up, the log ends, or it is cut off.
        tokio::spawn(async move {
            tokio::pin!(cut);
            loop {
                let piece = tokio::select! {
                    why = &mut cut => {
                        let _ = feed.send(Err(why)).await;
                        return;
                    }
                    () = feed.closed() => return,
                    piece = pieces.next() => piece,
                };
                let Some(piece) = piece else { return };
                let piece = piece.map(|piece| LogsResponse { data: piece.data });
                if feed.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(port_forward(&self.front, &caller, &self.machines, request.into_inner()).await?))
    }
}

fn key(of_request: &str, name: &str) -> Key {
    Key::new(Kind::Pod, namespace(of_request), name)
}
