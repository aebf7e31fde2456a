//! The service over real gRPC: codec, effects, fences, status codes and reasons.

use std::sync::Arc;

use api::proto::volume_claim::v1::volume_claim_service_client::VolumeClaimServiceClient;
use api::proto::volume_claim::v1::{DeprovisionRequest, PlanSetRequest, PlanVolumesRequest, ProvisionRequest};
use domain::volume::{VolumesPlan, VolumesRequest};
use domain::{Timestamp, Uid};
use service_kit::clock::SystemClock;
use service_kit::{Channel, Context, Running, ServerConfig, Target};
use tonic::Code;

const UID: &str = "0189b2f4-7c1e-4d3a-9f00-0123456789ab";

struct Service {
    client: VolumeClaimServiceClient<Channel>,
    context: Context,
    running: Running,
}

async fn start(directory: &std::path::Path) -> Service {
    let server = ServerConfig { listen: Some("127.0.0.1:0".parse().unwrap()), ..ServerConfig::default() };
    let config = volume_claim::Config { server, volumes_directory: directory.to_owned() };
    let context = Context { clock: Arc::new(SystemClock), ..Context::default() };
    let running = volume_claim::start(config, context.clone()).await.unwrap();
    let target = Target::Tcp(running.address.unwrap().to_string());
    Service { client: VolumeClaimServiceClient::new(service_kit::connect(&target, None)), context, running }
}

impl Service {
    async fn stop(self) {
        self.context.shutdown.cancel();
        self.running.task.await.unwrap().unwrap();
    }
}

fn provision(operation: &str, generation: u64) -> ProvisionRequest {
    ProvisionRequest {
        operation_id: operation.into(),
        epoch: 1,
        generation,
        volume: format!("pvc-{UID}"),
        claim_uid: UID.into(),
        capacity_bytes: 1 << 30,
        store_id: String::new(),
    }
}

fn deprovision(operation: &str, generation: u64) -> DeprovisionRequest {
    DeprovisionRequest {
        operation_id: operation.into(),
        epoch: 1,
        generation,
        volume: format!("pvc-{UID}"),
        claim_uid: UID.into(),
        store_id: String::new(),
    }
}

#[tokio::test]
async fn a_directory_comes_and_goes_once_per_operation() {
    let place = tempfile::tempdir().unwrap();
    let mut service = start(&place.path().join("volumes")).await;
    let made = service.client.provision(provision("make", 5)).await.unwrap().into_inner();
    let again = service.client.provision(provision("make again", 5)).await.unwrap().into_inner();
    assert_eq!(made.path, again.path);
    assert!(made.free_bytes > 0);
    std::fs::write(std::path::Path::new(&made.path).join("data"), "x").unwrap();
    let removed = service.client.deprovision(deprovision("remove", 6)).await.unwrap().into_inner();
    assert!(removed.done && removed.removed_entries >= 1);
    assert!(!std::path::Path::new(&made.path).exists());
    service.stop().await;
}

#[tokio::test]
async fn what_is_late_is_refused_also_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("volumes");
    let mut service = start(&directory).await;
    service.client.provision(provision("make", 5)).await.unwrap();
    service.stop().await;
    let mut service = start(&directory).await;
    let late = service.client.deprovision(deprovision("late", 4)).await.unwrap_err();
    assert_eq!((late.code(), service_kit::status::reason(&late).as_str()), (Code::Aborted, "FENCED"));
    assert!(directory.join(format!("pvc-{UID}")).is_dir());
    // The same operation again, from a caller that never got its answer: told what was recorded, not done again.
    std::fs::remove_dir_all(directory.join(format!("pvc-{UID}"))).unwrap();
    service.client.provision(provision("make", 5)).await.unwrap();
    assert!(!directory.join(format!("pvc-{UID}")).exists(), "not made a second time");
    // A store that was made anew begins at epoch 1 again; the one before it is refused from then on.
    let anew = ProvisionRequest { store_id: "new".into(), ..provision("make", 1) };
    service.client.provision(anew).await.unwrap();
    assert!(directory.join(format!("pvc-{UID}")).is_dir());
    let anew = ProvisionRequest { store_id: "newer".into(), ..provision("make", 1) };
    service.client.provision(anew).await.unwrap();
    let late = DeprovisionRequest { store_id: "new".into(), epoch: 9, ..deprovision("late", 9) };
    let late = service.client.deprovision(late).await.unwrap_err();
    assert_eq!((late.code(), service_kit::status::reason(&late).as_str()), (Code::Aborted, "FENCED"));
    service.stop().await;
}

#[tokio::test]
async fn names_that_nobody_generated_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let mut service = start(&place.path().join("volumes")).await;
    for volume in ["../../etc", "pvc-../..", "", "pvc-x"] {
        let request = DeprovisionRequest { volume: volume.into(), ..deprovision("remove", 1) };
        let refused = service.client.deprovision(request).await.unwrap_err();
        let reason = service_kit::status::reason(&refused);
        assert_eq!((refused.code(), reason.as_str()), (Code::InvalidArgument, "INVALID_VOLUME"), "{volume:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn plans_cross_the_wire_and_every_violation_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let mut service = start(&place.path().join("volumes")).await;
    let claim = domain::volume::Claim {
        namespace: "default".into(),
        name: "data".into(),
        uid: Uid(UID.into()),
        class: Some("missing".into()),
        ..domain::volume::Claim::default()
    };
    let request = VolumesRequest { claims: vec![claim], now: Timestamp(1), ..VolumesRequest::default() };
    let answer = service.client.plan_volumes(PlanVolumesRequest::from(request.clone())).await.unwrap().into_inner();
    assert_eq!(VolumesPlan::try_from(answer).unwrap(), volume_claim::plan_volumes::plan_volumes(&request));
    let refused = service.client.plan_set(PlanSetRequest::default()).await.unwrap_err();
    let reason = service_kit::status::reason(&refused);
    assert_eq!((refused.code(), reason.as_str()), (Code::InvalidArgument, "INVALID_SNAPSHOT"));
    service.stop().await;
}
