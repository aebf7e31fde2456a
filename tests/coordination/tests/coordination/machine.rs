//! A machine that runs nothing: it notes what it is told, and reports what the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use api::proto::coordinator::v1::node_service_client::NodeServiceClient;
use api::proto::coordinator::v1::watch_assignments_response::Message;
use api::proto::coordinator::v1::{RegisterNodeRequest, ReportPodStatusRequest, WatchAssignmentsRequest};
use serde_json::{Value, json};
use service_kit::Channel;
use support::until;
use tokio::task::AbortHandle;
use tokio_stream::StreamExt as _;
use tonic::Status;

use crate::Plane;
use crate::plane::text;

/// Its name.
pub(crate) const NODE: &str = "straw";

/// One thing that it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Name, uid: run it.
    Run(String, String),
    /// Name, uid: stop it.
    Stop(String, String),
    /// Name, uid: it is no longer stored.
    Gone(String, String),
    /// Everything has been told.
    Synced,
}

#[derive(Default)]
struct State {
    told: Vec<Told>,
    pods: BTreeMap<String, Value>,
}

struct Inner {
    node: String,
    client: NodeServiceClient<Channel>,
    state: Mutex<State>,
    starts: AtomicBool,
    stops: AtomicBool,
}

/// The machine. Dropping it hangs up.
pub(crate) struct Machine {
    inner: Arc<Inner>,
    watching: AbortHandle,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Machine {
    /// A machine that does nothing by itself.
    pub(crate) async fn join(plane: &Plane) -> Self {
        Self::with(plane, false).await
    }

    /// A machine that makes every pod ready, and stops it, as soon as it is told.
    pub(crate) async fn eager(plane: &Plane) -> Self {
        Self::with(plane, true).await
    }

    async fn with(plane: &Plane, eager: bool) -> Self {
        Self::named(plane, NODE, eager).await
    }

    /// A machine of this name.
    pub(crate) async fn named(plane: &Plane, node: &str, eager: bool) -> Self {
        let client = service_kit::sized_client!(NodeServiceClient::new(plane.channel()));
        let inner = Arc::new(Inner {
            node: node.to_owned(),
            client,
            state: Mutex::default(),
            starts: AtomicBool::new(eager),
            stops: AtomicBool::new(eager),
        });
        register(&inner.client, plane, node).await;
        let watching = tokio::spawn(inner.clone().watch()).abort_handle();
        let machine = Self { inner, watching };
        until("the machine is synced", || async {
            machine.told().contains(&Told::Synced).then_some(()).ok_or_else(String::new)
        })
        .await;
        machine
    }

    /// Whether it makes pods ready, and stops them, by itself from now on. What it was told before is left as it is.
    pub(crate) fn eagerness(&self, starts: bool, stops: bool) {
        self.inner.starts.store(starts, Ordering::SeqCst);
        self.inner.stops.store(stops, Ordering::SeqCst);
    }

    /// Everything it was told, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.inner.state.lock().unwrap().told.clone()
    }

    /// Names of the pods it was told to run, in order, each incarnation once.
    pub(crate) fn ran(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for told in self.told() {
            if let Told::Run(name, uid) = told
                && !seen.contains(&(name.clone(), uid.clone()))
            {
                seen.push((name, uid));
            }
        }
        seen.into_iter().map(|(name, _)| name).collect()
    }

    /// Names of the pods it was told to stop, in order, each once.
    pub(crate) fn stopped(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for told in self.told() {
            if let Told::Stop(name, _) = told
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// Returns when it has been told to run this pod, with the pod as it was told.
    pub(crate) async fn has(&self, name: &str) -> Value {
        until(&format!("{name} is assigned"), || async {
            let pod = self.inner.state.lock().unwrap().pods.get(name).cloned();
            pod.ok_or_else(|| format!("{:?}", self.told()))
        })
        .await
    }

    /// Returns when it has been told to run this incarnation of a pod.
    pub(crate) async fn runs(&self, name: &str, uid: &str) {
        until(&format!("{name} with uid {uid} is assigned"), || async {
            let pod = self.has(name).await;
            if text(&pod, "/metadata/uid") == uid { Ok(()) } else { Err(pod["metadata"].to_string()) }
        })
        .await;
    }

    /// Returns when it has been told to stop this pod.
    pub(crate) async fn must_stop(&self, name: &str) {
        until(&format!("{name} must stop"), || async {
            if self.stopped().iter().any(|one| one == name) { Ok(()) } else { Err(format!("{:?}", self.told())) }
        })
        .await;
    }

    /// Reports a pod as ready, until that is taken.
    pub(crate) async fn ready(&self, name: &str) {
        let pod = self.has(name).await;
        until(&format!("{name} is reported ready"), || async {
            self.inner.report(&pod, self.inner.status(&pod, "Running", true), false).await.map_err(|s| s.to_string())
        })
        .await;
    }

    /// One report of a pod, ready or not.
    pub(crate) async fn report(&self, name: &str, phase: &str, ready: bool) -> Result<(), Status> {
        let pod = self.has(name).await;
        self.inner.report(&pod, self.inner.status(&pod, phase, ready), false).await
    }

    /// One report about an incarnation.
    pub(crate) async fn report_of(&self, name: &str, uid: &str, node: &str) -> Result<(), Status> {
        let pod = json!({ "metadata": { "name": name, "namespace": "default", "uid": uid } });
        self.inner.report_as(node, &pod, self.inner.status(&pod, "Running", true), false).await
    }

    /// Reports that nothing of a pod is left.
    pub(crate) async fn stop(&self, name: &str) {
        let pod = self.has(name).await;
        self.inner.stop(&pod).await.expect("the report is taken");
    }
}

/// Makes the machine known.
pub(crate) async fn register(client: &NodeServiceClient<Channel>, plane: &Plane, node: &str) {
    let request = RegisterNodeRequest {
        name: node.to_owned(),
        runtime_address: format!("unix:{}", plane.socket("runtime").display()),
        host_ip: "127.0.0.1".to_owned(),
        tier: "process".to_owned(),
        degraded: Vec::new(),
    };
    client.clone().register_node(request).await.expect("it registers");
}

impl Inner {
    /// Watches until it is aborted; comes back after an interruption, as machines do.
    async fn watch(self: Arc<Self>) {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            pace.tick().await;
            let request = WatchAssignmentsRequest { node: self.node.clone() };
            let Ok(stream) = self.client.clone().watch_assignments(request).await else { continue };
            let mut stream = stream.into_inner();
            while let Some(Ok(message)) = stream.next().await {
                if let Some(message) = message.message {
                    self.clone().take(message);
                }
            }
        }
    }

    fn take(self: Arc<Self>, message: Message) {
        match message {
            Message::Assignment(assignment) => {
                let pod: Value = serde_json::from_slice(&assignment.pod).expect("a pod");
                let (name, uid) = (text(&pod, "/metadata/name").to_owned(), text(&pod, "/metadata/uid").to_owned());
                let stop = pod.pointer("/metadata/deletionTimestamp").is_some();
                let known = {
                    let mut state = self.state.lock().unwrap();
                    let known = state.pods.insert(name.clone(), pod.clone());
                    state.told.push(if stop { Told::Stop(name, uid.clone()) } else { Told::Run(name, uid.clone()) });
                    known.is_some_and(|known| text(&known, "/metadata/uid") == uid)
                };
                let acts = if stop { &self.stops } else { &self.starts };
                if acts.load(Ordering::SeqCst) && (stop || !known) {
                    tokio::spawn(async move {
                        let act = || async {
                            let done = match stop {
                                true => self.stop(&pod).await,
                                false => self.report(&pod, self.status(&pod, "Running", true), false).await,
                            };
                            match done {
                                Err(status) if status.code() != tonic::Code::NotFound => Err(status.to_string()),
                                _ => Ok(()),
                            }
                        };
                        until("the report is taken", act).await;
                    });
                }
            }
            Message::Gone(gone) => {
                let mut state = self.state.lock().unwrap();
                if state.pods.get(&gone.name).is_some_and(|pod| text(pod, "/metadata/uid") == gone.uid) {
                    state.pods.remove(&gone.name);
                }
                state.told.push(Told::Gone(gone.name, gone.uid));
            }
            Message::Synced(_) => self.state.lock().unwrap().told.push(Told::Synced),
        }
    }

    async fn stop(&self, pod: &Value) -> Result<(), Status> {
        self.report(pod, self.status(pod, "Running", false), true).await
    }

    async fn report(&self, pod: &Value, status: Value, stopped: bool) -> Result<(), Status> {
        self.report_as(&self.node, pod, status, stopped).await
    }

    async fn report_as(&self, node: &str, pod: &Value, status: Value, stopped: bool) -> Result<(), Status> {
        let request = ReportPodStatusRequest {
            node: node.to_owned(),
            namespace: text(pod, "/metadata/namespace").to_owned(),
            name: text(pod, "/metadata/name").to_owned(),
            uid: text(pod, "/metadata/uid").to_owned(),
            status: status.to_string().into_bytes().into(),
            stopped,
        };
        self.client.clone().report_pod_status(request).await.map(drop)
    }

    /// A status; the same pod always has the same address.
    fn status(&self, pod: &Value, phase: &str, ready: bool) -> Value {
        let uid = text(pod, "/metadata/uid");
        let last = uid.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 60_000;
        let ip = format!("10.77.{}.{}", last / 250, last % 250 + 1);
        json!({
            "phase": phase,
            "podIP": ip,
            "podIPs": [{ "ip": ip }],
            "conditions": [{
                "type": "Ready",
                "status": if ready { "True" } else { "False" },
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        })
    }
}
