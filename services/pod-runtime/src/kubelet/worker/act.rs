//! Carries out one action and tells how it went.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::Uid;
use service_kit::status::chain;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::Shared;
use crate::backend::{BackendError, ContainerSpec, SandboxSpec};
use crate::kubelet::assigned::Assigned;
use crate::kubelet::decide::{Action, Observation, StartFailure};
use crate::kubelet::directory::PodDirectory;
use crate::kubelet::launch::{Launch, LaunchError, container_spec};
use crate::kubelet::names::{pod_names, resolv_conf};
use crate::kubelet::prober::Prober;
use crate::kubelet::probing::{ProbeKind, ProbeOutcome};
use crate::kubelet::volumes;
use crate::spec::Container;

/// How containers are told to stop if nobody says otherwise.
const SIGTERM: i32 = 15;

/// What an action depends on.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) uid: Uid,
    pub(super) assigned: Arc<Assigned>,
    pub(super) directory: PodDirectory,
    pub(super) pod_ip: Option<IpAddr>,
}

pub(super) async fn act(context: Context, action: Action) -> Observation {
    match action {
        Action::PrepareVolumes => Observation::Volumes(context.prepare_volumes().await.map(|_| ())),
        Action::EnsureSandbox => Observation::Sandbox(context.ensure_sandbox().await),
        Action::Start { container, instance } => {
            let began = Instant::now();
            let result = context.start(&container, instance).await;
            context.shared.metrics.started(instance, began, result.is_ok());
            Observation::Started { container, instance, result }
        }
        Action::PostStart { container, instance } => {
            let result = context.hook(&container, None).await;
            Observation::PostStarted { container, instance, result }
        }
        Action::PreStop { container, instance, timeout } => {
            let result = context.hook(&container, Some(timeout)).await;
            Observation::PreStopped { container, instance, result }
        }
        Action::Signal { container, instance } => {
            let signal = context.stop_signal(&container);
            let result = context.shared.backend.signal(&context.uid, &container, signal).await;
            Observation::Struck { container, instance, kill: false, result: dead_is_fine(result) }
        }
        Action::Kill { container, instance } => {
            let result = context.shared.backend.kill(&context.uid, &container).await;
            Observation::Struck { container, instance, kill: true, result: dead_is_fine(result) }
        }
        Action::Probe { container, instance, kind } => {
            let outcome = context.probe(&container, kind).await;
            context.shared.metrics.probed(kind, &outcome);
            Observation::Probed { container, instance, kind, outcome }
        }
        Action::RemoveSandbox => Observation::Removed(gone_is_fine(context.shared.backend.remove(&context.uid).await)),
    }
}

/// What should die and has nobody left to ask is fine: a shim's socket goes when its pod ends. Should anything live
/// still, the next look says so, and it is struck again.
fn dead_is_fine(result: Result<(), BackendError>) -> Result<(), String> {
    match result {
        Err(BackendError::Machine { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => gone_is_fine(result),
    }
}

/// What should go and is gone is fine.
fn gone_is_fine(result: Result<(), BackendError>) -> Result<(), String> {
    match result {
        Ok(()) | Err(BackendError::NoSandbox { .. } | BackendError::NotRunning { .. }) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}

impl Context {
    fn container(&self, name: &str) -> Option<Container> {
        self.assigned.pod.container(name).map(|(_, container)| container.clone())
    }

    async fn prepare_volumes(&self) -> Result<BTreeMap<String, volumes::Ready>, String> {
        let (assigned, directory, machine) = (self.assigned.clone(), self.directory.clone(), self.shared.machine);
        let work = move || {
            directory.create().map_err(|error| error.to_string())?;
            volumes::prepare(&assigned, &directory.places(), machine).map_err(|error| error.to_string())
        };
        spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn ensure_sandbox(&self) -> Result<(), String> {
        let pod = &self.assigned.pod;
        let names = pod_names(pod, &self.shared.cluster_domain.borrow().clone())?;
        let spec = SandboxSpec {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: self.uid.clone(),
            hostname: names.kernel,
        };
        match self.shared.backend.ensure_sandbox(spec).await {
            Ok(_) => Ok(()),
            Err(error @ BackendError::PredecessorAlive { .. }) => {
                Err(format!("waiting for the predecessor to be proven dead: {error}"))
            }
            Err(error) => Err(chain(&error)),
        }
    }

    async fn start(&self, name: &str, instance: u32) -> Result<(), StartFailure> {
        let refused = |reason: &str, message: String| StartFailure::Refused { reason: reason.to_owned(), message };
        let ready = self.prepare_volumes().await.map_err(|why| refused("ContainerCreating", why))?;
        let spec = self.spec(name, instance, ready).await;
        let spec = spec.map_err(|error| refused(error.reason, error.message))?;
        match self.shared.backend.start_container(&self.uid, spec).await {
            Ok(_) => Ok(()),
            Err(BackendError::CannotRun { reason: "RunContainerError", message }) => {
                Err(StartFailure::Spent { message })
            }
            Err(BackendError::CannotRun { reason, message }) => Err(refused(reason, message)),
            Err(error) => Err(refused("CreateContainerError", chain(&error))),
        }
    }

    async fn spec(
        &self,
        name: &str,
        instance: u32,
        ready: BTreeMap<String, volumes::Ready>,
    ) -> Result<ContainerSpec, LaunchError> {
        let failed = |message: String| LaunchError { reason: "CreateContainerError", message };
        let container = self.container(name).ok_or_else(|| failed(format!("no container {name:?}")))?;
        let pod_ip = self.pod_ip.ok_or_else(|| failed("the pod has no address yet".to_owned()))?;
        let (shared, assigned, directory) = (self.shared.clone(), self.assigned.clone(), self.directory.clone());
        let work = move || {
            let domain = shared.cluster_domain.borrow().clone();
            let names = pod_names(&assigned.pod, &domain).map_err(failed)?;
            let nameserver = shared.capabilities.nameserver;
            let (resolver, _) = resolv_conf(&assigned.pod, nameserver, &domain, &shared.host_resolv_conf);
            let others = shared.others.borrow().clone();
            let launch = Launch {
                assigned: &assigned,
                ready: &ready,
                directory: &directory,
                names: &names,
                pod_ip,
                resolv_conf: &resolver,
                others: &others,
                capabilities: &shared.capabilities,
                node_name: &shared.node_name,
                catalogue: &shared.catalogue,
                machine: shared.machine,
            };
            container_spec(&launch, &container, instance)
        };
        spawn_blocking(work).await.unwrap_or_else(|error| Err(failed(error.to_string())))
    }

    fn prober(&self, name: &str) -> Result<Prober, String> {
        let container = self.container(name).ok_or_else(|| format!("no container {name:?}"))?;
        let pod_ip = self.pod_ip.ok_or_else(|| "the pod has no address".to_owned())?;
        Ok(Prober { backend: self.shared.backend.clone(), uid: self.uid.clone(), pod_ip, container })
    }

    /// postStart where there is no timeout, preStop where there is one.
    async fn hook(&self, name: &str, timeout: Option<Duration>) -> Result<(), String> {
        let prober = self.prober(name)?;
        let lifecycle = &prober.container.lifecycle;
        let hook = if timeout.is_some() { &lifecycle.pre_stop } else { &lifecycle.post_start };
        match hook {
            Some(hook) => prober.hook(hook, timeout).await,
            None => Ok(()),
        }
    }

    async fn probe(&self, name: &str, kind: ProbeKind) -> ProbeOutcome {
        let prober = match self.prober(name) {
            Ok(prober) => prober,
            Err(why) => return ProbeOutcome::Impossible(why),
        };
        match kind.of(&prober.container) {
            Some(probe) => prober.probe(probe).await,
            None => ProbeOutcome::Impossible("there is no such probe".to_owned()),
        }
    }

    fn stop_signal(&self, name: &str) -> i32 {
        let container = self.container(name);
        let wanted = container.and_then(|container| container.lifecycle.stop_signal);
        let known = wanted.and_then(|name| name.parse::<nix::sys::signal::Signal>().ok());
        known.map_or(SIGTERM, |signal| signal as i32)
    }
}
