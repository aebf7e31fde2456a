//! The whole runtime on the real machine: real gRPC to a small coordinator, real processes, both tiers.
//!
//! `cargo test -p pod-runtime --test runtime`

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::proto::coordinator::v1 as wire;
use api::proto::coordinator::v1::node_service_server::{NodeService, NodeServiceServer};
use api::proto::coordinator::v1::watch_assignments_response::Message;
use api::proto::pod_runtime::v1::LogsRequest;
use api::proto::pod_runtime::v1::pod_runtime_service_client::PodRuntimeServiceClient;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use pod_runtime::{Config, Tier};
use serde_json::{Value, json};
use service_kit::{Context, Server, ServerConfig, Target};
use tokio::sync::{broadcast, watch};
use tonic::{Request, Response, Status};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Some(code) = pod_runtime::helper::helper_main(std::env::args_os().skip(1)) {
        return code;
    }
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    for tier in [Tier::Namespaced, Tier::Process] {
        let base = tempfile::tempdir().expect("a directory for the test");
        runtime.block_on(a_pod_lives_and_ends(tier, base.path()));
        println!("{tier:?}: a pod lives, survives its runtime, and ends: ok");
    }
    ExitCode::SUCCESS
}

async fn a_pod_lives_and_ends(tier: Tier, base: &Path) {
    let coordinator = Coordinator::default();
    let address = coordinator.serve().await;
    let volume = base.join("claim");
    std::fs::create_dir(&volume).expect("a volume");
    coordinator.assign(pod(), &volume);

    std::fs::create_dir(base.join("memory")).expect("a place for what stays in memory");
    let (context, running) = start(tier, address, base).await;
    let status = coordinator.until(ready).await;
    assert_eq!(status["phase"], "Running");
    let seen = std::fs::read_to_string(volume.join("seen")).expect("the container wrote into its claim");
    assert_eq!(seen, format!("web-0 {} 7\n", status["podIP"].as_str().unwrap_or_default()));
    let mut client =
        PodRuntimeServiceClient::new(service_kit::connect(&Target::Tcp(running.address.unwrap().to_string()), None));
    let request = LogsRequest {
        namespace: "default".into(),
        pod: "web-0".into(),
        container: "c".into(),
        ..LogsRequest::default()
    };
    let mut pieces = client.logs(request).await.expect("logs").into_inner();
    let piece = pieces.next().await.expect("a piece").expect("a good one");
    assert_eq!(piece.data.as_ref(), b"begun\n");

    // The runtime goes and comes; the pod does not notice.
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("a clean end");
    coordinator.forget();
    let (context, running) = start(tier, address, base).await;
    let again = coordinator.until(ready).await;
    assert_eq!(again["containerStatuses"][0]["containerID"], status["containerStatuses"][0]["containerID"]);
    assert_eq!(again["conditions"], status["conditions"]);

    let mut pod = pod();
    let deadline = service_kit::clock::Clock::now(&service_kit::clock::SystemClock).plus(Duration::from_secs(5));
    pod["metadata"]["deletionTimestamp"] = json!(pod_runtime::kubelet::status::rfc3339(deadline));
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    coordinator.assign(pod, &volume);
    let last = coordinator.until_stopped().await;
    assert_eq!(last["phase"], "Succeeded", "{last:#}");
    assert_eq!(std::fs::read_to_string(volume.join("bye")).expect("it was told to stop"), "bye\n");
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("a clean end");
}

fn pod() -> Value {
    let script = "trap 'echo bye >/data/bye; exit 0' TERM; echo \"$HOSTNAME $POD_IP $(cat /shared/n)\" >/data/seen; \
                  touch /shared/ready; echo begun; while :; do sleep 0.1; done";
    let mounts = json!([{"name": "data", "mountPath": "/data"}, {"name": "shared", "mountPath": "/shared"}]);
    json!({
        "metadata": {"name": "web-0", "namespace": "default", "uid": "00000000-0000-4000-8000-000000000001"},
        "spec": {
            "hostname": "web-0", "subdomain": "nginx", "terminationGracePeriodSeconds": 5,
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}},
                {"name": "shared", "emptyDir": {"medium": "Memory"}},
            ],
            "initContainers": [{"name": "i", "command": ["sh", "-c", "echo 7 >/shared/n"], "volumeMounts": mounts}],
            "containers": [{
                "name": "c", "command": ["sh", "-c", script], "volumeMounts": mounts,
                "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
            }],
        },
    })
}

fn ready(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn start(tier: Tier, coordinator: SocketAddr, base: &Path) -> (Context, service_kit::Running) {
    let context = Context::default();
    let config = Config {
        listen: ServerConfig { listen: Some(loopback()), ..ServerConfig::default() },
        tier,
        memory_dir: Some(base.join("memory")),
        ..Config::new("here", Target::Tcp(coordinator.to_string()), base.join("state"))
    };
    let running = pod_runtime::start(config, context.clone()).await.expect("the runtime starts");
    (context, running)
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A coordinator of one pod.
#[derive(Clone)]
struct Coordinator {
    assignment: Arc<Mutex<Option<wire::Assignment>>>,
    news: broadcast::Sender<wire::WatchAssignmentsResponse>,
    reported: Arc<watch::Sender<Option<(Value, bool)>>>,
}

impl Default for Coordinator {
    fn default() -> Self {
        let reported = Arc::new(watch::Sender::new(None));
        Self { assignment: Arc::default(), news: broadcast::Sender::new(64), reported }
    }
}

impl Coordinator {
    async fn serve(&self) -> SocketAddr {
        let config = ServerConfig { listen: Some(loopback()), ..ServerConfig::default() };
        let service = service_kit::sized_server!(NodeServiceServer::new(self.clone()));
        let bound = Server::new("coordinator").add(service).bind(&config).await.expect("an address");
        bound.spawn(Context::default()).address.expect("over TCP")
    }

    fn assign(&self, pod: Value, volume: &Path) {
        let path: PathBuf = volume.to_owned();
        let claim = wire::ClaimVolume {
            claim: "data-web-0".into(),
            path: path.display().to_string(),
            ..wire::ClaimVolume::default()
        };
        let assignment = wire::Assignment {
            pod: pod.to_string().into_bytes().into(),
            claims: BTreeMap::from([("data".to_owned(), claim)]).into_iter().collect(),
            ..wire::Assignment::default()
        };
        *self.assignment.lock().unwrap() = Some(assignment.clone());
        let _ = self.news.send(message(Message::Assignment(assignment)));
    }

    fn forget(&self) {
        self.reported.send_replace(None);
    }

    async fn until(&self, done: impl Fn(&Value) -> bool) -> Value {
        self.wait(|(status, _)| done(status)).await
    }

    async fn until_stopped(&self) -> Value {
        self.wait(|(_, stopped)| *stopped).await
    }

    async fn wait(&self, done: impl Fn(&(Value, bool)) -> bool) -> Value {
        let mut reported = self.reported.subscribe();
        let wait = async { reported.wait_for(|told| told.as_ref().is_some_and(&done)).await.expect("kept").clone() };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(told) => told.expect("just seen").0,
            Err(_) => panic!("not in time: {:#?}", self.reported.borrow()),
        }
    }
}

fn message(message: Message) -> wire::WatchAssignmentsResponse {
    wire::WatchAssignmentsResponse { message: Some(message) }
}

#[tonic::async_trait]
impl NodeService for Coordinator {
    type WatchAssignmentsStream = BoxStream<'static, Result<wire::WatchAssignmentsResponse, Status>>;

    async fn register_node(
        &self,
        _: Request<wire::RegisterNodeRequest>,
    ) -> Result<Response<wire::RegisterNodeResponse>, Status> {
        let cluster_domain = "cluster.local".to_owned();
        Ok(Response::new(wire::RegisterNodeResponse {
            store_id: "s".into(),
            cluster_domain,
            dns_address: String::new(),
            former_store_ids: Vec::new(),
        }))
    }

    async fn watch_assignments(
        &self,
        _: Request<wire::WatchAssignmentsRequest>,
    ) -> Result<Response<Self::WatchAssignmentsStream>, Status> {
        let live = tokio_stream::wrappers::BroadcastStream::new(self.news.subscribe());
        let live = live.map(|message| message.map_err(|_| Status::aborted("too slow")));
        let first = self.assignment.lock().unwrap().clone().map(|assignment| message(Message::Assignment(assignment)));
        let first = first.into_iter().chain([message(Message::Synced(wire::Synced { revision: 1 }))]).map(Ok);
        Ok(Response::new(futures::stream::iter(first.collect::<Vec<_>>()).chain(live).boxed()))
    }

    async fn report_pod_status(
        &self,
        request: Request<wire::ReportPodStatusRequest>,
    ) -> Result<Response<wire::ReportPodStatusResponse>, Status> {
        let request = request.into_inner();
        let status = serde_json::from_slice(&request.status).map_err(|_| Status::invalid_argument("no JSON"))?;
        self.reported.send_replace(Some((status, request.stopped)));
        Ok(Response::new(wire::ReportPodStatusResponse { revision: 2 }))
    }

    async fn report_event(
        &self,
        request: Request<wire::ReportEventRequest>,
    ) -> Result<Response<wire::ReportEventResponse>, Status> {
        let event = request.into_inner();
        println!("  event {} {}: {}", event.r#type, event.reason, event.message);
        Ok(Response::new(wire::ReportEventResponse {}))
    }
}
