//! One task per pod: looks, decides, keeps, acts, reports; then waits for a reason to look again.

mod act;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::proto::coordinator::v1 as wire;
use domain::{Timestamp, Uid};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost::Message as _;
use serde_json::Value;
use service_kit::CancellationToken;
use service_kit::clock::Clock;
use service_kit::status::chain;
use service_kit::telemetry::TRACEPARENT_ANNOTATION;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span, debug, error, info, warn};

use super::assigned::Assigned;
use super::catalogue::Catalogue;
use super::decide::{Action, Decision, Intent, Now, Observation, View, decide};
use super::directory::PodDirectory;
use super::environment::Machine;
use super::link::{NodeLink, Refusal};
use super::metrics::Metrics;
use super::names::resolv_conf;
use super::record::{Memory, Record};
use super::security::not_enforced;
use super::zone::Zone;
use crate::backend::{BackendError, Capabilities, ContainerState, PodBackend, SandboxState};
use crate::spec::Role;

/// A pod is looked at this often even if nobody says that something happened.
const RESYNC: Duration = Duration::from_secs(60);

/// When something of the machine failed (reading a state, keeping a record) it is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// What was reported is reported again after this: a report from before may have come late, and be what is stored.
const REPORT_AGAIN: Duration = RESYNC;

/// First and longest wait before a report that was not taken is sent again.
const REPORT_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Deadlines travel in whole seconds; a pod must not lose the part of one that was cut off.
const DEADLINE_ROUNDING: Duration = Duration::from_secs(1);

/// What all workers share.
pub struct Shared {
    /// Makes pods real.
    pub backend: Arc<dyn PodBackend>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The coordinator.
    pub link: Arc<dyn NodeLink>,
    /// Time.
    pub clock: SteadyClock,
    /// Where records are kept.
    pub state_dir: PathBuf,
    /// A directory of the machine that is kept in memory, if there is one.
    pub memory_dir: Option<PathBuf>,
    /// Name of the machine.
    pub node_name: String,
    /// What images mean.
    pub catalogue: Catalogue,
    /// What the machine has.
    pub machine: Machine,
    /// Domain of names.
    pub cluster_domain: watch::Sender<String>,
    /// Where DNS is served, once the coordinator said so: host:port.
    pub dns_address: watch::Sender<String>,
    /// The machine's own resolver configuration.
    pub host_resolv_conf: String,
    /// Names of all pods, where there is no name server on port 53.
    pub others: watch::Sender<Arc<Zone>>,
    /// Events on their way.
    pub events: mpsc::Sender<wire::ReportEventRequest>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The end of this runtime; pods go on.
    pub shutdown: CancellationToken,
}

/// Time that does not jump, in the shape of wall-clock time: the wall clock at the start plus what has passed since.
#[derive(Clone)]
pub struct SteadyClock {
    clock: Arc<dyn Clock>,
    offset: i64,
}

impl SteadyClock {
    /// Steady from now on.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let offset = clock.now().0.saturating_sub(milliseconds(clock.monotonic()));
        Self { clock, offset }
    }

    /// The moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let steady = Timestamp(self.offset.saturating_add(milliseconds(self.clock.monotonic())));
        Now { steady, wall: self.clock.now() }
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        self.clock.sleep(moment.since(self.now().steady))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What is wanted of a pod; the latest counts.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The pod and all it refers to.
    pub assigned: Arc<Assigned>,
    /// Counts changes of the assignment.
    pub version: u64,
    /// Whether its object is gone.
    pub gone: bool,
    /// Whether it was assigned since this runtime began. Before that it may be another machine's by now.
    pub confirmed: bool,
    /// Whether the machine goes down.
    pub suspended: bool,
}

/// What others may know of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Store that assigned it.
    pub store_id: String,
    /// Each container with the run that was last begun, and whether it runs.
    pub containers: BTreeMap<String, (Option<u32>, bool)>,
    /// Phase, as it is told.
    pub phase: String,
    /// Whether nothing of it is left.
    pub stopped: bool,
}

/// A pod's worker.
pub struct Worker {
    shared: Arc<Shared>,
    uid: Uid,
    directory: PodDirectory,
    wanted: watch::Receiver<Wanted>,
    wake: Arc<Notify>,
    summary: watch::Sender<Summary>,
    record: Record,
    memory: Memory,
    sandbox: Option<SandboxState>,
    observations: Vec<Observation>,
    tasks: JoinSet<Observation>,
    version: u64,
    gone: bool,
    confirmed: bool,
    told: Option<(Value, bool)>,
    told_at: Timestamp,
    reporting: Option<BoxFuture<'static, Result<(), Refusal>>>,
    report: Option<(Value, bool)>,
    report_retry: Option<(Timestamp, Duration)>,
    wake_at: Timestamp,
}

impl Worker {
    /// A worker of a pod that is known by its record; a default one for a new pod.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        uid: Uid,
        directory: PodDirectory,
        record: Record,
        wanted: watch::Receiver<Wanted>,
        wake: Arc<Notify>,
        summary: watch::Sender<Summary>,
    ) -> Self {
        let adopted = record.sandbox;
        let version = wanted.borrow().version;
        Self {
            shared,
            uid,
            directory,
            wanted,
            wake,
            summary,
            record,
            memory: Memory { adopted, ..Memory::default() },
            sandbox: None,
            observations: Vec::new(),
            tasks: JoinSet::new(),
            version,
            gone: false,
            confirmed: false,
            told: None,
            told_at: Timestamp::default(),
            reporting: None,
            report: None,
            report_retry: None,
            wake_at: Timestamp::default(),
        }
    }

    /// Works until the pod is gone or this runtime ends. Returns the uid.
    pub async fn run(mut self) -> Uid {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let over = self.pass().await;
            if over {
                match self.directory.remove() {
                    Ok(()) => return self.uid,
                    Err(error) => warn!(uid = %self.uid, error = %error, "cannot remove the files of a pod"),
                }
            }
            self.start_report();
            let clock = self.shared.clock.clone();
            let retry_at = self.report_retry.map_or(Timestamp(i64::MAX), |(at, _)| at);
            tokio::select! {
                () = shutdown.cancelled() => return self.uid,
                changed = self.wanted.changed() => if changed.is_err() { return self.uid },
                () = self.wake.notified() => {}
                Some(done) = self.tasks.join_next() => self.finished(done),
                result = next_report(&mut self.reporting) => self.reported(result),
                () = clock.sleep_until(self.wake_at.min(retry_at)) => {}
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.finished(done);
            }
        }
    }

    fn finished(&mut self, done: Result<Observation, tokio::task::JoinError>) {
        match done {
            Ok(observation) => self.observations.push(observation),
            // What a lost action was to answer is forgotten with everything else that is under way.
            Err(error) => {
                error!(uid = %self.uid, error = %error, "an action of a pod broke");
                self.memory = Memory::default();
            }
        }
    }

    /// One look; true once nothing of the pod is left and nobody wants to know of it any more.
    async fn pass(&mut self) -> bool {
        if !self.look().await {
            return false;
        }
        let wanted = self.wanted.borrow_and_update().clone();
        if wanted.version != self.version {
            self.version = wanted.version;
            self.observations.push(Observation::AssignmentChanged);
        }
        self.gone |= wanted.gone;
        // What was never interrupted is nobody else's.
        self.confirmed |= wanted.confirmed || self.sandbox.as_ref().is_some_and(|sandbox| sandbox.alive);
        self.hear_last_words(&wanted.assigned);
        let decision = self.decide(&wanted);
        let keep = || self.directory.create().and_then(|()| self.directory.save_record(&decision.record));
        if decision.record != self.record
            && let Err(error) = keep()
        {
            error!(uid = %self.uid, error = %error, "cannot keep the record of a pod");
            self.wake_at = self.shared.clock.now().steady.plus(RETRY);
            return false; // Nothing is done that is not kept first.
        }
        self.observations.clear();
        let stopped = decision.stopped;
        self.take(decision, &wanted.assigned);
        stopped && self.gone
    }

    /// Reads the state of the sandbox; false if that failed.
    async fn look(&mut self) -> bool {
        match self.shared.backend.state(&self.uid).await {
            Ok(state) => self.sandbox = Some(state),
            Err(BackendError::NoSandbox { .. }) => self.sandbox = None,
            Err(error) => {
                warn!(uid = %self.uid, error = %chain(&error), "cannot read the state of a sandbox");
                self.wake_at = self.shared.clock.now().steady.plus(RETRY);
                return false;
            }
        }
        true
    }

    fn decide(&self, wanted: &Wanted) -> Decision {
        let now = self.shared.clock.now();
        let assigned = &wanted.assigned;
        let capabilities = &self.shared.capabilities;
        decide(&View {
            pod: &assigned.pod,
            intent: intent(assigned, self.gone, wanted.suspended, now),
            confirmed: self.confirmed,
            sandbox: self.sandbox.as_ref(),
            record: &self.record,
            memory: &self.memory,
            observations: &self.observations,
            host_ip: &capabilities.host_ip.to_string(),
            not_enforced: &self.not_enforced(assigned),
            now,
        })
    }

    /// What of the manifest is not enforced here, the resolver configuration included.
    fn not_enforced(&self, assigned: &Assigned) -> Vec<String> {
        let capabilities = &self.shared.capabilities;
        let mut list = not_enforced(&assigned.pod, capabilities);
        let domain = self.shared.cluster_domain.borrow();
        let (_, warning) = resolv_conf(&assigned.pod, capabilities.nameserver, &domain, &self.shared.host_resolv_conf);
        list.extend(warning.map(|(reason, message)| format!("{reason}: {message}")));
        list
    }

    fn take(&mut self, decision: Decision, assigned: &Arc<Assigned>) {
        for event in decision.events {
            self.tell(assigned, event.warning, event.reason, event.message);
        }
        self.record = decision.record;
        self.memory = decision.memory;
        self.wake_at = self.shared.clock.now().steady.plus(RESYNC);
        if let Some(next) = decision.next_wake {
            self.wake_at = self.wake_at.min(next);
        }
        for action in decision.actions {
            debug!(uid = %self.uid, action = ?action, "acting");
            let span = self.span(assigned, &action);
            let context = act::Context {
                shared: self.shared.clone(),
                uid: self.uid.clone(),
                assigned: assigned.clone(),
                directory: self.directory.clone(),
                pod_ip: self.record.ip,
            };
            self.tasks.spawn(act::act(context, action).instrument(span));
        }
        let phase = decision.status.get("phase").and_then(Value::as_str).unwrap_or("Unknown").to_owned();
        self.report = Some((decision.status, decision.stopped));
        let containers = self.record.containers.iter();
        let containers = containers.map(|(name, record)| (name.clone(), (record.instance, record.running())));
        let summary = Summary {
            store_id: self.record.store_id.clone(),
            containers: containers.collect(),
            phase,
            stopped: decision.stopped,
        };
        self.summary.send_if_modified(|old| {
            let changed = *old != summary;
            *old = summary;
            changed
        });
    }

    /// The span of an action, in the trace of the rollout that the pod is part of; none for probes, which have no end.
    fn span(&self, assigned: &Assigned, action: &Action) -> Span {
        let (name, container) = match action {
            Action::Probe { .. } => return Span::none(),
            Action::PrepareVolumes => ("prepare volumes", ""),
            Action::EnsureSandbox => ("make sandbox", ""),
            Action::Start { container, .. } => ("start container", container.as_str()),
            Action::PostStart { container, .. } => ("postStart", container.as_str()),
            Action::PreStop { container, .. } => ("preStop", container.as_str()),
            Action::Signal { container, .. } => ("signal container", container.as_str()),
            Action::Kill { container, .. } => ("kill container", container.as_str()),
            Action::RemoveSandbox => ("remove sandbox", ""),
        };
        let meta = &assigned.pod.metadata;
        let span = tracing::debug_span!(
            "act",
            otel.name = name,
            k8s.namespace.name = meta.namespace,
            k8s.pod.name = meta.name,
            k8s.pod.uid = %self.uid,
            k8s.container.name = tracing::field::Empty,
        );
        if !container.is_empty() {
            span.record("k8s.container.name", container);
        }
        join_rollout(&span, assigned);
        span
    }

    /// Reads what containers left that ended since the last look.
    fn hear_last_words(&mut self, assigned: &Assigned) {
        for found in self.sandbox.iter().flat_map(|sandbox| &sandbox.containers) {
            let ContainerState::Exited(exit) = &found.state else { continue };
            let Some((role, container)) = assigned.pod.container(&found.name) else { continue };
            let known = self.record.containers.get(&found.name);
            let heard = known.is_some_and(|known| {
                known.instance > Some(found.instance)
                    || (known.instance == Some(found.instance) && known.exit.is_some())
            });
            if heard || (role == Role::Init && exit.exit_code == 0) {
                continue;
            }
            let or_log = container.termination_message_policy == "FallbackToLogsOnError" && exit.exit_code != 0;
            let text = self.directory.last_words(&found.name, found.instance, or_log);
            if !text.is_empty() {
                let (container, instance) = (found.name.clone(), found.instance);
                self.observations.push(Observation::LastWords { container, instance, text });
            }
        }
    }

    fn tell(&self, assigned: &Assigned, warning: bool, reason: &str, message: String) {
        let meta = &assigned.pod.metadata;
        if warning {
            info!(namespace = %meta.namespace, pod = %meta.name, reason, message, "warning about a pod");
        }
        let event = wire::ReportEventRequest {
            node: self.shared.node_name.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: self.uid.0.clone(),
            r#type: if warning { "Warning" } else { "Normal" }.to_owned(),
            reason: reason.to_owned(),
            message,
        };
        if self.shared.events.try_send(event).is_err() {
            debug!(uid = %self.uid, reason, "too many events at once; one is dropped");
        }
    }

    /// Sends the latest status if it is news; one report at a time, and the latest wins.
    fn start_report(&mut self) {
        let now = self.shared.clock.now().steady;
        let waiting = self.report_retry.is_some_and(|(at, _)| at > now);
        let news = self.report != self.told;
        let told = !news && now < self.told_at.plus(REPORT_AGAIN);
        if self.reporting.is_some() || waiting || self.report.is_none() || told || self.gone {
            return;
        }
        let Some((status, stopped)) = self.report.clone() else { return };
        let assigned = self.wanted.borrow().assigned.clone();
        let meta = &assigned.pod.metadata;
        let request = wire::ReportPodStatusRequest {
            node: self.shared.node_name.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: self.uid.0.clone(),
            status: status.to_string().into_bytes().into(),
            stopped,
        };
        (self.told, self.told_at) = (Some((status, stopped)), now);
        let link = self.shared.link.clone();
        let span = tracing::debug_span!("report", k8s.pod.name = meta.name);
        // What is only said again is no part of it.
        if news {
            join_rollout(&span, &assigned);
        }
        self.reporting = Some(async move { link.report(request).await }.instrument(span).boxed());
    }

    fn reported(&mut self, result: Result<(), Refusal>) {
        self.reporting = None;
        match result {
            Ok(()) => self.report_retry = None,
            // Not the word that ends a pod: whoever answered may be another store than the one that assigned it. The
            // right one says so on its watch, where its identity is known.
            Err(Refusal::Gone) => self.report_later("the pod is not stored", REPORT_RETRY.1),
            Err(Refusal::Later(why)) => {
                let (first, max) = REPORT_RETRY;
                let wait = self.report_retry.map_or(first, |(_, wait)| (wait * 2).min(max));
                self.report_later(&why, wait);
            }
        }
    }

    fn report_later(&mut self, why: &str, wait: Duration) {
        debug!(uid = %self.uid, error = why, "a report was not taken");
        self.told = None;
        self.report_retry = Some((self.shared.clock.now().steady.plus(jitter(wait)), wait));
    }
}

/// Makes a span part of the trace of the rollout that made, or ends, the pod.
fn join_rollout(span: &Span, assigned: &Assigned) {
    if let Some(traceparent) = assigned.pod.metadata.annotations.get(TRACEPARENT_ANNOTATION) {
        service_kit::telemetry::set_parent(span, traceparent);
    }
}

async fn next_report(reporting: &mut Option<BoxFuture<'static, Result<(), Refusal>>>) -> Result<(), Refusal> {
    match reporting {
        Some(report) => report.await,
        None => std::future::pending().await,
    }
}

/// What is wanted, from the object and from what happens around it (pod rules, 8.1).
fn intent(assigned: &Assigned, gone: bool, suspended: bool, now: Now) -> Intent {
    let pod = &assigned.pod;
    if gone {
        return Intent::Stop { grace_end: now.steady, hooks: false, keep: false };
    }
    if let Some(deadline) = pod.deletion_deadline() {
        let grace = pod.metadata.deletion_grace_period_seconds.map_or(pod.grace_seconds(), crate::spec::positive_grace);
        let left = if deadline < now.wall { Duration::ZERO } else { deadline.since(now.wall) + DEADLINE_ROUNDING };
        let left = left.min(Duration::from_secs(grace));
        return Intent::Stop { grace_end: now.steady.plus(left), hooks: grace > 0, keep: false };
    }
    if suspended {
        let grace_end = now.steady.plus(Duration::from_secs(pod.grace_seconds()));
        return Intent::Stop { grace_end, hooks: true, keep: true };
    }
    Intent::Run
}

/// Half to all of a wait, so that many do not come back at once.
pub(crate) fn jitter(wait: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let half = wait / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(RandomState::new().hash_one(0u8) % span)
}

/// Keeps an assignment, and reads it.
///
/// # Errors
/// It cannot be read or kept; in words.
pub(crate) fn keep_assignment(directory: &PodDirectory, message: &wire::Assignment) -> Result<Assigned, String> {
    let assigned = Assigned::try_from(message).map_err(|error| chain(&error))?;
    let kept = directory.create().and_then(|()| directory.save_assignment(&message.encode_to_vec()));
    kept.map_err(|error| error.to_string())?;
    Ok(assigned)
}
