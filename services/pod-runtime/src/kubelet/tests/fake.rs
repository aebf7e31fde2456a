//! A machine and a coordinator in memory.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::proto::coordinator::v1 as wire;
use domain::{Timestamp, Uid};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use service_kit::CancellationToken;
use service_kit::clock::SystemClock;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::backend::{
    BackendError, Capabilities, ContainerInstance, ContainerSpec, ContainerState, ExecOutcome, Exit, PodBackend,
    SandboxSpec, SandboxState,
};
use crate::kubelet::catalogue::Catalogue;
use crate::kubelet::environment;
use crate::kubelet::link::{Message, Messages, NodeLink, Refusal, Registration};
use crate::kubelet::worker::{Shared, SteadyClock};
use crate::kubelet::{Kubelet, Pods};

/// How long a test waits for something to become true, in paused time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A deadline for an object, RFC 3339.
pub(super) fn in_seconds(seconds: u64) -> String {
    let now = service_kit::clock::Clock::now(&SystemClock);
    crate::kubelet::status::rfc3339(now.plus(Duration::from_secs(seconds)))
}

#[derive(Default)]
struct Sandboxes {
    all: BTreeMap<Uid, (SandboxState, HashMap<String, ContainerSpec>)>,
    starts: HashMap<(Uid, String), usize>,
    overlaps: usize,
}

/// A machine whose processes are entries: `run` ends on SIGTERM, `stubborn` does not.
#[derive(Clone)]
pub(crate) struct Machine {
    state: Arc<Mutex<Sandboxes>>,
    change: Arc<watch::Sender<u64>>,
    seen: Arc<tokio::sync::Mutex<watch::Receiver<u64>>>,
    clock: SteadyClock,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let (change, seen) = watch::channel(0);
        let seen = Arc::new(tokio::sync::Mutex::new(seen));
        let clock = SteadyClock::new(Arc::new(SystemClock));
        Self { state: Arc::default(), change: Arc::new(change), seen, clock }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Sandboxes) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    fn news(&self) {
        self.change.send_modify(|number| *number += 1);
    }

    /// Nothing runs any more.
    pub(super) fn reboot(&self) {
        self.with(|s| s.all.clear());
    }

    pub(super) fn starts(&self, uid: &str, container: &str) -> usize {
        self.with(|s| s.starts.get(&(Uid(uid.into()), container.into())).copied().unwrap_or(0))
    }

    pub(super) fn exists(&self, uid: &str) -> bool {
        self.with(|s| s.all.contains_key(&Uid(uid.into())))
    }

    pub(super) fn overlaps(&self) -> usize {
        self.with(|s| s.overlaps)
    }

    pub(super) fn env(&self, uid: &str, container: &str) -> Vec<(String, String)> {
        self.with(|s| s.all[&Uid(uid.into())].1[container].env.clone())
    }

    pub(super) fn runs(&self, uid: &str, container: &str) -> bool {
        self.with(|s| {
            s.all.get(&Uid(uid.into())).is_some_and(|(state, _)| {
                let running = |c: &&ContainerInstance| matches!(c.state, ContainerState::Running { .. });
                state.containers.iter().filter(running).any(|c| c.name == container)
            })
        })
    }

    pub(super) fn end(&self, uid: &str, container: &str, code: i32) {
        let now = self.clock.now().wall.max(self.clock.now().steady);
        self.with(|s| {
            let Some((state, _)) = s.all.get_mut(&Uid(uid.into())) else { return };
            for instance in state.containers.iter_mut().filter(|instance| instance.name == container) {
                let ContainerState::Running { started_at, .. } = instance.state else { continue };
                let reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
                let exit = Exit {
                    exit_code: code,
                    signal: None,
                    reason,
                    message: String::new(),
                    started_at,
                    finished_at: now,
                };
                instance.state = ContainerState::Exited(exit);
            }
        });
        self.news();
    }

    pub(super) async fn until(&self, done: impl Fn(&Self) -> bool) {
        wait(|| done(self)).await;
    }
}

async fn wait(done: impl Fn() -> bool) {
    let poll = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.expect("it becomes true in time");
}

impl PodBackend for Machine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tier: "namespaced",
            tier_reason: String::new(),
            degraded: Vec::new(),
            mounts: true,
            nameserver: "10.77.0.1".parse().ok(),
            host_ip: "10.77.0.1".parse().unwrap(),
            only_uid: None,
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SandboxState>, BackendError>> {
        async { Ok(self.with(|s| s.all.values().map(|(state, _)| state.clone()).collect())) }.boxed()
    }

    fn state<'a>(&'a self, uid: &'a Uid) -> BoxFuture<'a, Result<SandboxState, BackendError>> {
        let found = self.with(|s| s.all.get(uid).map(|(state, _)| state.clone()));
        async move { found.ok_or_else(|| BackendError::NoSandbox { uid: uid.clone() }) }.boxed()
    }

    fn ensure_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<SandboxState, BackendError>> {
        let result = self.with(|s| {
            let same = |state: &SandboxState| state.spec.name == spec.name && state.spec.uid != spec.uid;
            if let Some((other, _)) = s.all.values().find(|(state, _)| same(state)) {
                return Err(BackendError::PredecessorAlive { name: spec.name.clone(), uid: other.spec.uid.clone() });
            }
            let fresh = || {
                let ip = "10.77.0.9".parse().unwrap();
                (
                    SandboxState { spec: spec.clone(), ip, alive: true, containers: vec![], pids: vec![1] },
                    HashMap::new(),
                )
            };
            Ok(s.all.entry(spec.uid.clone()).or_insert_with(fresh).0.clone())
        });
        async move { result }.boxed()
    }

    fn start_container<'a>(
        &'a self,
        uid: &'a Uid,
        spec: ContainerSpec,
    ) -> BoxFuture<'a, Result<ContainerInstance, BackendError>> {
        let now = self.clock.now().wall;
        let result = self.with(|s| {
            let others = |state: &SandboxState| state.spec.uid != *uid && !state.containers.is_empty();
            s.overlaps += usize::from(s.all.values().any(|(state, _)| others(state)));
            *s.starts.entry((uid.clone(), spec.name.clone())).or_default() += 1;
            let (state, specs) = s.all.get_mut(uid).ok_or_else(|| BackendError::NoSandbox { uid: uid.clone() })?;
            state.containers.retain(|known| known.name != spec.name);
            let running = ContainerState::Running { pid: 2, started_at: Timestamp(now.0) };
            let instance = ContainerInstance { name: spec.name.clone(), instance: spec.instance, state: running };
            state.containers.push(instance.clone());
            specs.insert(spec.name.clone(), spec);
            Ok(instance)
        });
        self.news();
        async move { result }.boxed()
    }

    fn signal<'a>(&'a self, uid: &'a Uid, container: &'a str, _: i32) -> BoxFuture<'a, Result<(), BackendError>> {
        let obeys = self.with(|s| s.all.get(uid).is_some_and(|(_, specs)| specs[container].command[0] == "run"));
        if obeys {
            self.end(&uid.0, container, 0);
        }
        async { Ok(()) }.boxed()
    }

    fn kill<'a>(&'a self, uid: &'a Uid, container: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        self.end(&uid.0, container, 137);
        async { Ok(()) }.boxed()
    }

    fn exec<'a>(
        &'a self,
        _: &'a Uid,
        _: &'a str,
        _: Vec<String>,
        _: Duration,
    ) -> BoxFuture<'a, Result<ExecOutcome, BackendError>> {
        async { Ok(ExecOutcome::Exited { exit_code: 0, output: String::new() }) }.boxed()
    }

    /// Reaches this machine's own loopback, whatever the address.
    fn connect(&self, address: SocketAddr, _: Duration) -> BoxFuture<'_, Result<tokio::net::TcpStream, BackendError>> {
        async move {
            let operation = format!("connect to {address}");
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", address.port())).await;
            stream.map_err(|source| BackendError::Machine { operation, source })
        }
        .boxed()
    }

    fn remove<'a>(&'a self, uid: &'a Uid) -> BoxFuture<'a, Result<(), BackendError>> {
        self.with(|s| s.all.remove(uid));
        self.news();
        async { Ok(()) }.boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        async {
            let _ = self.seen.lock().await.changed().await;
        }
        .boxed()
    }
}

#[derive(Default)]
struct Stored {
    away: bool,
    pods: BTreeMap<String, Value>,
    config_maps: BTreeMap<String, Value>,
    statuses: BTreeMap<String, (Value, usize)>,
}

/// A coordinator that keeps pods and statuses, and sends a pod back when its status changed.
#[derive(Clone)]
pub(super) struct Coordinator {
    store_id: String,
    former_store_ids: Vec<String>,
    state: Arc<Mutex<Stored>>,
    news: Arc<Mutex<broadcast::Sender<Message>>>,
}

impl Coordinator {
    pub(super) fn new(store_id: &str) -> Self {
        let news = Arc::new(Mutex::new(broadcast::Sender::new(1024)));
        Self { store_id: store_id.to_owned(), former_store_ids: Vec::new(), state: Arc::default(), news }
    }

    /// A coordinator whose store was restored from another.
    pub(super) fn restored(store_id: &str, former: &str) -> Self {
        Self { former_store_ids: vec![former.to_owned()], ..Self::new(store_id) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Stored) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    fn message(&self, uid: &str) -> Message {
        let (pod, config_maps) = self.with(|s| (s.pods[uid].clone(), s.config_maps.clone()));
        let config_maps = config_maps.into_iter().map(|(name, value)| (name, value.to_string().into_bytes().into()));
        Message::Assigned(Box::new(wire::Assignment {
            pod: pod.to_string().into_bytes().into(),
            config_maps: config_maps.collect(),
            ..wire::Assignment::default()
        }))
    }

    fn send(&self, message: Message) {
        let _ = self.news.lock().unwrap().send(message);
    }

    pub(super) fn assign(&self, pod: Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        self.with(|s| s.pods.insert(uid.clone(), pod));
        self.send(self.message(&uid));
    }

    pub(super) fn config_map(&self, name: &str, value: Value) {
        let uids = self.with(|s| {
            s.config_maps.insert(name.to_owned(), value);
            s.pods.keys().cloned().collect::<Vec<_>>()
        });
        uids.iter().for_each(|uid| self.send(self.message(uid)));
    }

    pub(super) fn remove(&self, uid: &str) {
        self.with(|s| s.pods.remove(uid));
        self.send(Message::Gone { uid: uid.to_owned() });
    }

    pub(super) fn set_away(&self, away: bool) {
        self.with(|s| s.away = away);
        *self.news.lock().unwrap() = broadcast::Sender::new(1024); // Ends every watch.
    }

    pub(super) fn status(&self, uid: &str) -> Option<Value> {
        self.with(|s| s.statuses.get(uid).map(|(status, _)| status.clone()))
    }

    pub(super) fn reports(&self, uid: &str) -> usize {
        self.with(|s| s.statuses.get(uid).map_or(0, |(_, count)| *count))
    }

    pub(super) fn forget_reports(&self) {
        self.with(|s| s.statuses.clear());
    }

    pub(super) fn stores(&self, uid: &str) -> bool {
        self.with(|s| s.pods.contains_key(uid))
    }

    pub(super) async fn until(&self, done: impl Fn(&Self) -> bool) {
        wait(|| done(self)).await;
    }
}

impl NodeLink for Coordinator {
    fn watch(&self) -> BoxFuture<'_, Result<(Registration, Messages), String>> {
        async {
            if self.with(|s| s.away) {
                return Err("away".to_owned());
            }
            let receiver = self.news.lock().unwrap().subscribe();
            let uids = self.with(|s| s.pods.keys().cloned().collect::<Vec<_>>());
            let mut first: Vec<Message> = uids.iter().map(|uid| self.message(uid)).collect();
            first.push(Message::Synced);
            let live = tokio_stream::wrappers::BroadcastStream::new(receiver);
            let live = live.map(|message| message.map_err(|error| error.to_string()));
            let registration = Registration {
                store_id: self.store_id.clone(),
                former_store_ids: self.former_store_ids.clone(),
                cluster_domain: "cluster.local".to_owned(),
                dns_address: String::new(),
            };
            Ok((registration, futures::stream::iter(first.into_iter().map(Ok)).chain(live).boxed()))
        }
        .boxed()
    }

    fn report(&self, report: wire::ReportPodStatusRequest) -> BoxFuture<'_, Result<(), Refusal>> {
        async move {
            let status: Value = serde_json::from_slice(&report.status).unwrap();
            let removed = self.with(|s| {
                if s.away {
                    return Err(Refusal::Later("away".to_owned()));
                }
                let pod = s.pods.get_mut(&report.uid).ok_or(Refusal::Gone)?;
                pod["status"] = status.clone();
                let entry = s.statuses.entry(report.uid.clone()).or_default();
                *entry = (status, entry.1 + 1);
                Ok(report.stopped && s.pods[&report.uid]["metadata"].get("deletionTimestamp").is_some())
            })?;
            if removed {
                self.remove(&report.uid)
            } else {
                self.send(self.message(&report.uid))
            }
            Ok(())
        }
        .boxed()
    }

    fn event(&self, _: wire::ReportEventRequest) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
}

/// A running kubelet.
pub(super) struct Runtime {
    pub(super) pods: Pods,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Runtime {
    pub(super) fn start(machine: &Machine, coordinator: &Coordinator, state: &Path) -> Self {
        let (events, event_receiver) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            backend: Arc::new(machine.clone()),
            capabilities: machine.capabilities(),
            link: Arc::new(coordinator.clone()),
            clock: SteadyClock::new(Arc::new(SystemClock)),
            state_dir: state.to_owned(),
            memory_dir: None,
            node_name: "here".to_owned(),
            catalogue: Catalogue::built_in(None),
            machine: environment::Machine::default(),
            cluster_domain: watch::Sender::new("cluster.local".to_owned()),
            dns_address: watch::Sender::new(String::new()),
            host_resolv_conf: String::new(),
            others: watch::Sender::new(Arc::default()),
            events,
            metrics: Arc::default(),
            shutdown: shutdown.clone(),
        });
        let pods = Pods::new(state.to_owned(), None);
        let task = tokio::spawn(Kubelet::new(shared, pods.clone()).run(event_receiver));
        Self { pods, shutdown, task }
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}
