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
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use service_kit::Context;
use service_kit::status::StatusBuilder;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};
use tracing::Instrument as _;

use super::assignments::{assignment, concerned, is_assigned};
use super::report::{Report, Reports};
use crate::error::SERVICE;
use crate::events::{self, Event};
use crate::machines::presence::Presence;
use crate::machines::{self, fence};
use crate::objects::{object_mut, set_condition, time_text};
use crate::store::CommitError;
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
    /// Which machines are there.
    pub(crate) presence: Arc<Presence>,
    /// Stores that this one was restored from.
    pub(crate) former_stores: Vec<String>,
}

/// Tries of one registration against others of the same name.
const TRIES_MAX: u32 = 16;

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
        // From here on it is not fenced, whatever somebody knew of it before.
        self.presence.heard(&node.name);
        let this = self.clone();
        detached(async move {
            for _ in 0..TRIES_MAX {
                match this.register(&node).await {
                    Err(CommitError::Conflict { .. }) => {}
                    done => return done.map_err(crate::error::commit_status),
                }
            }
            Err(crate::api::busy(&Key::new(Kind::Node, "", &node.name)))
        })
        .await?;
        Ok(Response::new(RegisterNodeResponse {
            store_id: self.world.store_id().to_owned(),
            former_store_ids: self.former_stores.clone(),
            cluster_domain: self.cluster_domain.clone(),
            dns_address: self.dns_address.clone(),
        }))
    }

    async fn watch_assignments(
        &self,
        request: Request<WatchAssignmentsRequest>,
    ) -> Result<Response<Self::WatchAssignmentsStream>, Status> {
        let node = request.into_inner().node;
        let key = Key::new(Kind::Node, "", &node);
        if self.world.get(&key).is_none() {
            return Err(Status::not_found(format!("machine {node:?} has not registered")));
        }
        // From here on nobody can fence it.
        let there = self.presence.enter(&node);
        if self.world.get(&key).is_some_and(|machine| fence::is_fenced(&machine)) {
            let message = format!("machine {node:?} was fenced after it had registered: register again");
            let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "NODE_FENCED", message.clone());
            return Err(status.precondition("NODE", &node, message).build());
        }
        let (feed, receiver) = mpsc::channel(FEED_BUFFERED_MAX);
        let this = self.clone();
        // Owned by its receiver: it ends when the machine hangs up, or at shutdown.
        tokio::spawn(async move {
            let _there = there;
            let shutdown = this.context.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => {
                    // Who is gone need not know.
                    let _ = feed.send(Err(service_kit::status::shutting_down(crate::error::SERVICE))).await;
                }
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
        let report = Report::new(&request).map_err(crate::error::report_status)?;
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
        for (field, text) in [("namespace", &request.namespace), ("name", &request.name)] {
            is_dns_subdomain(text).map_err(|why| invalid("INVALID_EVENT", &format!("{field}: {text:?}: {why}")))?;
        }
        let event = Event { warning: request.r#type == "Warning", reason: request.reason, message: request.message };
        let key = Key::new(Kind::Pod, &request.namespace, &request.name);
        let (world, now) = (self.world.clone(), self.context.clock.now());
        detached(async move {
            let said = events::say(&world, (&key, &request.uid), "pod-runtime", &event, now).await;
            said.map_err(crate::error::commit_status)
        })
        .await?;
        Ok(Response::new(ReportEventResponse {}))
    }
}

impl Nodes {
    /// What was said of the machine before is over, a fence included: its runtime is there. Of the pods that were released
    /// it does not hear, so that it ends what it has left of them.
    async fn register(&self, node: &RegisterNodeRequest) -> Result<(), CommitError> {
        let key = Key::new(Kind::Node, "", &node.name);
        let old = self.world.get(&key);
        let text = |pointer: &str| old.as_ref().map(|old| old.text(pointer).to_owned()).filter(|text| !text.is_empty());
        let now = self.context.clock.now();
        let created = || time_text(now);
        let mut value = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node.name,
                "uid": text("/metadata/uid").unwrap_or_else(service_kit::random::uid),
                "creationTimestamp": text("/metadata/creationTimestamp").unwrap_or_else(created),
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
        let conditions = old.as_ref().and_then(|old| old.value.pointer("/status/conditions")).cloned();
        let status = object_mut(&mut value, "status");
        status.extend(conditions.map(|conditions| ("conditions".to_owned(), conditions)));
        set_condition(status, "Ready", "True", machines::REGISTERED, now);
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
        self.world.commit(transaction).await.map(drop)
    }

    /// Sends everything, then changes, until the machine hangs up.
    async fn feed(&self, node: &str, feed: &Feed) -> Option<()> {
        let mut commits = self.world.subscribe();
        let mut told = self.send_all(node, feed).await?;
        loop {
            let commit = tokio::select! {
                biased;
                Some((key, uid)) = told.stopping.next() => {
                    told.withdrawing.remove(&key);
                    self.send_stopping(feed, &key, &uid).await?;
                    continue;
                }
                commit = commits.recv() => commit,
            };
            match commit {
                Ok(commit) => self.send_changes(node, feed, &commit, &mut told).await?,
                Err(RecvError::Lagged(_)) => {
                    // What was missed may include deletions: everything anew, and what is no longer there.
                    let fresh = self.send_all(node, feed).await?;
                    for (key, uid) in told.sent.iter().filter(|(key, uid)| fresh.sent.get(key) != Some(uid)) {
                        send(feed, gone(key, uid)).await?;
                    }
                    told = fresh;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Sends every pod, then says so. The names of all that are to stop are waited for together and before: a machine
    /// that is not told of a pod until then would take it for one that is gone.
    async fn send_all(&self, node: &str, feed: &Feed) -> Option<Told> {
        let here = |pod: &Arc<Object>| is_assigned(pod, node);
        let stopping: Vec<_> = self.world.list(Kind::Pod, None).into_iter().filter(here).collect();
        let stopping: Vec<_> = stopping.into_iter().filter(|pod| pod.deleting()).collect();
        futures::future::join_all(stopping.iter().map(|pod| withdrawn(self.clone(), pod.clone()))).await;
        let (revision, assignments) = self.world.view(|view| {
            let pods = view.list(Kind::Pod, None).into_iter().filter(here);
            let assignments: Vec<_> = pods.map(|pod| (assignment(view, &pod), pod)).collect();
            (view.revision(), assignments)
        });
        let mut told = Told::default();
        for (assignment, pod) in assignments {
            send(feed, Message::Assignment(assignment)).await?;
            told.sent.insert(pod.key.clone(), pod.uid());
        }
        send(feed, Message::Synced(Synced { revision: revision.0 })).await?;
        Some(told)
    }

    async fn send_changes(&self, node: &str, feed: &Feed, commit: &Commit, told: &mut Told) -> Option<()> {
        for change in &commit.changes {
            let was = change.old.as_ref().filter(|_| change.key.kind == Kind::Pod);
            let replaced = |old: &&Arc<Object>| change.new.as_ref().is_none_or(|new| new.uid() != old.uid());
            if let Some(old) = was.filter(replaced) {
                told.end(feed, &change.key, &old.uid()).await?;
            }
            if !matters(change) {
                continue;
            }
            let assignments = self.world.view(|view| {
                let pods = concerned(view, node, change).into_iter();
                pods.map(|pod| (assignment(view, &pod), pod)).collect::<Vec<_>>()
            });
            for (assignment, pod) in assignments {
                // What is read here may be newer than this change: its predecessor ends first.
                if let Some(before) = told.sent.get(&pod.key).filter(|before| **before != pod.uid()).cloned() {
                    told.end(feed, &pod.key, &before).await?;
                }
                told.sent.insert(pod.key.clone(), pod.uid());
                if !pod.deleting() || told.stops(self, &pod) {
                    send(feed, Message::Assignment(assignment)).await?;
                }
            }
        }
        Some(())
    }

    /// Tells that a pod is to stop, now that its names are withdrawn.
    async fn send_stopping(&self, feed: &Feed, key: &Key, uid: &Uid) -> Option<()> {
        let now = self.world.view(|view| {
            let pod = view.get(key).filter(|pod| pod.uid() == *uid)?;
            Some(assignment(view, &pod))
        });
        match now {
            Some(assignment) => send(feed, Message::Assignment(assignment)).await,
            // Its end is on its way.
            None => Some(()),
        }
    }
}

type Stopping = BoxFuture<'static, (Key, Uid)>;

/// What one machine was told.
#[derive(Default)]
struct Told {
    sent: HashMap<Key, Uid>,
    /// Pods whose deletion is kept back until their names are withdrawn; the others do not wait for them.
    withdrawing: HashMap<Key, Uid>,
    stopping: FuturesUnordered<Stopping>,
}

impl Told {
    /// Tells that an incarnation is gone, if the machine knows it.
    async fn end(&mut self, feed: &Feed, key: &Key, uid: &Uid) -> Option<()> {
        if self.sent.get(key) != Some(uid) {
            return Some(());
        }
        self.sent.remove(key);
        self.withdrawing.remove(key);
        send(feed, gone(key, uid)).await
    }

    /// Whether a deleted pod may be told to stop now; if not, it will be.
    fn stops(&mut self, nodes: &Nodes, pod: &Arc<Object>) -> bool {
        if nodes.reports.names.is_published(pod.version) {
            return self.withdrawing.get(&pod.key) != Some(&pod.uid());
        }
        if self.withdrawing.insert(pod.key.clone(), pod.uid()) != Some(pod.uid()) {
            let waiting = withdrawn(nodes.clone(), pod.clone());
            let which = (pod.key.clone(), pod.uid());
            self.stopping.push(waiting.map(|()| which).boxed());
        }
        false
    }
}

/// Returns when a deleted pod's names are withdrawn, or the bounded wait for that is over.
async fn withdrawn(nodes: Nodes, pod: Arc<Object>) {
    if nodes.reports.names.wait_published(pod.version, WITHDRAW_WAIT_MAX).await {
        return;
    }
    tracing::warn!(namespace = pod.key.namespace, pod = pod.key.name, "names are not withdrawn in time");
    let message = "names were not withdrawn before the pod was stopped: identity-dns does not answer";
    let event = Event::warning("NamesNotWithdrawn", message);
    let now = nodes.context.clock.now();
    if let Err(error) = events::say(&nodes.world, (&pod.key, &pod.uid().0), "coordinator", &event, now).await {
        tracing::warn!(%error, "an event could not be stored");
    }
}

/// Whether a change can mean anything to a machine. The machine's own reports do not come back to it.
fn matters(change: &crate::world::Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    change.key.kind != Kind::Pod || !same_but(&old.value, &new.value, &["status"])
}

/// Whether two objects agree in all but some fields and the version.
fn same_but(old: &Value, new: &Value, fields: &[&str]) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    let counts = |field: &&String| !fields.contains(&field.as_str());
    let same = |field: &String| match (old.get(field), new.get(field)) {
        (Some(old), Some(new)) if field == "metadata" => same_but(old, new, &["resourceVersion"]),
        (old, new) => old == new,
    };
    old.keys().chain(new.keys()).filter(counts).all(same)
}

async fn send(feed: &Feed, message: Message) -> Option<()> {
    feed.send(Ok(WatchAssignmentsResponse { message: Some(message) })).await.ok()
}

fn gone(key: &Key, uid: &Uid) -> Message {
    Message::Gone(PodGone { namespace: key.namespace.clone(), name: key.name.clone(), uid: uid.0.clone() })
}

/// Runs work with effects to its end even if the caller hangs up.
///
/// There is no record of finished operations: every call of the public API says what should be, compares it with what
/// is, and changes nothing where they agree, so that repeating it is safe. A delete that must not hit a later
/// incarnation carries a uid.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    // Bounded by the server's concurrency limit, and each kind of work by its own.
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|_| Err(Status::internal("the work was interrupted")))
}

fn invalid(reason: &str, message: &str) -> Status {
    crate::error::invalid_argument(reason, message)
}
