//! The gRPC service: decode, call, encode.

use api::proto::update_planner::v1::update_planner_service_server::UpdatePlannerService;
use api::proto::update_planner::v1::{PlanRequest, PlanResponse};
use domain::UpdateRequest;
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
impl UpdatePlannerService for Planner {
    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let request = UpdateRequest::try_from(request.into_inner());
        let request = request.map_err(|violations| StatusBuilder::invalid(NAME, INVALID_SNAPSHOT, &violations))?;
        let plan = plan(&request);
        tracing::debug!(
            namespace = request.snapshot.set.namespace,
            set = request.snapshot.set.name,
            generation = request.snapshot.generation.0,
            revisions = plan.revisions.len(),
            deletions = plan.replace.len(),
            waits = plan.waits.len(),
            "planned update"
        );
        let pods = request.snapshot.pods.count();
        let set_uid = request.snapshot.set.uid.0;
        Ok(Response::new(PlanResponse { pods, set_uid, ..plan.into() }))
    }
}
