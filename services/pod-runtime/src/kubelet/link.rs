//! The seam to the coordinator: assignments come in, statuses and events go out.

use api::proto::coordinator::v1 as wire;
use api::proto::coordinator::v1::node_service_client::NodeServiceClient;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use service_kit::Channel;
use tonic::Code;

/// What the coordinator said when this machine registered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Identity of the store.
    pub store_id: String,
    /// Stores that it was restored from: it speaks for them.
    pub former_store_ids: Vec<String>,
    /// Domain of names.
    pub cluster_domain: String,
    /// Where DNS is served, host:port; several with commas know the same.
    pub dns_address: String,
}

/// One message of the watch.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A pod assigned here.
    Assigned(Box<wire::Assignment>),
    /// An incarnation that is no longer stored.
    Gone {
        /// Which.
        uid: String,
    },
    /// Everything has been sent.
    Synced,
}

/// Why a report was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such incarnation is stored.
    Gone,
    /// Try again; in words.
    Later(String),
}

/// Messages until the stream breaks; a break is told in words.
pub type Messages = BoxStream<'static, Result<Message, String>>;

/// The coordinator, as a machine sees it.
pub trait NodeLink: Send + Sync + 'static {
    /// Registers this machine and watches its assignments, from the start.
    fn watch(&self) -> BoxFuture<'_, Result<(Registration, Messages), String>>;

    /// Reports what was observed of a pod.
    fn report(&self, report: wire::ReportPodStatusRequest) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Reports an event.
    fn event(&self, event: wire::ReportEventRequest) -> BoxFuture<'_, Result<(), String>>;
}

/// The coordinator over gRPC.
#[derive(Debug, Clone)]
pub struct GrpcLink {
    client: NodeServiceClient<Channel>,
    registration: wire::RegisterNodeRequest,
}

impl GrpcLink {
    /// A link that registers as `registration` says.
    #[must_use]
    pub fn new(channel: Channel, registration: wire::RegisterNodeRequest) -> Self {
        let client = service_kit::sized_client!(NodeServiceClient::new(channel));
        Self { client, registration }
    }
}

impl NodeLink for GrpcLink {
    fn watch(&self) -> BoxFuture<'_, Result<(Registration, Messages), String>> {
        let mut client = self.client.clone();
        async move {
            let words = |status: tonic::Status| status.message().to_owned();
            let answer = client.register_node(self.registration.clone()).await.map_err(words)?.into_inner();
            let registration = Registration {
                store_id: answer.store_id,
                former_store_ids: answer.former_store_ids,
                cluster_domain: answer.cluster_domain,
                dns_address: answer.dns_address,
            };
            let request = wire::WatchAssignmentsRequest { node: self.registration.name.clone() };
            let stream = client.watch_assignments(request).await.map_err(words)?.into_inner();
            let messages = stream.filter_map(move |message| async move {
                use wire::watch_assignments_response::Message as Wire;
                match message {
                    Err(status) => Some(Err(words(status))),
                    Ok(message) => message.message.map(|message| {
                        Ok(match message {
                            Wire::Assignment(assignment) => Message::Assigned(Box::new(assignment)),
                            Wire::Gone(gone) => Message::Gone { uid: gone.uid },
                            Wire::Synced(_) => Message::Synced,
                        })
                    }),
                }
            });
            Ok((registration, messages.boxed()))
        }
        .boxed()
    }

    fn report(&self, report: wire::ReportPodStatusRequest) -> BoxFuture<'_, Result<(), Refusal>> {
        let mut client = self.client.clone();
        async move {
            match client.report_pod_status(report).await {
                Ok(_) => Ok(()),
                Err(status) if status.code() == Code::NotFound => Err(Refusal::Gone),
                Err(status) => Err(Refusal::Later(format!("{:?}: {}", status.code(), status.message()))),
            }
        }
        .boxed()
    }

    fn event(&self, event: wire::ReportEventRequest) -> BoxFuture<'_, Result<(), String>> {
        let mut client = self.client.clone();
        async move { client.report_event(event).await.map(|_| ()).map_err(|status| status.message().to_owned()) }
            .boxed()
    }
}
