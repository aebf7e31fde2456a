//! The gRPC service: decode, call, encode.

use std::sync::Arc;

use api::convert::Violations;
use api::proto::volume_claim::v1::volume_claim_service_server::{VolumeClaimService, VolumeClaimServiceServer};
use api::proto::volume_claim::v1::{
    DeprovisionRequest, DeprovisionResponse, PlanSetRequest, PlanSetResponse, PlanVolumesRequest, PlanVolumesResponse,
    ProvisionRequest, ProvisionResponse,
};
use domain::volume::{SetClaimsRequest, VolumesRequest};
use prost::Message;
use service_kit::effects::{Effects, Fence};
use service_kit::status::StatusBuilder;
use service_kit::{Context, Error, Running, Server, process, sized_server};
use tonic::{Request, Response, Status};

use crate::NAME;
use crate::config::Config;
use crate::directories::{Directories, DirectoryError, VolumeName};

/// Reason of errors about what planners are asked.
const INVALID_SNAPSHOT: &str = "INVALID_SNAPSHOT";

/// Opens the volumes directory and serves.
///
/// # Errors
/// Where the directory cannot be made or used, its log of operations is damaged, or the address cannot be bound.
pub async fn start(config: Config, context: Context) -> Result<Running, Error> {
    let directory = config.volumes_directory.clone();
    let opened = process::blocking(move || {
        let directories = Directories::open(&directory).map_err(|error| failed(&error))?;
        let effects = Effects::open(&directories.operations_path()).map_err(|error| failed(&error))?;
        Ok::<_, Error>((directories, effects))
    });
    let (directories, effects) = opened.await.map_err(|error| failed(&error))??;
    let service = Service { directories: Arc::new(directories), effects };
    let server = Server::new(NAME).add(sized_server!(VolumeClaimServiceServer::new(service)));
    Ok(server.bind_in(&context, &config.server).await?.spawn(context))
}

fn invalid_snapshot(violations: Violations) -> Status {
    StatusBuilder::invalid(NAME, INVALID_SNAPSHOT, &violations)
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::start(NAME, service_kit::status::chain(error))
}

#[derive(Debug)]
struct Service {
    directories: Arc<Directories>,
    effects: Effects,
}

impl Service {
    /// Does blocking work once per operation id, whatever becomes of the caller.
    async fn effect<T, F>(&self, volume: &VolumeName, operation_id: &str, fence: Fence, work: F) -> Result<T, Status>
    where
        T: Message + Default + 'static,
        F: FnOnce(&Directories) -> Result<T, DirectoryError> + Send + 'static,
    {
        let directories = self.directories.clone();
        let work = async move {
            let done = process::blocking(move || work(&directories)).await;
            let answer = done.map_err(|_| Status::internal("the operation was lost; the log says more"))??;
            Ok(answer.encode_to_vec().into())
        };
        let answer = self.effects.run_for(volume.as_str(), operation_id, fence, work).await?;
        T::decode(answer).map_err(|_| Status::internal("a recorded result cannot be read"))
    }
}

#[tonic::async_trait]
impl VolumeClaimService for Service {
    async fn plan_set(&self, request: Request<PlanSetRequest>) -> Result<Response<PlanSetResponse>, Status> {
        let request = SetClaimsRequest::try_from(request.into_inner()).map_err(invalid_snapshot)?;
        Ok(Response::new(crate::plan_set::plan_set(&request).into()))
    }

    async fn plan_volumes(
        &self,
        request: Request<PlanVolumesRequest>,
    ) -> Result<Response<PlanVolumesResponse>, Status> {
        let request = VolumesRequest::try_from(request.into_inner()).map_err(invalid_snapshot)?;
        let plan = process::blocking(move || crate::plan_volumes::plan_volumes(&request)).await;
        let plan = plan.map_err(|_| Status::internal("planning failed; the log says more"))?;
        Ok(Response::new(plan.into()))
    }

    async fn provision(&self, request: Request<ProvisionRequest>) -> Result<Response<ProvisionResponse>, Status> {
        let request = request.into_inner();
        let volume = VolumeName::parse(&request.volume, &request.claim_uid)?;
        let fence = Fence { store: request.store_id, epoch: request.epoch, generation: request.generation };
        let (name, capacity) = (volume.clone(), request.capacity_bytes);
        let work = move |directories: &Directories| {
            let path = directories.provision(&name, capacity)?;
            let path = path.to_string_lossy().into_owned();
            Ok(ProvisionResponse { path, free_bytes: directories.free_bytes() })
        };
        self.effect(&volume, &request.operation_id, fence, work).await.map(Response::new)
    }

    async fn deprovision(&self, request: Request<DeprovisionRequest>) -> Result<Response<DeprovisionResponse>, Status> {
        let request = request.into_inner();
        let volume = VolumeName::parse(&request.volume, &request.claim_uid)?;
        let fence = Fence { store: request.store_id, epoch: request.epoch, generation: request.generation };
        let name = volume.clone();
        let work = move |directories: &Directories| {
            let step = directories.deprovision(&name)?;
            Ok(DeprovisionResponse { done: step.done, removed_entries: step.removed_entries })
        };
        self.effect(&volume, &request.operation_id, fence, work).await.map(Response::new)
    }
}
