//! `grpc.health.v1.Health`: one answer for the whole server, and watches that end when the server ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::status::StatusBuilder;

/// Full name of the health service.
pub(super) const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

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

    /// What was said last.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.serving.borrow()
    }
}

pub(super) struct HealthService {
    health: HealthHandle,
    services: BTreeSet<&'static str>,
    shutdown: CancellationToken,
}

impl HealthService {
    pub(super) fn new(health: HealthHandle, services: BTreeSet<&'static str>, shutdown: CancellationToken) -> Self {
        Self { health, services, shutdown }
    }

    /// The empty name is the server as a whole.
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(service)
    }
}

fn response(serving: bool) -> HealthCheckResponse {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if self.knows(&service) {
            return Ok(Response::new(response(self.health.is_serving())));
        }
        let message = format!("no service {service:?} here; an empty name asks for the server as a whole");
        Err(StatusBuilder::new("health", Code::NotFound, "UNKNOWN_SERVICE", message)
            .resource("Service", service)
            .build())
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let shutdown = self.shutdown.clone();
        if !self.knows(&request.into_inner().service) {
            // The protocol wants a stream that says so, not an error, because services may come later.
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            let stream = stream::iter([Ok(unknown)]).chain(stream::pending());
            return Ok(Response::new(stream.take_until(shutdown.cancelled_owned()).boxed()));
        }
        let changes = WatchStream::new(self.health.serving.subscribe()).map(|serving| Ok(response(serving)));
        let last = stream::iter([Ok(response(false))]);
        Ok(Response::new(changes.take_until(shutdown.cancelled_owned()).chain(last).boxed()))
    }
}
