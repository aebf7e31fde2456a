//! Starting services with what the command line said.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use domain::Profile;
use service_kit::metrics::Endpoint;
use service_kit::telemetry::{self, Guard, Options};
use service_kit::{CancellationToken, Context, Error, Running, ServerConfig, Target, Token};
use tokio::task::JoinSet;

use crate::args::{MetricsListen, PeerArgs, Service, TelemetryArgs, Tier};
use crate::data_dir::DataDir;
use crate::failure::{Failure, Outcome};

/// Longest name of a machine, as of any DNS subdomain.
const NODE_NAME_LENGTH_MAX: usize = 253;

/// What services are started with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) data: DataDir,
    pub(crate) peers: PeerArgs,
    pub(crate) token: Option<Token>,
    pub(crate) cluster_domain: String,
    pub(crate) profile: Profile,
    pub(crate) dns_listen: SocketAddr,
    /// Where machines and people ask for names.
    pub(crate) dns_address: String,
    pub(crate) volumes: PathBuf,
    pub(crate) tier: Tier,
    pub(crate) node_name: String,
    /// Where the coordinator reaches the pod-runtime; none means where it listens.
    pub(crate) advertise: Option<Target>,
    /// Where metrics are served, for people to be told.
    pub(crate) metrics_address: Option<SocketAddr>,
}

/// The port that tells what is measured, while it runs.
#[derive(Debug)]
pub(crate) struct Metrics {
    address: Option<SocketAddr>,
    serving: JoinSet<()>,
    end: CancellationToken,
}

impl Metrics {
    /// Where it listens; none where it does not.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Ends it. Last, so that the end of everything else can be watched.
    pub(crate) async fn end(mut self) {
        self.end.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}

/// Serves what the context's services measure. The usual place may be taken, by another replica on this machine; one that
/// was asked for must be free.
pub(crate) async fn metrics((listen, asked): (MetricsListen, bool), context: &Context) -> Outcome<Metrics> {
    let mut metrics = Metrics { address: None, serving: JoinSet::new(), end: CancellationToken::new() };
    let MetricsListen::At(address) = listen else { return Ok(metrics) };
    match Endpoint::bind(address, context.metrics.clone()).await {
        Ok(endpoint) => {
            metrics.address = endpoint.local_addr().ok();
            metrics.serving.spawn(endpoint.serve(metrics.end.clone()));
        }
        Err(error) if asked => {
            return Err(Failure::new(format_args!(
                "metrics cannot be served on {address}: {error}. Choose another address with --metrics-listen, or off"
            )));
        }
        Err(error) => tracing::warn!(%address, %error, "metrics are not served; --metrics-listen chooses where"),
    }
    Ok(metrics)
}

impl Setup {
    /// Starts a service. Whoever calls it owns its end: the context's token.
    pub(crate) async fn start(
        &mut self,
        service: Service,
        server: ServerConfig,
        context: Context,
    ) -> Result<Running, Error> {
        match service {
            Service::Coordinator => coordinator::start(self.coordinator(server), context).await,
            Service::OrdinalScheduler => ordinal_scheduler::start(ordinal_scheduler::Config { server }, context).await,
            Service::UpdatePlanner => update_planner::start(update_planner::Config { server }, context).await,
            Service::IdentityDns => {
                let started = identity_dns::start(self.identity_dns(server)?, context).await?;
                if let Some(address) = started.dns_addresses.first() {
                    self.dns_address = address.to_string();
                }
                Ok(started.running)
            }
            Service::PodRuntime => pod_runtime::start(self.pod_runtime(server), context).await,
            Service::VolumeClaim => {
                let config = volume_claim::Config { server, volumes_directory: self.volumes.clone() };
                volume_claim::start(config, context).await
            }
        }
    }

    fn identity_dns(&self, server: ServerConfig) -> Result<identity_dns::Config, Error> {
        let directory = self.data.of_service("dns");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| Error::start(Service::IdentityDns.name(), error))?;
        Ok(identity_dns::Config {
            server,
            listen: vec![self.dns_listen],
            domain: self.cluster_domain.clone(),
            cache: Some(directory.join("zone")),
            ..identity_dns::Config::default()
        })
    }

    fn pod_runtime(&self, server: ServerConfig) -> pod_runtime::Config {
        let directory = self.data.of_service("runtime");
        pod_runtime::Config {
            listen: server,
            token: self.token.clone(),
            tier: self.tier.into(),
            masked: vec![self.data.path().to_owned(), self.volumes.clone()],
            catalogue: Some(self.data.images()),
            advertise: self.advertise.as_ref().map(ToString::to_string),
            ..pod_runtime::Config::new(self.node_name.clone(), self.peers.coordinator.clone(), directory)
        }
    }

    fn coordinator(&self, server: ServerConfig) -> coordinator::Config {
        coordinator::Config {
            server,
            store_directory: self.data.store(),
            ordinal_scheduler: self.peers.ordinal_scheduler.clone(),
            update_planner: self.peers.update_planner.clone(),
            volume_claim: self.peers.volume_claim.clone(),
            identity_dns: self.peers.identity_dns.clone(),
            token: self.token.clone(),
            cluster_domain: self.cluster_domain.clone(),
            dns_address: self.dns_address.clone(),
            profile: self.profile,
            patience: coordinator::Patience::default(),
        }
    }
}

/// Sets up logs and traces. With a file, stderr gets only what a person must look at, unless someone said what to log.
pub(crate) fn telemetry(
    process: &'static str,
    services: Vec<&'static str>,
    args: &TelemetryArgs,
    file: Option<PathBuf>,
) -> Result<Guard, Error> {
    let mut options = Options::new(process);
    options.services = services;
    options.otlp_endpoint = args.otlp_endpoint.clone().filter(|endpoint| !endpoint.is_empty());
    options.sample_ratio = args.trace_ratio;
    options.log_format = args.log_format.into();
    options.filter = args.log.clone().or_else(|| file.is_some().then(|| "warn".to_owned()));
    options.log_file = file;
    Ok(telemetry::init(&options)?)
}

/// The name of this machine as a DNS subdomain.
pub(crate) fn node_name() -> String {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fit = |character: char| if character.is_ascii_alphanumeric() || character == '.' { character } else { '-' };
    let name: String = hostname.trim().to_ascii_lowercase().chars().map(fit).take(NODE_NAME_LENGTH_MAX).collect();
    let name = name.trim_matches(['-', '.']);
    if domain::is_dns_subdomain(name).is_ok() { name.to_owned() } else { "localhost".to_owned() }
}

impl From<Tier> for pod_runtime::Tier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Auto => Self::Auto,
            Tier::Namespaced => Self::Namespaced,
            Tier::Process => Self::Process,
        }
    }
}
