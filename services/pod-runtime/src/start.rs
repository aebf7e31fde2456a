//! Puts a pod runtime together.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::proto::coordinator::v1::RegisterNodeRequest;
use api::proto::pod_runtime::v1::pod_runtime_service_server::PodRuntimeServiceServer;
use service_kit::effects::Effects;
use service_kit::{CancellationToken, Context, Role, Running, Server};
use tokio::sync::{mpsc, watch};

use crate::backend::PodBackend;
use crate::config::Config;
use crate::error::SERVICE;
use crate::kubelet::catalogue::Catalogue;
use crate::kubelet::environment::Machine;
use crate::kubelet::link::GrpcLink;
use crate::kubelet::metrics::Metrics;
use crate::kubelet::worker::{Shared, SteadyClock};
use crate::kubelet::{Kubelet, Pods};
use crate::name_servers::NameServers;
use crate::sandbox::{self, PodNetwork, Sandboxes};
use crate::server::PodRuntime;

/// Events on their way to the coordinator; more at once are dropped.
const EVENTS_MAX: usize = 256;

/// The pods' network where nobody names one.
const DEFAULT_NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 77, 0, 0), 16);

/// File of the operations that were done, in the state directory.
const OPERATIONS_FILE: &str = "operations";

/// Domain of names until the coordinator says otherwise.
const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Longest wait before the name server of the pods is tried again after it failed.
const NAME_SERVER_RETRY: Duration = Duration::from_secs(5);

/// Starts a pod runtime with the best tier that this machine allows.
///
/// # Errors
/// The tier that was asked for is refused, another runtime uses the state directory, or as [`start_with_backend`].
pub async fn start(config: Config, context: Context) -> Result<Running, service_kit::Error> {
    let failed = |error: std::io::Error| service_kit::Error::start(SERVICE, error);
    make_private(&config.state_dir).map_err(failed)?;
    let executable = config.executable.clone().map_or_else(std::env::current_exe, Ok).map_err(failed)?;
    let default_network =
        PodNetwork::new(DEFAULT_NETWORK.0, DEFAULT_NETWORK.1).expect("the default prefix is in range");
    let mut masked = config.masked.clone();
    masked.push(config.state_dir.clone());
    let options = sandbox::Options {
        state_dir: config.state_dir.join("sandboxes"),
        helper: executable.clone(),
        tier: config.tier,
        network: config.pod_cidr.unwrap_or(default_network),
        masked,
    };
    let sandboxes = sandbox::open(options).await.map_err(|error| service_kit::Error::start(SERVICE, error))?;
    let capabilities = sandboxes.capabilities();
    tracing::info!(tier = capabilities.tier, reason = capabilities.tier_reason, "pods run in this tier");
    let dns = watch::Sender::new(String::new());
    let names = serve_names(sandboxes.clone(), dns.subscribe(), context.shutdown.clone());
    let config = Config { executable: Some(executable), ..config };
    let running = start_over(config, context, sandboxes.clone(), dns).await?;
    let Running { name, address, task } = running;
    let task = tokio::spawn(async move {
        let (ended, ()) = tokio::join!(task, names);
        if let Err(error) = sandboxes.close().await {
            tracing::warn!(error = %service_kit::status::chain(&error), "the node's own processes could not be ended");
        }
        ended.unwrap_or_else(|error| Err(service_kit::Error::start(SERVICE, error)))
    });
    Ok(Running { name, address, task })
}

/// Answers the names of pods on port 53, where there is such a port, by asking the DNS service.
async fn serve_names(sandboxes: Arc<Sandboxes>, mut dns: watch::Receiver<String>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let upstream = NameServers::of(&dns.borrow_and_update());
        let serving = async {
            if upstream.is_empty() {
                return std::future::pending().await;
            }
            if let Err(error) = sandboxes.serve_dns(upstream, shutdown.clone()).await {
                tracing::warn!(error = %service_kit::status::chain(&error), "the name server of the pods failed");
                tokio::time::sleep(NAME_SERVER_RETRY).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = serving => {}
            // A watch that ended means that the runtime ends too.
            changed = dns.changed() => if changed.is_err() { return },
        }
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
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
    start_over(config, context, backend, watch::Sender::new(String::new())).await
}

async fn start_over(
    config: Config,
    context: Context,
    backend: Arc<dyn PodBackend>,
    dns_address: watch::Sender<String>,
) -> Result<Running, service_kit::Error> {
    make_private(&config.state_dir).map_err(|error| service_kit::Error::start(SERVICE, error))?;
    let executable = config.executable.clone().or_else(|| std::env::current_exe().ok());
    let catalogue = Catalogue::built_in(executable.as_deref()).with_file(config.catalogue.clone());
    catalogue.of_user().map_err(|error| service_kit::Error::start(SERVICE, error))?;
    let memory_dir = config.memory_dir.clone().filter(|path| is_writable(path));
    let pods = Pods::new(config.state_dir.clone(), memory_dir.clone());
    let operations = config.state_dir.join(OPERATIONS_FILE);
    let effects = tokio::task::spawn_blocking(move || Effects::open(&operations)).await;
    let effects = effects.map_err(|error| service_kit::Error::start(SERVICE, error))?;
    let effects = effects.map_err(|error| service_kit::Error::start(SERVICE, error))?;
    let runtime = PodRuntime::new(backend.clone(), pods.clone(), effects, context.shutdown.clone());
    let service = service_kit::sized_server!(PodRuntimeServiceServer::new(runtime));
    let channel = context.connect(Role::Coordinator, &config.coordinator, config.token.as_ref()).called_by(SERVICE);
    let server = Server::new(SERVICE).add(service).depends_on("coordinator", channel.clone());
    let bound = server.bind_in(&context, &config.listen).await?;

    let (events, event_receiver) = mpsc::channel(EVENTS_MAX);
    let capabilities = backend.capabilities();
    let registration = RegisterNodeRequest {
        name: config.node_name.clone(),
        runtime_address: advertised(&config, bound.tcp_address()),
        host_ip: capabilities.host_ip.to_string(),
        tier: capabilities.tier.to_owned(),
        degraded: capabilities.degraded.clone(),
    };
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
            dns_address,
            host_resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            others: watch::Sender::new(Arc::default()),
            events,
            metrics: Metrics::register(pods.clone(), &context.metrics),
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
