//! The service that machines call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::manifest::Kind;
use api::proto::coordinator::v1::node_service_server::NodeService;
use api::proto::coordinator::v1::watch_assignments_response::Message;
use api::proto::coordinator::v1::{
    PodGone, RegisterNodeRequest, RegisterNodeResponse, ReportEventRequest, ReportEventResponse,
    ReportPodStatusRequest, ReportPodStatusResponse, Synced, WatchAssignmentsRequest, WatchAssignmentsResponse,
};
use domain::{Uid, is_dns_subdomain};
use serde_json::{Value, json};
use service_kit::Context;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::assignments::{assignment, concerned};
use super::report::{Report, Reports};
use crate::events::{self, Event};
use crate::objects::time_text;
use crate::world::{Commit, Key, Object, Transaction, World};

/// Messages a slow machine may be behind before the feed waits for it.
const FEED_BUFFERED_MAX: usize = 256;

/// How long a pod's deletion is kept from its machine for its names to be withdrawn first (DNS rules, N5).
const WITHDRAW_WAIT_MAX: Duration = Duration::from_secs(2);

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    pub(crate) world: Arc<World>,
    pub(crate) reports: Reports,
    pub(crate) context: Context,
    pub(crate) cluster_domain: String,
    pub(crate) dns_address: String,
}

type Feed = mpsc::Sender<Result<WatchAssignmentsResponse, Status>>;

#[tonic::async_trait]
impl NodeService for Nodes {
    type WatchAssignmentsStream = ReceiverStream<Result<WatchAssignmentsResponse, Status>>;

    async fn register_node(
        &self,
        request: Request<RegisterNodeRequest>,
    ) -> Result<Response<RegisterNodeResponse>, Status> {
        let node = request.into_inner();
        is_dns_subdomain(&node.name)
            .map_err(|why| invalid("INVALID_NODE", &format!("name: {:?}: {why}", node.name)))?;
        if node.runtime_address.parse::<service_kit::Target>().is_err() {
            return Err(invalid("INVALID_NODE", "runtime_address: must be host:port or unix:PATH"));
        }
        let this = self.clone();
        detached(async move { this.register(&node).await }).await?;
        Ok(Response::new(RegisterNodeResponse {
            store_id: self.world.store_id().to_owned(),
            cluster_domain: self.cluster_domain.clone(),
            dns_address: self.dns_address.clone(),
        }))
    }

    async fn watch_assignments(
        &self,
        request: Request<WatchAssignmentsRequest>,
    ) -> Result<Response<Self::WatchAssignmentsStream>, Status> {
        let node = request.into_inner().node;
        if self.world.get(&Key::new(Kind::Node, "", &node)).is_none() {
            return Err(Status::not_found(format!("machine {node:?} has not registered")));
        }
        let (feed, receiver) = mpsc::channel(FEED_BUFFERED_MAX);
        let this = self.clone();
        // Owned by its receiver: it ends when the machine hangs up, or at shutdown.
        tokio::spawn(async move {
            let shutdown = this.context.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = feed.closed() => {}
                _ = this.feed(&node, &feed) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn report_pod_status(
        &self,
        request: Request<ReportPodStatusRequest>,
    ) -> Result<Response<ReportPodStatusResponse>, Status> {
        let request = request.into_inner();
        let report = Report::new(&request.namespace, &request.name, &request.uid, &request.status, request.stopped)
            .map_err(crate::error::report_status)?;
        let reports = self.reports.clone();
        let revision =
            detached(async move { reports.take(&report).await.map_err(crate::error::report_status) }).await?;
        Ok(Response::new(ReportPodStatusResponse { revision: revision.0 }))
    }

    async fn report_event(
        &self,
        request: Request<ReportEventRequest>,
    ) -> Result<Response<ReportEventResponse>, Status> {
        let request = request.into_inner();
        if request.reason.is_empty() || !["Normal", "Warning"].contains(&request.r#type.as_str()) {
            return Err(invalid("INVALID_EVENT", "type must be Normal or Warning, reason must not be empty"));
        }
        let event = Event { warning: request.r#type == "Warning", reason: request.reason, message: request.message };
        let key = Key::new(Kind::Pod, &request.namespace, &request.name);
        let mut transaction = Transaction::default();
        let now = self.context.clock.now();
        events::record(&mut transaction, &self.world, (&key, &request.uid), "pod-runtime", &event, now);
        let world = self.world.clone();
        detached(async move { world.commit(transaction).await.map_err(crate::error::commit_status) }).await?;
        Ok(Response::new(ReportEventResponse {}))
    }
}

impl Nodes {
    async fn register(&self, node: &RegisterNodeRequest) -> Result<(), Status> {
        let key = Key::new(Kind::Node, "", &node.name);
        let old = self.world.get(&key);
        let text = |pointer: &str| old.as_ref().map(|old| old.text(pointer).to_owned()).filter(|text| !text.is_empty());
        let value = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node.name,
                "uid": text("/metadata/uid").unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
                "creationTimestamp": text("/metadata/creationTimestamp").unwrap_or_else(|| time_text(self.context.clock.now())),
                "labels": { "kubernetes.io/hostname": node.name },
                "annotations": {
                    "setkeeper.dev/runtime-address": node.runtime_address,
                    "setkeeper.dev/tier": node.tier,
                    "setkeeper.dev/degraded": node.degraded.join("; "),
                },
            },
            "spec": {},
            "status": { "addresses": [
                { "type": "Hostname", "address": node.name },
                { "type": "InternalIP", "address": node.host_ip },
            ]},
        });
        let mut transaction = Transaction::default();
        match old {
            Some(old) => {
                let fresh = Object::new(key, value, old.version);
                if fresh.value != old.value {
                    transaction.update(&old, fresh.value);
                }
            }
            None => transaction.create(key, value),
        }
        self.world.commit(transaction).await.map_err(crate::error::commit_status)?;
        Ok(())
    }

    /// Sends everything, then changes, until the machine hangs up.
    async fn feed(&self, node: &str, feed: &Feed) -> Option<()> {
        let mut commits = self.world.subscribe();
        let mut sent = self.send_all(node, feed).await?;
        loop {
            match commits.recv().await {
                Ok(commit) => self.send_changes(node, feed, &commit, &mut sent).await?,
                Err(RecvError::Lagged(_)) => {
                    // What was missed may include deletions: everything anew, and what is no longer there.
                    let fresh = self.send_all(node, feed).await?;
                    for (key, uid) in sent.iter().filter(|(key, uid)| fresh.get(key) != Some(uid)) {
                        send(feed, gone(key, uid)).await?;
                    }
                    sent = fresh;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn send_all(&self, node: &str, feed: &Feed) -> Option<HashMap<Key, Uid>> {
        let (revision, assignments) = self.world.view(|view| {
            let pods = view.list(Kind::Pod, None).into_iter().filter(|pod| pod.text("/spec/nodeName") == node);
            let assignments: Vec<_> = pods.map(|pod| (assignment(view, &pod), pod)).collect();
            (view.revision(), assignments)
        });
        let mut sent = HashMap::new();
        for (assignment, pod) in assignments {
            self.withdrawn(&pod).await;
            send(feed, Message::Assignment(assignment)).await?;
            sent.insert(pod.key.clone(), pod.uid());
        }
        send(feed, Message::Synced(Synced { revision: revision.0 })).await?;
        Some(sent)
    }

    async fn send_changes(&self, node: &str, feed: &Feed, commit: &Commit, sent: &mut HashMap<Key, Uid>) -> Option<()> {
        for change in &commit.changes {
            let was = change.old.as_ref().filter(|_| change.key.kind == Kind::Pod);
            let replaced = |old: &&Arc<Object>| change.new.as_ref().is_none_or(|new| new.uid() != old.uid());
            if let Some(old) = was.filter(replaced)
                && sent.get(&change.key) == Some(&old.uid())
            {
                sent.remove(&change.key);
                send(feed, gone(&change.key, &old.uid())).await?;
            }
            if !matters(change) {
                continue;
            }
            let assignments = self.world.view(|view| {
                let pods = concerned(view, node, change).into_iter();
                pods.map(|pod| (assignment(view, &pod), pod)).collect::<Vec<_>>()
            });
            for (assignment, pod) in assignments {
                self.withdrawn(&pod).await;
                sent.insert(pod.key.clone(), pod.uid());
                send(feed, Message::Assignment(assignment)).await?;
            }
        }
        Some(())
    }

    /// Returns when a deleted pod's names are withdrawn, or the bounded wait for that is over.
    async fn withdrawn(&self, pod: &Object) {
        if !pod.deleting() || self.reports.names.wait_published(pod.version, WITHDRAW_WAIT_MAX).await {
            return;
        }
        tracing::warn!(namespace = pod.key.namespace, pod = pod.key.name, "names are not withdrawn in time");
        let message = "names were not withdrawn before the pod was stopped: identity-dns does not answer";
        let mut transaction = Transaction::default();
        let event = Event::warning("NamesNotWithdrawn", message);
        let now = self.context.clock.now();
        events::record(&mut transaction, &self.world, (&pod.key, &pod.uid().0), "coordinator", &event, now);
        if let Err(error) = self.world.commit(transaction).await {
            tracing::warn!(%error, "an event could not be stored");
        }
    }
}

/// Whether a change can mean anything to a machine. The machine's own reports do not come back to it.
fn matters(change: &crate::world::Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let without_status = |object: &Object| {
        let mut value = object.value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        value
    };
    change.key.kind != Kind::Pod || without_status(old) != without_status(new)
}

async fn send(feed: &Feed, message: Message) -> Option<()> {
    feed.send(Ok(WatchAssignmentsResponse { message: Some(message) })).await.ok()
}

fn gone(key: &Key, uid: &Uid) -> Message {
    Message::Gone(PodGone { namespace: key.namespace.clone(), name: key.name.clone(), uid: uid.0.clone() })
}

/// Runs work with effects to its end even if the caller hangs up.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    // Bounded by the server's concurrency limit, and each kind of work by its own.
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|_| Err(Status::internal("the work was interrupted")))
}

fn invalid(reason: &str, message: &str) -> Status {
    crate::error::invalid_argument(reason, message)
}
