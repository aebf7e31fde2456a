//! Decisions and events: said when there is something to say, bounded, and without secrets. And the drain.

use api::proto::coordinator::v1::node_service_client::NodeServiceClient;
use api::proto::coordinator::v1::system_service_client::SystemServiceClient;
use api::proto::coordinator::v1::{DrainRequest, ReportEventRequest};
use api::proto::pod_runtime::v1::pod_runtime_service_server::{PodRuntimeService, PodRuntimeServiceServer};
use api::proto::pod_runtime::v1::{
    ListPodsRequest, ListPodsResponse, LogsRequest, LogsResponse, PortForwardRequest, PortForwardResponse,
    StopAllRequest, StopAllResponse,
};
use serde_json::json;
use service_kit::{Context, Server, ServerConfig};
use support::until;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::machine::NODE;
use crate::{Machine, Plane, reason, set};

#[tokio::test(flavor = "multi_thread")]
async fn decisions_say_what_changed_once_and_are_bounded() {
    let plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.complete("web", 1).await;
    let decisions = plane.list("decisions").await;
    for decision in &decisions {
        let steps = decision["steps"].as_array().map_or(0, Vec::len);
        let number = decision["number"].as_u64().unwrap();
        let before = decisions.iter().find(|other| other["number"].as_u64() == Some(number - 1));
        let news = before.is_none_or(|before| before["waits"] != decision["waits"]);
        assert!(steps > 0 || news, "{decision}");
    }
    let created = decisions.iter().filter(|one| one["steps"].to_string().contains("create Pod")).count();
    assert_eq!(created, 1, "{decisions:?}");
    for round in 0..60 {
        plane.scale("web", 2 - round % 2).await;
        plane.complete("web", if round % 2 == 0 { 2 } else { 1 }).await;
    }
    let decisions = plane.list("decisions").await;
    assert_eq!(decisions.len(), 50);
    let numbers: Vec<_> = decisions.iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    drop(machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_events_are_counted_and_bad_ones_refused() {
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    plane.apply(&[set("web", 1, json!({}))]).await;
    plane.complete("web", 1).await;
    let uid = plane.uid("pod", "web-0").await;
    let event = ReportEventRequest {
        node: NODE.into(),
        namespace: "default".into(),
        name: "web-0".into(),
        uid,
        r#type: "Warning".into(),
        reason: "Unhealthy".into(),
        message: "m".repeat(5000),
    };
    let mut client = NodeServiceClient::new(plane.channel());
    for _ in 0..3 {
        client.report_event(event.clone()).await.unwrap();
    }
    let events = plane.list("events").await;
    let said: Vec<_> = events.iter().filter(|event| event["reason"] == "Unhealthy").collect();
    assert_eq!((said.len(), &said[0]["count"]), (1, &json!(3)));
    assert_eq!(said[0]["message"].as_str().unwrap().len(), 1024);
    let uid = said[0]["metadata"]["uid"].clone();
    // Several at once count each as well, and it stays the same event.
    let at_once = (0..8).map(|_| {
        let (mut client, event) = (client.clone(), event.clone());
        async move { client.report_event(event).await }
    });
    futures::future::try_join_all(at_once).await.unwrap();
    let events = plane.list("events").await;
    let said: Vec<_> = events.iter().filter(|event| event["reason"] == "Unhealthy").collect();
    assert_eq!((said.len(), &said[0]["count"], &said[0]["metadata"]["uid"]), (1, &json!(11), &uid));
    let nonsense = ReportEventRequest { name: "a/../b".into(), ..event };
    assert_eq!(reason(&client.report_event(nonsense).await.unwrap_err()), "INVALID_EVENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_out_of_decisions_events_and_revisions() {
    const SECRET: &str = "aHVudGVyMi1ub2JvZHktbWF5LXJlYWQtdGhpcw==";
    let plane = Plane::start().await;
    let _machine = Machine::eager(&plane).await;
    let mut web = set("web", 1, json!({}));
    let spec = &mut web["spec"]["template"]["spec"];
    spec["volumes"] = json!([{ "name": "keys", "secret": { "secretName": "keys" } }]);
    let keys = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" }, "data": { "a": SECRET } });
    plane.apply(&[keys, web]).await;
    plane.complete("web", 1).await;
    assert_eq!(plane.get("secret", "keys").await.unwrap()["data"]["a"], SECRET);
    for kind in ["decisions", "events", "controllerrevisions", "pods", "sts"] {
        let said = format!("{:?}", plane.list(kind).await);
        assert!(!said.contains(SECRET), "{kind}: {said}");
    }
}

/// A runtime that has stopped everything as soon as it is asked.
struct Runtime;

#[tonic::async_trait]
impl PodRuntimeService for Runtime {
    type LogsStream = ReceiverStream<Result<LogsResponse, Status>>;

    async fn list_pods(&self, _: Request<ListPodsRequest>) -> Result<Response<ListPodsResponse>, Status> {
        Ok(Response::new(ListPodsResponse::default()))
    }

    async fn logs(&self, _: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        Err(Status::not_found("no logs here"))
    }

    type PortForwardStream = ReceiverStream<Result<PortForwardResponse, Status>>;

    async fn port_forward(
        &self,
        _: Request<Streaming<PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        Err(Status::not_found("no pods here"))
    }

    async fn stop_all(&self, _: Request<StopAllRequest>) -> Result<Response<StopAllResponse>, Status> {
        Ok(Response::new(StopAllResponse { stopped: 0 }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_stops_in_order_keeps_every_object_and_the_next_start_brings_them_back() {
    let mut plane = Plane::start().await;
    let machine = Machine::eager(&plane).await;
    let server = ServerConfig { unix_socket: Some(plane.socket("runtime")), ..ServerConfig::default() };
    let context = Context::default();
    let runtime = Server::new("pod-runtime").add(PodRuntimeServiceServer::new(Runtime)).bind(&server).await.unwrap();
    let _end = context.shutdown.clone().drop_guard();
    let _running = runtime.spawn(context);
    plane.apply(&[set("web", 3, json!({}))]).await;
    plane.complete("web", 3).await;
    let mut drain = SystemServiceClient::new(plane.channel()).drain(DrainRequest {}).await.unwrap().into_inner();
    let mut last = None;
    while let Some(progress) = drain.next().await {
        last = Some(progress.unwrap().remaining);
    }
    assert_eq!(last, Some(0));
    assert_eq!(machine.stopped(), ["web-2", "web-1", "web-0"]);
    assert_eq!(plane.pods().await, Vec::<String>::new());
    assert_eq!(plane.get("sts", "web").await.unwrap()["spec"]["replicas"], 3);
    plane.stop("coordinator").await;
    plane.begin("coordinator").await;
    plane.complete("web", 3).await;
    until("it said so", || async {
        if machine.ran().len() == 6 { Ok(()) } else { Err(format!("{:?}", machine.ran())) }
    })
    .await;
}
