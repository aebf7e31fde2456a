//! The service over real gRPC.

use std::net::{Ipv4Addr, SocketAddr};

use api::proto::update_planner::v1::PlanRequest;
use api::proto::update_planner::v1::update_planner_service_client::UpdatePlannerServiceClient;
use domain::{SetRef, SetSpec, Snapshot, Uid, UpdatePlan, UpdateRequest};
use service_kit::{Channel, Context, Running, ServerConfig, Target, connect};
use tonic::Code;
use tonic_types::StatusExt as _;
use update_planner::Config;

async fn started(context: &Context) -> (Running, UpdatePlannerServiceClient<Channel>) {
    let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let config = Config { server: ServerConfig { listen, ..ServerConfig::default() } };
    let running = update_planner::start(config, context.clone()).await.expect("starts");
    let address = running.address.expect("listens over TCP");
    let client = UpdatePlannerServiceClient::new(connect(&Target::Tcp(address.to_string()), None));
    (running, client)
}

#[tokio::test]
async fn answers_are_the_planners() {
    let context = Context::default();
    let (running, mut client) = started(&context).await;
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
    let spec = SetSpec { replicas: 3, ..SetSpec::default() };
    let snapshot = Snapshot { set, spec, ..Snapshot::default() };
    let request = UpdateRequest { snapshot, template: "{}".into(), ..UpdateRequest::default() };
    let answer = client.plan(PlanRequest::from(request.clone())).await.expect("an answer").into_inner();
    assert_eq!(UpdatePlan::try_from(answer), Ok(update_planner::plan::plan(&request)));
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
    let violations = details.bad_request().map_or(&[][..], |request| &request.field_violations[..]);
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["snapshot", "template"]);
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("ends well");
}
