//! A machine on which every pod starts and stops at once: what is left is what the rest costs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::proto::coordinator::v1::node_service_client::NodeServiceClient;
use api::proto::coordinator::v1::watch_assignments_response::Message;
use api::proto::coordinator::v1::{RegisterNodeRequest, ReportPodStatusRequest, WatchAssignmentsRequest};
use serde::Deserialize;
use serde_json::json;
use service_kit::Channel;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tonic::Code;

use crate::samples::now;

const NAME: &str = "instant";
/// Reports under way at once: as many as a machine that starts everything at the same time has, well below what the
/// coordinator turns away.
const REPORTS_AT_ONCE_MAX: usize = 256;
/// Tries of one report. Each that fails is one that the coordinator asked to repeat.
const TRIES_MAX: u32 = 100;
const RETRY: Duration = Duration::from_millis(5);

/// When a pod came to the machine, and when the machine called it ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) assigned: Duration,
    pub(crate) reported: Duration,
}

/// The machine. Dropping it hangs up.
pub(crate) struct Machine {
    inner: Arc<Inner>,
    watching: AbortHandle,
}

struct Inner {
    client: NodeServiceClient<Channel>,
    /// Pods that it was told to run, by name.
    pods: Mutex<HashMap<String, Known>>,
    addresses: AtomicU32,
    reports: Semaphore,
}

struct Known {
    uid: String,
    moments: Moments,
}

/// What it reads of a pod.
#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    deletion_timestamp: Option<String>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Machine {
    /// Registers, and returns when it watches.
    pub(crate) async fn join(channel: Channel) -> anyhow::Result<Self> {
        let mut client = service_kit::sized_client!(NodeServiceClient::new(channel));
        let request = RegisterNodeRequest {
            name: NAME.to_owned(),
            runtime_address: "127.0.0.1:1".to_owned(),
            host_ip: "127.0.0.1".to_owned(),
            tier: "process".to_owned(),
            degraded: Vec::new(),
        };
        client.register_node(request).await?;
        let request = WatchAssignmentsRequest { node: NAME.to_owned() };
        let mut stream = client.watch_assignments(request).await?.into_inner();
        let inner = Arc::new(Inner {
            client,
            pods: Mutex::default(),
            addresses: AtomicU32::new(0),
            reports: Semaphore::new(REPORTS_AT_ONCE_MAX),
        });
        let machine = inner.clone();
        // Ends when the stream does, or when the machine is dropped.
        let watching = tokio::spawn(async move {
            loop {
                match stream.message().await {
                    Ok(Some(message)) => machine.clone().take(message.message),
                    Ok(None) => return,
                    Err(status) => return eprintln!("the machine is no longer told anything: {status}"),
                }
            }
        });
        Ok(Self { inner, watching: watching.abort_handle() })
    }

    /// What it knows of a pod that it runs.
    pub(crate) fn moments(&self, name: &str) -> Option<Moments> {
        self.inner.pods().get(name).map(|known| known.moments)
    }
}

impl Inner {
    fn pods(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: Arc<Self>, message: Option<Message>) {
        let assignment = match message {
            Some(Message::Assignment(assignment)) => assignment,
            Some(Message::Gone(gone)) => {
                let mut pods = self.pods();
                if pods.get(&gone.name).is_some_and(|known| known.uid == gone.uid) {
                    pods.remove(&gone.name);
                }
                return;
            }
            Some(Message::Synced(_)) | None => return,
        };
        let pod = match serde_json::from_slice::<Pod>(&assignment.pod) {
            Ok(Pod { metadata }) => metadata,
            Err(error) => return eprintln!("an assignment is no pod: {error}"),
        };
        let stops = pod.deletion_timestamp.is_some();
        let (assigned, mut pods) = (now(), self.pods());
        let known = pods.get(&pod.name).is_some_and(|known| known.uid == pod.uid);
        if known && !stops {
            return;
        }
        if !stops {
            let moments = Moments { assigned, reported: assigned };
            pods.insert(pod.name.clone(), Known { uid: pod.uid.clone(), moments });
        }
        drop(pods);
        // Bounded by the semaphore; ends with the report.
        tokio::spawn(async move { self.report(&pod, stops).await });
    }

    async fn report(&self, pod: &Metadata, stopped: bool) {
        let Ok(_permit) = self.reports.acquire().await else { return };
        let request = ReportPodStatusRequest {
            node: NAME.to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            status: self.status(!stopped).into(),
            stopped,
        };
        if let Some(known) = self.pods().get_mut(&pod.name).filter(|known| known.uid == pod.uid) {
            known.moments.reported = now();
        }
        let mut client = self.client.clone();
        for _ in 0..TRIES_MAX {
            match client.report_pod_status(request.clone()).await {
                Ok(_) => return,
                Err(status) if status.code() == Code::NotFound => return,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        eprintln!("no report of {} is taken", pod.name);
    }

    /// What a pod with one container reports; each has an address of its own.
    fn status(&self, ready: bool) -> Vec<u8> {
        let [_, a, b, c] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let ip = format!("10.{a}.{b}.{c}");
        let since = "2026-01-01T00:00:00Z";
        let truth = if ready { "True" } else { "False" };
        let condition = |kind: &str| json!({ "type": kind, "status": truth, "lastTransitionTime": since });
        let state = if ready {
            json!({ "running": { "startedAt": since } })
        } else {
            json!({ "terminated": { "exitCode": 0 } })
        };
        json!({
            "phase": if ready { "Running" } else { "Succeeded" },
            "hostIP": "127.0.0.1",
            "podIP": ip,
            "podIPs": [{ "ip": ip }],
            "startTime": since,
            "conditions": [condition("Initialized"), condition("ContainersReady"), condition("Ready")],
            "containerStatuses": [
                { "name": "main", "image": "busybox", "ready": ready, "restartCount": 0, "started": ready, "state": state },
            ],
        })
        .to_string()
        .into_bytes()
    }
}
