//! The service over real gRPC.

use std::net::{Ipv4Addr, SocketAddr};

use api::proto::ordinal_scheduler::v1::PlanRequest;
use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_client::OrdinalSchedulerServiceClient;
use domain::{OrdinalPlan, OrdinalRequest, RevisionName, SetRef, SetSpec, Snapshot, TargetRange, Uid};
use ordinal_scheduler::Config;
use service_kit::{Channel, Context, Running, ServerConfig, Target, connect};
use tonic::Code;
use tonic_types::StatusExt as _;

async fn started(context: &Context) -> (Running, OrdinalSchedulerServiceClient<Channel>) {
    let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let config = Config { server: ServerConfig { listen, ..ServerConfig::default() } };
    let running = ordinal_scheduler::start(config, context.clone()).await.expect("starts");
    let address = running.address.expect("listens over TCP");
    let client = OrdinalSchedulerServiceClient::new(connect(&Target::Tcp(address.to_string()), None));
    (running, client)
}

#[tokio::test]
async fn answers_are_the_planners() {
    let context = Context::default();
    let (running, mut client) = started(&context).await;
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
    let spec = SetSpec { replicas: 3, ..SetSpec::default() };
    let targets =
        vec![TargetRange { first: spec.start, last: spec.last().expect("3"), revision: RevisionName("A".into()) }];
    let request = OrdinalRequest { snapshot: Snapshot { set, spec, ..Snapshot::default() }, targets };
    let answer = client.plan(PlanRequest::from(request.clone())).await.expect("an answer").into_inner();
    assert_eq!(OrdinalPlan::try_from(answer), Ok(ordinal_scheduler::plan::plan(&request)));
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("ends well");
}

#[tokio::test]
async fn everything_wrong_is_said_at_once() {
    let context = Context::default();
    let (running, mut client) = started(&context).await;
    let error = client.plan(PlanRequest::default()).await.expect_err("refused");
    assert_eq!(error.code(), Code::InvalidArgument);
    let details = error.get_error_details();
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("INVALID_SNAPSHOT"));
    assert_eq!(details.bad_request().map(|request| request.field_violations[0].field.as_str()), Some("snapshot"));
    let halves =
        PlanRequest { snapshot: Some(api::proto::planning::v1::Snapshot::default()), ..PlanRequest::default() };
    let error = client.plan(halves).await.expect_err("refused");
    let violations = error.get_error_details().bad_request().map_or(0, |request| request.field_violations.len());
    assert_eq!(violations, 4, "{error:?}");
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("ends well");
}
