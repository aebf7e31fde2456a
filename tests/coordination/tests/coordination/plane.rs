//! All services but the machine, each with an end of its own, on sockets in one directory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::system_service_client::SystemServiceClient;
use api::proto::coordinator::v1::{
    ApplyRequest, ApplyResponse, DeleteRequest, GetRequest, GetSystemRequest, GetSystemResponse, ListRequest,
    ScaleStatefulSetRequest,
};
use domain::Profile;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use service_kit::clock::{Clock, SystemClock};
use service_kit::metrics::Registry;
use service_kit::{CancellationToken, Channel, Context, Error, ServerConfig, Target, connect};
use support::{Scrape, until};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic_types::StatusExt as _;

/// The services that the coordinator calls.
pub(crate) const PLANNERS: [&str; 4] = ["ordinal-scheduler", "update-planner", "volume-claim", "identity-dns"];

/// The clock of the machine, set forward as far as a test says.
#[derive(Default)]
pub(crate) struct Shifted(AtomicU64);

impl Shifted {
    /// Sets it forward. Who sleeps is not woken: something must happen for anybody to look at it.
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).expect("a short time"), Ordering::SeqCst);
    }

    fn shift(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for Shifted {
    fn now(&self) -> domain::Timestamp {
        SystemClock.now().plus(self.shift())
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic() + self.shift()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
    }
}

struct Service {
    end: CancellationToken,
    metrics: Registry,
    task: JoinHandle<Result<(), Error>>,
}

/// The services of one store. Dropping it ends them.
pub(crate) struct Plane {
    directory: TempDir,
    services: HashMap<&'static str, Service>,
    dns: Option<SocketAddr>,
    channel: Channel,
    profile: Profile,
    clock: Arc<Shifted>,
}

impl Plane {
    /// Starts every service and returns when the API answers.
    pub(crate) async fn start() -> Self {
        Self::start_as(Profile::Setkeeper).await
    }

    /// The same with a profile.
    pub(crate) async fn start_as(profile: Profile) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let channel = connect(&Target::Unix(directory.path().join("coordinator.sock")), None);
        let mut plane =
            Self { directory, services: HashMap::new(), dns: None, channel, profile, clock: Arc::default() };
        for name in PLANNERS {
            plane.begin(name).await;
        }
        plane.begin("coordinator").await;
        plane
    }

    /// Starts a service that does not run. A store may be closing still: its lock is waited for.
    pub(crate) async fn begin(&mut self, name: &'static str) {
        let plane = &*self;
        let (service, dns) = until(&format!("{name} starts"), || async move {
            plane.try_begin(name).await.map_err(|error| service_kit::status::chain(&error))
        })
        .await;
        self.services.insert(name, service);
        self.dns = dns.or(self.dns);
    }

    async fn try_begin(&self, name: &'static str) -> Result<(Service, Option<SocketAddr>), Error> {
        let context = Context { clock: self.clock.clone(), ..Context::default() };
        let server = ServerConfig { unix_socket: Some(self.socket(name)), ..ServerConfig::default() };
        let (end, metrics) = (context.shutdown.clone(), context.metrics.clone());
        let mut dns = None;
        let running = match name {
            "ordinal-scheduler" => ordinal_scheduler::start(ordinal_scheduler::Config { server }, context).await?,
            "update-planner" => update_planner::start(update_planner::Config { server }, context).await?,
            "volume-claim" => {
                let volumes_directory = self.directory.path().join("volumes");
                volume_claim::start(volume_claim::Config { server, volumes_directory }, context).await?
            }
            "identity-dns" => {
                let config = identity_dns::Config {
                    server,
                    listen: vec![self.dns.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))],
                    resolvers: identity_dns::config::Resolvers::Fixed(Vec::new()),
                    ..identity_dns::Config::default()
                };
                let started = identity_dns::start(config, context).await?;
                dns = started.dns_addresses.first().copied();
                started.running
            }
            "coordinator" => coordinator::start(self.coordinator(server), context).await?,
            other => panic!("there is no service {other}"),
        };
        Ok((Service { end, metrics, task: running.task }, dns))
    }

    fn coordinator(&self, server: ServerConfig) -> coordinator::Config {
        let target = |name: &str| Target::Unix(self.socket(name));
        coordinator::Config {
            server,
            store_directory: self.directory.path().join("store"),
            ordinal_scheduler: target("ordinal-scheduler"),
            update_planner: target("update-planner"),
            volume_claim: target("volume-claim"),
            identity_dns: target("identity-dns"),
            token: None,
            cluster_domain: coordinator::CLUSTER_DOMAIN_DEFAULT.to_owned(),
            dns_address: "127.0.0.1:7753".to_owned(),
            profile: self.profile,
            patience: coordinator::Patience::default(),
        }
    }

    /// What a service that runs measures: the sum of the samples of this name with these labels.
    pub(crate) fn measured(&self, service: &str, name: &str, labels: &[&str]) -> f64 {
        let page = self.services[service].metrics.render();
        Scrape::parse(&page).expect("a page").sum(name, labels)
    }

    /// Ends a service and returns when it has ended.
    pub(crate) async fn stop(&mut self, name: &'static str) {
        let service = self.services.remove(name).expect("it runs");
        service.end.cancel();
        let ended = tokio::time::timeout(support::WAIT_MAX, service.task).await;
        ended.expect("it ends in time").expect("it does not panic").expect("it ends well");
        let _gone_already = std::fs::remove_file(self.socket(name));
    }

    /// Ends a service in the midst of whatever it does.
    pub(crate) async fn kill(&mut self, name: &'static str) {
        let service = self.services.remove(name).expect("it runs");
        service.task.abort();
        let ended = service.task.await.expect_err("it does not end by itself");
        assert!(ended.is_cancelled(), "{ended}");
        // Connections that are open would keep the store.
        service.end.cancel();
        let _gone_already = std::fs::remove_file(self.socket(name));
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.sock"))
    }

    /// The clock of every service.
    pub(crate) fn clock(&self) -> &Shifted {
        &self.clock
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Where DNS is answered.
    pub(crate) fn dns(&self) -> SocketAddr {
        self.dns.expect("identity-dns has started once")
    }

    pub(crate) fn objects(&self) -> ObjectServiceClient<Channel> {
        service_kit::sized_client!(ObjectServiceClient::new(self.channel()))
    }

    /// Applies objects that must be fine.
    pub(crate) async fn apply(&self, objects: &[Value]) -> ApplyResponse {
        self.try_apply(objects).await.expect("it applies")
    }

    pub(crate) async fn try_apply(&self, objects: &[Value]) -> Result<ApplyResponse, Status> {
        let objects = objects.iter().map(api::object::to_struct).collect();
        Ok(self.objects().apply(ApplyRequest { objects, ..ApplyRequest::default() }).await?.into_inner())
    }

    /// An object of namespace default, as far as it is there.
    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let request = GetRequest { kind: kind.to_owned(), name: name.to_owned(), ..GetRequest::default() };
        match self.objects().get(request).await {
            Ok(answer) => answer.into_inner().object.map(api::object::from_struct),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("get {kind} {name}: {status}"),
        }
    }

    /// All objects of a kind.
    pub(crate) async fn list(&self, kind: &str) -> Vec<Value> {
        let request = ListRequest { kind: kind.to_owned(), page_size: 5000, ..ListRequest::default() };
        let answer = self.objects().list(request).await.expect("it lists").into_inner();
        answer.objects.into_iter().map(api::object::from_struct).collect()
    }

    /// Names of all pods.
    pub(crate) async fn pods(&self) -> Vec<String> {
        let pods = self.list("pods").await;
        pods.iter().map(|pod| text(pod, "/metadata/name").to_owned()).collect()
    }

    pub(crate) async fn uid(&self, kind: &str, name: &str) -> String {
        let object = self.get(kind, name).await.unwrap_or_else(|| panic!("{kind} {name} is there"));
        text(&object, "/metadata/uid").to_owned()
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str, cascade: &str) -> Result<(), Status> {
        let request = DeleteRequest {
            kind: kind.to_owned(),
            name: name.to_owned(),
            cascade: cascade.to_owned(),
            ..DeleteRequest::default()
        };
        self.objects().delete(request).await.map(drop)
    }

    /// Deletes a set without what it owns, and returns when it is gone.
    pub(crate) async fn leave_behind(&self, set: &str) {
        self.delete("sts", set, "orphan").await.unwrap();
        self.lacks("sts", set).await;
    }

    pub(crate) fn sets(&self) -> StatefulSetServiceClient<Channel> {
        StatefulSetServiceClient::new(self.channel())
    }

    pub(crate) async fn scale(&self, name: &str, replicas: i32) {
        let request = ScaleStatefulSetRequest { name: name.to_owned(), replicas, ..Default::default() };
        self.sets().scale(request).await.expect("it scales");
    }

    pub(crate) async fn system(&self) -> GetSystemResponse {
        let answer = SystemServiceClient::new(self.channel()).get_system(GetSystemRequest {}).await;
        answer.expect("the system answers").into_inner()
    }

    pub(crate) async fn revision(&self) -> u64 {
        self.system().await.revision
    }

    /// Whether a set says that it is complete; in Kubernetes, which has no conditions, whether its update is.
    fn is_complete(&self, set: &Value) -> bool {
        match self.profile {
            Profile::Setkeeper => condition(set, "Progressing").is_some_and(|found| found["reason"] == "Complete"),
            Profile::Kubernetes => set["status"]["currentRevision"] == set["status"]["updateRevision"],
        }
    }

    /// Returns when a set says that it is complete at its present generation, with so many pods ready.
    pub(crate) async fn complete(&self, name: &str, replicas: u64) {
        until(&format!("{name} is complete with {replicas}"), || async {
            let set = self.get("sts", name).await.ok_or("it is not there")?;
            let status = &set["status"];
            let done = status["readyReplicas"].as_u64().unwrap_or_default() == replicas
                && status["replicas"] == replicas
                && status["observedGeneration"] == set["metadata"]["generation"]
                && self.is_complete(&set);
            if done { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Returns when exactly these pods are there, terminating ones included.
    pub(crate) async fn has_pods(&self, names: &[&str]) {
        until(&format!("the pods are {names:?}"), || async {
            let pods = self.pods().await;
            if pods == names { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await;
    }

    /// Returns when a set has looked at everything that is stored and waits for a reason that contains `text`.
    pub(crate) async fn waits_for(&self, name: &str, text: &str) {
        until(&format!("{name} waits: {text}"), || async {
            let set = self.get("sts", name).await.ok_or("it is not there")?;
            let why = condition(&set, "Progressing").map(|condition| condition["message"].to_string());
            let why = why.unwrap_or_default();
            if why.contains(text) { Ok(()) } else { Err(set["status"].to_string()) }
        })
        .await;
    }
}

/// Text at a JSON pointer; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// The reason of an error, as programs read it.
pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// A set as people write it, with `more` in its spec.
pub(crate) fn set(name: &str, replicas: u32, more: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": name },
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
            },
        },
    });
    if let (Some(spec), Value::Object(more)) = (set["spec"].as_object_mut(), more) {
        spec.extend(more);
    }
    set
}

/// A pod that belongs to no set.
pub(crate) fn lone_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
    })
}

/// Fields of a spec that give every pod a claim named `data`.
pub(crate) fn with_claims() -> Value {
    json!({ "volumeClaimTemplates": [{
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    }]})
}

/// A headless Service that selects the pods of a set.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": { "clusterIP": "None", "selector": { "app": name }, "ports": [{ "port": 80, "name": "web" }] },
    })
}
