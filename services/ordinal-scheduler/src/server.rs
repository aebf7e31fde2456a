//! The gRPC service: decode, call, encode.

use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_server::OrdinalSchedulerService;
use api::proto::ordinal_scheduler::v1::{PlanRequest, PlanResponse};
use domain::OrdinalRequest;
use service_kit::status::StatusBuilder;
use tonic::{Request, Response, Status};

use crate::NAME;
use crate::plan::plan;

/// Reason of a request that does not describe a set.
const INVALID_SNAPSHOT: &str = "INVALID_SNAPSHOT";

/// Answers from the request alone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planner;

#[tonic::async_trait]
impl OrdinalSchedulerService for Planner {
    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let request = OrdinalRequest::try_from(request.into_inner());
        let request = request.map_err(|violations| StatusBuilder::invalid(NAME, INVALID_SNAPSHOT, &violations))?;
        let plan = plan(&request);
        tracing::debug!(
            namespace = request.snapshot.set.namespace,
            set = request.snapshot.set.name,
            generation = request.snapshot.generation.0,
            creations = plan.create.len(),
            deletions = plan.delete.len(),
            waits = plan.waits.len(),
            "planned ordinals"
        );
        let pods = request.snapshot.pods.count();
        let set_uid = request.snapshot.set.uid.0;
        Ok(Response::new(PlanResponse { pods, set_uid, ..plan.into() }))
    }
}
