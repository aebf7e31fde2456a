//! The simulated runtime: the machine's side of the real `NodeService`, over the simulated network.
//!
//! It is level-triggered like the real one: what should run comes with the assignments, what does run is what the machine
//! says; it acts on the difference and reports until it is heard. Of its own it remembers nothing over a restart. It
//! trusts the coordinator not to assign a successor before its predecessor was reported stopped: that is a rule to check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::proto::coordinator::v1::node_service_client::NodeServiceClient;
use api::proto::coordinator::v1::watch_assignments_response::Message;
use api::proto::coordinator::v1::{
    Assignment, RegisterNodeRequest, ReportEventRequest, ReportPodStatusRequest, Synced, WatchAssignmentsRequest,
    WatchAssignmentsResponse,
};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use service_kit::{Channel, Context, Role, Target};
use tonic::{Code, Status};

use crate::machine::Life;
use crate::mutant::Mutant;
use crate::place::Place;

/// Name of the machine.
pub const NODE: &str = "node";

/// How often the runtime compares what is with what should be.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Pause after a failed call.
const RETRY: Duration = Duration::from_millis(200);

/// What was reported is reported again after this: an earlier report may have come late and be what is stored.
const REPORT_AGAIN: Duration = Duration::from_secs(60);

/// Tries to tell an event: nothing depends on it.
const EVENT_TRIES_MAX: u32 = 5;

type Reported = (String, Value, Result<(), Status>);

/// The runtime in one of its lives.
pub struct Runtime {
    place: Arc<Place>,
    client: NodeServiceClient<Channel>,
    assigned: BTreeMap<String, (Value, Vec<String>, bool)>,
    synced: bool,
    told: BTreeMap<String, (Value, Duration)>,
    underway: BTreeSet<String>,
    reports: FuturesUnordered<BoxFuture<'static, Reported>>,
    not_before: Duration,
    follows: u32,
}

impl Runtime {
    /// A runtime that starts.
    #[must_use]
    pub fn new(place: Arc<Place>, context: &Context) -> Self {
        let channel = context.connect(Role::Coordinator, &Target::Tcp("coordinator:7700".to_owned()), None);
        let client = service_kit::sized_client!(NodeServiceClient::new(channel));
        Self {
            place,
            client,
            assigned: BTreeMap::new(),
            synced: false,
            told: BTreeMap::new(),
            underway: BTreeSet::new(),
            reports: FuturesUnordered::new(),
            not_before: Duration::ZERO,
            follows: 0,
        }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        if self.place.lab.mutant() == Some(Mutant::MachineTrustsCache) {
            for (pod, claims) in self.place.lab.remembered() {
                if self.place.lab.process(text(&pod, "/metadata/uid")).is_none() {
                    self.place.lab.start_process(&pod, claims);
                }
            }
        }
        loop {
            self.place.clock.goes_on().await;
            let comes_back = self.follows == 0 || self.place.lab.mutant() != Some(Mutant::WatchOnce);
            if comes_back && self.register().await.is_ok() {
                let request = WatchAssignmentsRequest { node: NODE.to_owned() };
                if let Ok(stream) = self.client.clone().watch_assignments(request).await {
                    (self.synced, self.assigned) = (false, BTreeMap::new());
                    self.follows += 1;
                    self.follow(stream.into_inner()).await;
                }
            }
            let until = tokio::time::Instant::now() + RETRY;
            while tokio::time::Instant::now() < until {
                self.look();
                self.hear(LOOK_EVERY).await;
            }
        }
    }

    async fn register(&self) -> Result<(), Status> {
        let request = RegisterNodeRequest {
            name: NODE.to_owned(),
            runtime_address: "node:7705".to_owned(),
            host_ip: "127.0.0.1".to_owned(),
            tier: "process".to_owned(),
            degraded: Vec::new(),
        };
        self.client.clone().register_node(request).await.map(drop)
    }

    async fn follow(&mut self, mut stream: tonic::Streaming<WatchAssignmentsResponse>) {
        loop {
            let message = tokio::select! {
                biased;
                message = stream.next() => message,
                Some(reported) = self.reports.next(), if !self.reports.is_empty() => {
                    self.answered(reported);
                    continue;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    self.look();
                    continue;
                }
            };
            self.place.clock.goes_on().await;
            match message {
                Some(Ok(WatchAssignmentsResponse { message: Some(message) })) => self.take(message),
                Some(Ok(WatchAssignmentsResponse { message: None })) => {}
                None if self.place.lab.mutant() == Some(Mutant::EmptyIsGone) && !self.synced => {
                    return self.take(Message::Synced(Synced::default()));
                }
                Some(Err(_)) | None => return,
            }
            self.look();
        }
    }

    async fn hear(&mut self, time: Duration) {
        tokio::select! {
            biased;
            Some(reported) = self.reports.next(), if !self.reports.is_empty() => self.answered(reported),
            () = tokio::time::sleep(time) => {}
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Assignment(assignment) => {
                let Assignment { pod, claims, missing, .. } = assignment;
                let pod: Value = serde_json::from_slice(&pod).expect("the coordinator sends pods");
                let uid = text(&pod, "/metadata/uid").to_owned();
                let mut claims: Vec<String> = claims.into_values().map(|claim| claim.claim_uid).collect();
                claims.sort();
                self.assigned.insert(uid, (pod, claims, missing.is_empty()));
            }
            Message::Gone(gone) => {
                self.assigned.remove(&gone.uid);
                self.place.lab.kill_process(&gone.uid, "the pod is gone");
            }
            Message::Synced(_) => {
                self.synced = true;
                for uid in self.place.lab.process_uids() {
                    if !self.assigned.contains_key(&uid) {
                        self.place.lab.kill_process(&uid, "nobody knows its pod");
                    }
                }
            }
        }
    }

    /// Acts on the difference between what should be and what is, and reports what is.
    fn look(&mut self) {
        let lab = self.place.lab.clone();
        let mutant = lab.mutant();
        for (uid, (pod, claims, complete)) in &self.assigned {
            let going = !text(pod, "/metadata/deletionTimestamp").is_empty();
            let running = lab.process(uid);
            match (&running, going) {
                (None, false) if *complete => {
                    lab.start_process(pod, claims.clone());
                    self.tell(pod);
                }
                (Some(running), true) if running.life != Life::Ended => lab.stop_process(uid),
                (Some(running), false) if running.life == Life::Ended => lab.restart_process(uid),
                _ => {}
            }
        }
        lab.forget_processes(|uid| self.assigned.contains_key(uid));
        if mutant == Some(Mutant::MachineTrustsCache) {
            self.assigned.values().for_each(|(pod, claims, _)| lab.remember(pod, claims));
        }
        self.report();
    }

    /// Tells what a person might want to know, until it is heard: as an event that equal ones are counted with.
    fn tell(&self, pod: &Value) {
        let request = ReportEventRequest {
            node: NODE.to_owned(),
            namespace: text(pod, "/metadata/namespace").to_owned(),
            name: text(pod, "/metadata/name").to_owned(),
            uid: text(pod, "/metadata/uid").to_owned(),
            r#type: "Normal".to_owned(),
            reason: "Started".to_owned(),
            message: "its processes have started".to_owned(),
        };
        let mut client = self.client.clone();
        // Nobody waits for it; it ends with its host, or after its tries.
        tokio::spawn(async move {
            for _ in 0..EVENT_TRIES_MAX {
                match client.report_event(request.clone()).await {
                    Err(status) if crate::user::indeterminate(status.code()) => tokio::time::sleep(RETRY).await,
                    _ => return,
                }
            }
        });
    }

    fn report(&mut self) {
        if turmoil::sim_elapsed().unwrap_or_default() < self.not_before {
            return;
        }
        let lab = self.place.lab.clone();
        let mutant = lab.mutant();
        for (uid, (pod, ..)) in &self.assigned {
            let going = !text(pod, "/metadata/deletionTimestamp").is_empty();
            let (status, stopped) = match lab.process(uid) {
                Some(running) => {
                    let asked = match mutant {
                        Some(Mutant::StoppedTooEarly) => running.stopping,
                        Some(Mutant::NamesForUids) => lab.has_stopped(text(pod, "/metadata/name")),
                        _ => false,
                    };
                    (running.status(), going && (asked || running.life == Life::Ended))
                }
                None if going => (serde_json::json!({ "phase": "Pending" }), true),
                None => continue,
            };
            let whole = serde_json::json!({ "status": status, "stopped": stopped });
            let now = turmoil::sim_elapsed().unwrap_or_default();
            let told = self.told.get(uid).is_some_and(|(told, at)| *told == whole && now < *at + REPORT_AGAIN);
            if told && !lab.repeats_reports() || self.underway.contains(uid) {
                continue;
            }
            let request = ReportPodStatusRequest {
                node: NODE.to_owned(),
                namespace: text(pod, "/metadata/namespace").to_owned(),
                name: text(pod, "/metadata/name").to_owned(),
                uid: uid.clone(),
                status: status.to_string().into_bytes().into(),
                stopped,
            };
            if mutant == Some(Mutant::ReportOnce) {
                self.told.insert(uid.clone(), (whole.clone(), Duration::MAX / 2));
            }
            self.underway.insert(uid.clone());
            let (mut client, uid) = (self.client.clone(), uid.clone());
            self.reports.push(Box::pin(async move {
                let answer = client.report_pod_status(request).await.map(drop);
                (uid, whole, answer)
            }));
        }
    }

    fn answered(&mut self, (uid, whole, answer): Reported) {
        self.underway.remove(&uid);
        let now = turmoil::sim_elapsed().unwrap_or_default();
        match answer {
            Ok(()) => {
                if whole["stopped"] == true {
                    let pod = self.assigned.get(&uid).map(|(pod, ..)| text(pod, "/metadata/name"));
                    self.place.lab.report_taken(&uid, pod.unwrap_or_default());
                }
                self.told.insert(uid, (whole, now));
            }
            Err(status) if status.code() == Code::NotFound => {
                self.told.insert(uid, (whole, now));
            }
            Err(_) => self.not_before = now + RETRY,
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
