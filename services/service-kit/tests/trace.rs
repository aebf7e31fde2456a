//! Traces of two services in one process, seen from a collector.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::proto::ordinal_scheduler::v1 as scheduler;
use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_client::OrdinalSchedulerServiceClient;
use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_server::{
    OrdinalSchedulerService, OrdinalSchedulerServiceServer,
};
use api::proto::pod_runtime::v1 as runtime;
use api::proto::pod_runtime::v1::pod_runtime_service_client::PodRuntimeServiceClient;
use api::proto::pod_runtime::v1::pod_runtime_service_server::{PodRuntimeService, PodRuntimeServiceServer};
use futures::FutureExt as _;
use futures::stream::BoxStream;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use service_kit::telemetry::{self, Options};
use service_kit::{Channel, Context, Running, Server, ServerConfig, Target, connect};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

/// Spans by the `service.name` of their resource.
type Received = Arc<Mutex<BTreeMap<String, Vec<Span>>>>;

struct Collector(Received);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().expect("no panic");
        for resource_spans in request.into_inner().resource_spans {
            let attributes = resource_spans.resource.expect("a resource").attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name").expect("a name");
            let Some(Value::StringValue(name)) = name.value.and_then(|value| value.value) else { panic!("no text") };
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.entry(name).or_default().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The second hop, and the contexts of the kind B3 that came to it.
struct Runtime(Arc<Mutex<Vec<String>>>);

/// A trace that began in a mesh which speaks B3, and the span that calls us.
const FOREIGN_TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const FOREIGN_SPAN: &str = "e457b5a2e4d86bd1";

#[tonic::async_trait]
impl PodRuntimeService for Runtime {
    type LogsStream = BoxStream<'static, Result<runtime::LogsResponse, Status>>;
    type PortForwardStream = BoxStream<'static, Result<runtime::PortForwardResponse, Status>>;

    async fn list_pods(
        &self,
        request: Request<runtime::ListPodsRequest>,
    ) -> Result<Response<runtime::ListPodsResponse>, Status> {
        let b3 = request.metadata().get("b3").and_then(|b3| b3.to_str().ok()).map(str::to_owned);
        self.0.lock().expect("no panic").extend(b3);
        tracing::info_span!("look").in_scope(|| tracing::info!("looked"));
        Ok(Response::new(runtime::ListPodsResponse::default()))
    }

    async fn logs(&self, _: Request<runtime::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn port_forward(
        &self,
        _: Request<Streaming<runtime::PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn stop_all(
        &self,
        _: Request<runtime::StopAllRequest>,
    ) -> Result<Response<runtime::StopAllResponse>, Status> {
        Err(Status::unavailable("not now"))
    }
}

/// The first hop, which calls the second.
struct Scheduler(PodRuntimeServiceClient<Channel>);

#[tonic::async_trait]
impl OrdinalSchedulerService for Scheduler {
    async fn plan(&self, _: Request<scheduler::PlanRequest>) -> Result<Response<scheduler::PlanResponse>, Status> {
        let mut client = self.0.clone();
        client.list_pods(runtime::ListPodsRequest {}).await?;
        let refused = client.stop_all(runtime::StopAllRequest::default()).await.expect_err("refused");
        assert_eq!(refused.message(), "not now");
        let given_up = client.list_pods(runtime::ListPodsRequest {}).now_or_never();
        assert!(given_up.is_none(), "nobody waits until it is sent");
        Ok(Response::new(scheduler::PlanResponse::default()))
    }
}

async fn serve<F: FnOnce(Server) -> Server>(name: &'static str, add: F, context: &Context) -> Running {
    let config = ServerConfig { listen: Some(([127, 0, 0, 1], 0).into()), ..ServerConfig::default() };
    add(Server::new(name)).bind(&config).await.expect("binds").spawn(context.clone())
}

fn channel(running: &Running) -> Channel {
    connect(&Target::from(running.address.expect("listens")), None)
}

#[tokio::test]
async fn one_trace_crosses_two_hops_and_each_service_has_its_own_spans() {
    let received = Received::default();
    let collector = Collector(Arc::clone(&received));
    let listener = tonic::transport::server::TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let collector = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector));
    let collecting = tokio::spawn(collector.serve_with_incoming(listener));
    let mut options = Options::new("setkeeper");
    options.services = vec!["ordinal-scheduler", "pod-runtime"];
    options.otlp_endpoint = Some(endpoint);
    options.filter = Some("warn".to_owned());
    let logs = tempfile::tempdir().expect("a directory");
    options.log_file = Some(logs.path().join("log"));
    let guard = telemetry::init(&options).expect("sets up");

    let context = Context::default();
    let b3 = Arc::<Mutex<Vec<String>>>::default();
    let second =
        serve("pod-runtime", |server| server.add(PodRuntimeServiceServer::new(Runtime(b3.clone()))), &context).await;
    let client = PodRuntimeServiceClient::new(channel(&second));
    let first = serve(
        "ordinal-scheduler",
        |server| server.add(OrdinalSchedulerServiceServer::new(Scheduler(client))),
        &context,
    )
    .await;

    let root = tracing::info_span!("rollout");
    let kept = root.in_scope(telemetry::current_traceparent).expect("recorded");
    let mut scheduler = OrdinalSchedulerServiceClient::new(channel(&first));
    scheduler.plan(scheduler::PlanRequest::default()).instrument(root).await.expect("two hops");
    let later = tracing::info_span!("resumed");
    telemetry::set_parent(&later, &kept);
    drop(later);
    call_with_b3(&first).await;
    context.shutdown.cancel();
    for running in [first, second] {
        running.task.await.expect("no panic").expect("no error");
    }
    tokio::time::timeout(Duration::from_secs(20), guard.shutdown()).await.expect("bounded");
    collecting.abort();

    let mut received = received.lock().expect("no panic");
    let foreign = taken(&mut received, FOREIGN_TRACE);
    let server = foreign.iter().find(|span| span.kind == 2 && span.name.ends_with("/Plan")).expect("its server span");
    assert_eq!(hex(&server.parent_span_id), FOREIGN_SPAN);
    assert!(foreign.iter().any(|span| span.name == "look"), "it goes on to the second hop");
    let b3 = b3.lock().expect("no panic").clone();
    assert!(b3.len() == 1 && b3[0].starts_with(FOREIGN_TRACE), "B3 goes on where it came from: {b3:?}");

    let all: Vec<&Span> = received.values().flatten().collect();
    let tree = |service: &str| {
        let mut lines: Vec<String> = received[service].iter().map(|span| describe(span, &all)).collect();
        lines.sort();
        lines
    };
    assert!(all.iter().all(|span| span.trace_id == all[0].trace_id), "one trace");
    let log = std::fs::read_to_string(logs.path().join("log")).expect("it is there");
    let look = all.iter().find(|span| span.name == "look").expect("it was recorded");
    let ids = format!("trace_id={} span_id={}", hex(&look.trace_id), hex(&look.span_id));
    assert!(log.lines().any(|line| line.contains("looked") && line.ends_with(&ids)), "{ids} is not in: {log}");
    let plan = "setkeeper.ordinal_scheduler.v1.OrdinalSchedulerService/Plan";
    let list = "setkeeper.pod_runtime.v1.PodRuntimeService/ListPods";
    let stop = "setkeeper.pod_runtime.v1.PodRuntimeService/StopAll";
    assert_eq!(
        tree("setkeeper"),
        [format!("client {plan} < rollout"), "internal resumed < rollout".to_owned(), "internal rollout".to_owned()]
    );
    assert_eq!(
        tree("ordinal-scheduler"),
        [
            format!("client {list} < {plan}"),
            format!("client {list} cancelled < {plan}"),
            format!("client {stop} failed < {plan}"),
            format!("server {plan} < {plan}"),
        ]
    );
    assert_eq!(
        tree("pod-runtime"),
        [
            format!("internal look < {list}"),
            format!("server {list} < {list}"),
            format!("server {stop} failed < {stop}")
        ]
    );
    assert_eq!(received.len(), 3, "{:?}", received.keys());
}

/// A call of somebody who knows nothing of W3C.
async fn call_with_b3(running: &Running) {
    let uri = format!("http://{}", running.address.expect("listens"));
    let channel = tonic::transport::Endpoint::try_from(uri).expect("a URI").connect_lazy();
    let mut request = Request::new(scheduler::PlanRequest::default());
    let b3 = format!("{FOREIGN_TRACE}-{FOREIGN_SPAN}-1").parse().expect("a header");
    request.metadata_mut().insert("b3", b3);
    OrdinalSchedulerServiceClient::new(channel).plan(request).await.expect("two hops");
}

/// Takes out the spans of a trace.
fn taken(received: &mut BTreeMap<String, Vec<Span>>, trace: &str) -> Vec<Span> {
    received.values_mut().flat_map(|spans| spans.extract_if(.., |span| hex(&span.trace_id) == trace)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Kind, name, whether it failed or was cancelled, and the name of the parent.
fn describe(span: &Span, all: &[&Span]) -> String {
    let kind = ["unspecified", "internal", "server", "client"][span.kind as usize];
    let failed = if span.status.as_ref().is_some_and(|status| status.code == 2) { " failed" } else { "" };
    let code = span.attributes.iter().find(|attribute| attribute.key == "rpc.grpc.status_code");
    let code = code.and_then(|code| code.value.as_ref()?.value.as_ref());
    let cancelled = if code == Some(&Value::IntValue(1)) { " cancelled" } else { "" };
    let parent = all.iter().find(|other| other.span_id == span.parent_span_id);
    let parent = parent.map(|parent| format!(" < {}", parent.name)).unwrap_or_default();
    format!("{kind} {}{failed}{cancelled}{parent}", span.name)
}
