//! `grpc.health.v1.Health`: what probes, balancers and people ask a server.
//!
//! | name that is asked for | what SERVING says |
//! |---|---|
//! | empty | the process lives: for liveness probes. True until the very end |
//! | name of the server (`coordinator`) or of one of its gRPC services | it takes calls: for readiness probes and balancers. Turns before a drain begins |
//! | `setkeeper.dependency.NAME` | a service that this one calls takes calls, or one of its replicas does, asked there and then |
//! | what else a server tells of ([`Server::tells`](super::Server::tells)) | the same as its readiness, and that this is true |
//!
//! A dependency that is away makes nobody unready: what needs it waits, everything else goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, FuturesUnordered};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::client::readiness;
use crate::status::StatusBuilder;
use crate::{Channel, Context};

/// Full name of the health service.
pub(super) const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// Begins the names of dependencies.
const DEPENDENCY_PREFIX: &str = "setkeeper.dependency.";

/// How often a dependency is asked anew for those who watch it.
const DEPENDENCY_INTERVAL: Duration = Duration::from_secs(5);

/// Says whether a server can do its work. Clones speak of the same server.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    serving: Arc<watch::Sender<bool>>,
}

impl HealthHandle {
    pub(super) fn new(serving: bool) -> Self {
        Self { serving: Arc::new(watch::Sender::new(serving)) }
    }

    /// Says whether the service can do its work now. Whoever watches learns of it.
    pub fn set_serving(&self, serving: bool) {
        self.serving.send_if_modified(|current| std::mem::replace(current, serving) != serving);
    }

    /// What was said last, and what will be.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }

    /// What was said last.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.serving.borrow()
    }
}

/// What a name stands for.
enum Subject {
    Process,
    Readiness,
    /// Readiness, where this holds.
    Told(watch::Receiver<bool>),
    Dependency(&'static str, Box<Channel>),
}

pub(super) struct HealthService {
    pub(super) name: &'static str,
    pub(super) health: HealthHandle,
    pub(super) services: BTreeSet<&'static str>,
    pub(super) told: Vec<(&'static str, watch::Receiver<bool>)>,
    pub(super) dependencies: Vec<(&'static str, Channel)>,
    pub(super) context: Context,
}

impl HealthService {
    fn subject(&self, asked: &str) -> Option<Subject> {
        if asked.is_empty() {
            return Some(Subject::Process);
        }
        if asked == self.name || self.services.contains(asked) {
            return Some(Subject::Readiness);
        }
        if let Some((_, told)) = self.told.iter().find(|(name, _)| *name == asked) {
            return Some(Subject::Told(told.clone()));
        }
        let dependency = asked.strip_prefix(DEPENDENCY_PREFIX)?;
        let found = self.dependencies.iter().find(|(name, _)| *name == dependency)?;
        Some(Subject::Dependency(found.0, Box::new(found.1.clone())))
    }

    fn unknown(&self, asked: String) -> Status {
        let dependencies = self.dependencies.iter().map(|(name, _)| format!(", {DEPENDENCY_PREFIX}{name}"));
        let told = self.told.iter().map(|(name, _)| *name);
        let known = self.services.iter().copied().chain(told).map(|name| format!(", {name}"));
        let known: String = known.chain(dependencies).collect();
        let message = format!("no service {asked:?} here: ask for an empty name, or for {}{known}", self.name);
        StatusBuilder::new("health", Code::NotFound, "UNKNOWN_SERVICE", message).resource("Service", asked).build()
    }
}

fn response(serving: bool) -> HealthCheckResponse {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

/// Whether one replica takes calls: one that hangs must not speak for all.
async fn serves(name: &str, channel: Channel) -> bool {
    let replicas = channel.each().await.unwrap_or_default();
    let mut answers: FuturesUnordered<_> = replicas.into_iter().map(|replica| readiness(replica, name)).collect();
    while let Some(answer) = answers.next().await {
        if answer.unwrap_or(false) {
            return true;
        }
    }
    false
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let asked = request.into_inner().service;
        let serving = match self.subject(&asked) {
            None => return Err(self.unknown(asked)),
            Some(Subject::Process) => true,
            Some(Subject::Readiness) => self.health.is_serving(),
            Some(Subject::Told(told)) => self.health.is_serving() && *told.borrow(),
            Some(Subject::Dependency(name, channel)) => serves(name, *channel).await,
        };
        Ok(Response::new(response(serving)))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let shutdown = self.context.shutdown.clone();
        let changes = match self.subject(&request.into_inner().service) {
            None => {
                // The protocol wants a stream that says so, not an error, because services may come later.
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                let stream = stream::iter([Ok(unknown)]).chain(stream::pending());
                return Ok(Response::new(stream.take_until(shutdown.cancelled_owned()).boxed()));
            }
            Some(Subject::Process) => stream::iter([true]).chain(stream::pending()).boxed(),
            Some(Subject::Readiness) => WatchStream::new(self.health.subscribe()).boxed(),
            Some(Subject::Told(told)) => both(self.health.subscribe(), told),
            Some(Subject::Dependency(name, channel)) => follow(name, *channel, self.context.clone()),
        };
        let last = stream::iter([Ok(response(false))]);
        let changes = changes.take_until(shutdown.cancelled_owned()).map(|serving| Ok(response(serving)));
        Ok(Response::new(changes.chain(last).boxed()))
    }
}

/// Whether both hold, at first and whenever that changes.
fn both(one: watch::Receiver<bool>, other: watch::Receiver<bool>) -> BoxStream<'static, bool> {
    stream::unfold((one, other, None), |(mut one, mut other, before)| async move {
        loop {
            // Both are looked at, whatever the first says: what was not seen would count as changed again.
            let now = *one.borrow_and_update() & *other.borrow_and_update();
            if before != Some(now) {
                return Some((now, (one, other, Some(now))));
            }
            let changed = tokio::select! { changed = one.changed() => changed, changed = other.changed() => changed };
            changed.ok()?;
        }
    })
    .boxed()
}

/// How a dependency is, at first and whenever that changes.
fn follow(name: &'static str, channel: Channel, context: Context) -> BoxStream<'static, bool> {
    stream::unfold(None, move |before: Option<bool>| {
        let (channel, context) = (channel.clone(), context.clone());
        async move {
            loop {
                if before.is_some() {
                    context.clock.sleep(DEPENDENCY_INTERVAL).await;
                }
                let now = serves(name, channel.clone()).await;
                if before != Some(now) {
                    return Some((now, Some(now)));
                }
            }
        }
    })
    .boxed()
}
