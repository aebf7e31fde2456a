//! Puts a pod runtime together.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::proto::coordinator::v1::RegisterNodeRequest;
use api::proto::pod_runtime::v1::pod_runtime_service_server::PodRuntimeServiceServer;
use service_kit::{Context, Running, Server};
use tokio::sync::{mpsc, watch};

use crate::backend::{BackendError, PodBackend};
use crate::config::Config;
use crate::error::SERVICE;
use crate::kubelet::catalogue::Catalogue;
use crate::kubelet::environment::Machine;
use crate::kubelet::link::GrpcLink;
use crate::kubelet::worker::{Shared, SteadyClock};
use crate::kubelet::{Kubelet, Pods};
use crate::sandbox::{self, PodNetwork, Sandboxes};
use crate::server::PodRuntime;

/// Events on their way to the coordinator; more at once are dropped.
const EVENTS_MAX: usize = 256;

/// Domain of names until the coordinator says otherwise.
const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Pods' network where the configuration names none.
const DEFAULT_NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 77, 0, 0), 16);

/// How soon the name server of the pods is tried again after it failed.
const NAME_SERVER_RETRY: Duration = Duration::from_secs(1);

/// Starts a pod runtime on this machine. The program's `main` must begin with [`crate::helper::helper_main`], or
/// `config.executable` name a program whose does.
///
/// # Errors
/// The machine refuses the tier asked for, another runtime uses the state directory, or as for
/// [`start_with_backend`].
pub async fn start(config: Config, context: Context) -> Result<Running, service_kit::Error> {
    let refused = |error: BackendError| service_kit::Error::start(SERVICE, error);
    let invalid = |what: String| service_kit::Error::start(SERVICE, io::Error::new(io::ErrorKind::InvalidInput, what));
    let helper = match &config.executable {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|error| service_kit::Error::start(SERVICE, error))?,
    };
    let (address, prefix_length) = config.pod_cidr.unwrap_or(DEFAULT_NETWORK);
    let network = PodNetwork::new(address, prefix_length)
        .ok_or_else(|| invalid(format!("pod network {address}/{prefix_length}: the prefix must have 8 to 28 bits")))?;
    let mut private = std::fs::DirBuilder::new();
    let made = private.recursive(true).mode(0o700).create(&config.state_dir);
    made.map_err(|error| service_kit::Error::start(SERVICE, error))?;
    let options = sandbox::Options {
        state_dir: config.state_dir.join("sandbox"),
        helper,
        tier: config.tier,
        network,
        masked: vec![config.state_dir.clone()],
    };
    let backend = sandbox::open(options).await.map_err(refused)?;
    let name_server = config.name_server;
    let running = start_with_backend(config, context.clone(), backend.clone()).await?;
    let Running { name, address, task } = running;
    let task = tokio::spawn(async move {
        let (served, ()) = tokio::join!(task, answer_names(&backend, name_server, &context));
        if let Err(error) = backend.close().await {
            tracing::warn!(error = service_kit::status::chain(&error), "processes of the node stay");
        }
        served.unwrap_or_else(|error| Err(service_kit::Error::start(SERVICE, error)))
    });
    Ok(Running { name, address, task })
}

/// Passes pods' name queries on until the runtime stops.
async fn answer_names(backend: &Sandboxes, name_server: Option<SocketAddr>, context: &Context) {
    let Some(upstream) = name_server else { return };
    while let Err(error) = backend.serve_dns(upstream, context.shutdown.clone()).await {
        tracing::warn!(error = service_kit::status::chain(&error), "names in pods do not resolve");
        let pause = context.clock.sleep(NAME_SERVER_RETRY);
        if context.shutdown.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Starts a pod runtime over a backend that is already there.
///
/// # Errors
/// The state directory or the catalogue cannot be used, or the address is taken.
pub async fn start_with_backend(
    config: Config,
    context: Context,
    backend: Arc<dyn PodBackend>,
) -> Result<Running, service_kit::Error> {
    let failed = |error: std::io::Error| service_kit::Error::start(SERVICE, error);
    let mut private = std::fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(&config.state_dir).map_err(failed)?;
    let executable = config.executable.clone().or_else(|| std::env::current_exe().ok());
    let mut catalogue = Catalogue::built_in(executable.as_deref());
    if let Some(path) = &config.catalogue {
        catalogue.extend_from(path).map_err(|error| service_kit::Error::start(SERVICE, error))?;
    }
    let memory_dir = config.memory_dir.clone().filter(|path| is_writable(path));
    let pods = Pods::new(config.state_dir.clone(), memory_dir.clone());
    let runtime = PodRuntime::new(backend.clone(), pods.clone(), context.shutdown.clone());
    let service = service_kit::sized_server!(PodRuntimeServiceServer::new(runtime));
    let bound = Server::new(SERVICE).add(service).bind(&config.listen).await?;

    let (events, event_receiver) = mpsc::channel(EVENTS_MAX);
    let capabilities = backend.capabilities();
    let registration = RegisterNodeRequest {
        name: config.node_name.clone(),
        runtime_address: advertised(&config, bound.tcp_address()),
        host_ip: capabilities.host_ip.to_string(),
        tier: capabilities.tier.to_owned(),
        degraded: capabilities.degraded.clone(),
    };
    let channel = service_kit::connect(&config.coordinator, config.token.as_ref());
    let kubelet = Kubelet::new(
        Arc::new(Shared {
            backend,
            capabilities,
            link: Arc::new(GrpcLink::new(channel, registration)),
            clock: SteadyClock::new(context.clock.clone()),
            state_dir: config.state_dir,
            memory_dir,
            node_name: config.node_name,
            catalogue,
            machine: machine(),
            cluster_domain: watch::Sender::new(DEFAULT_CLUSTER_DOMAIN.to_owned()),
            host_resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            others: watch::Sender::new(Arc::default()),
            events,
            shutdown: context.shutdown.clone(),
        }),
        pods,
    );
    let (name, address) = (SERVICE, bound.tcp_address());
    let task = tokio::spawn(async move {
        let (served, ()) = tokio::join!(bound.serve(context), kubelet.run(event_receiver));
        served
    });
    Ok(Running { name, address, task })
}

/// Where the coordinator reaches this runtime.
fn advertised(config: &Config, bound: Option<SocketAddr>) -> String {
    if let Some(address) = &config.advertise {
        return address.clone();
    }
    match (bound, &config.listen.unix_socket) {
        (Some(mut address), _) => {
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            address.to_string()
        }
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => String::new(),
    }
}

fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// What this machine has, for limits that are not set.
fn machine() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    Machine {
        cpu_millis: u64::try_from(cores).unwrap_or(1) * 1000,
        memory_bytes: total.map_or(0, |kibibytes: u64| kibibytes * 1024),
    }
}
