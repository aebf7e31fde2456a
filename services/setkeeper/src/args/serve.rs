//! `serve`: one service in its own process. Every option is also an environment variable, for containers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use domain::Profile;
use service_kit::limits::Limit;
use service_kit::telemetry::LogFormat;
use service_kit::{Role, Target};

use super::OperateArgs;

/// One service in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Which service
    #[arg(value_enum)]
    pub(crate) service: Service,
    /// Where it listens: host:port or unix:PATH [default: 127.0.0.1 and the service's port]
    #[arg(long, env = "SETKEEPER_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<Target>,
    /// Let everyone who reaches the port call, and call without a token; for ports that something else guards, such as
    /// a mesh
    #[arg(long, env = "SETKEEPER_NO_TOKEN")]
    pub(crate) no_token: bool,
    /// Speak plaintext even where other machines reach the port, because something else guards it, such as a mesh
    /// [default: without certificates, only on loopback addresses and Unix sockets]
    #[arg(long, env = "SETKEEPER_PLAINTEXT")]
    pub(crate) plaintext: bool,
    /// How much is taken at the same time, where the default does not do: NAME=NUMBER, several with commas;
    /// deploy/README.md says which there are
    #[arg(long = "limit", env = "SETKEEPER_LIMITS", value_name = "LIMIT", value_delimiter = ',')]
    pub(crate) limits: Vec<Limit>,
    /// File that says what users may do, for the coordinator; read again when it changes [default: users may do nothing]
    #[arg(long, env = "SETKEEPER_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// File that records who changed what, for the coordinator [default: `audit.log` in the data directory]
    #[arg(long, env = "SETKEEPER_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Address under which the coordinator reaches this pod-runtime [default: where it listens]
    #[arg(long, env = "SETKEEPER_ADVERTISE", value_name = "ADDRESS")]
    pub(crate) advertise: Option<Target>,
    /// Name of this machine, for pod-runtime [default: its hostname]
    #[arg(long, env = "SETKEEPER_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// How pods run, for pod-runtime
    #[arg(long, env = "SETKEEPER_RUNTIME", value_enum, default_value_t = Tier::Auto)]
    pub(crate) runtime: Tier,
    /// Where identity-dns serves DNS, UDP and TCP
    #[arg(long, env = "SETKEEPER_DNS_LISTEN", default_value = "127.0.0.1:7753", value_name = "ADDRESS")]
    pub(crate) dns_listen: SocketAddr,
    /// Where machines and people ask for names, as the coordinator tells them; several with commas know the same
    /// [default: where each identity-dns that answers at the start says it serves DNS]
    #[arg(long, env = "SETKEEPER_DNS_ADDRESS", value_name = "ADDRESS")]
    pub(crate) dns_address: Option<String>,
    /// Domain of the names
    #[arg(long, env = "SETKEEPER_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    /// How sets behave where Kubernetes has defects, for the coordinator
    #[arg(long, env = "SETKEEPER_PROFILE", value_enum, default_value_t = ProfileArg::Setkeeper)]
    pub(crate) profile: ProfileArg,
    /// Directory of the volumes, for volume-claim [default: `volumes` in the data directory]
    #[arg(long, env = "SETKEEPER_VOLUMES_DIR", value_name = "DIR")]
    pub(crate) volumes_dir: Option<PathBuf>,
    /// Where the others are.
    #[command(flatten)]
    pub(crate) peers: PeerArgs,
    /// How it is watched, and how it ends.
    #[command(flatten)]
    pub(crate) operate: OperateArgs,
    /// Logs and traces.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// The state, the public API, the reconcile passes
    Coordinator,
    /// Which ordinals may be created or deleted now
    OrdinalScheduler,
    /// Claims and volumes
    VolumeClaim,
    /// Revisions, and which pods to replace now
    UpdatePlanner,
    /// Names and DNS
    IdentityDns,
    /// The pods of this machine
    PodRuntime,
}

impl Service {
    /// Every service, in the order of their ports, and of their roles.
    pub(crate) const ALL: [Self; 6] = [
        Self::Coordinator,
        Self::OrdinalScheduler,
        Self::VolumeClaim,
        Self::UpdatePlanner,
        Self::IdentityDns,
        Self::PodRuntime,
    ];

    /// Who it is to others.
    #[must_use]
    pub(crate) fn role(self) -> Role {
        Role::ALL[self as usize]
    }

    /// Its name, as in spans and health.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        self.role().name()
    }

    /// Its address on this machine, where the first service has port `base`; 0 takes any port that is free.
    #[must_use]
    pub(crate) fn address(self, base: u16) -> SocketAddr {
        let port = match base {
            0 => 0,
            base => base.saturating_add(self as u16),
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }
}

/// Where the services are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where the services are")]
pub(crate) struct PeerArgs {
    /// host:port or unix:PATH
    #[arg(long, env = "SETKEEPER_COORDINATOR", default_value = "127.0.0.1:7700", value_name = "ADDRESS")]
    pub(crate) coordinator: Target,
    /// host:port or unix:PATH
    #[arg(long, env = "SETKEEPER_ORDINAL_SCHEDULER", default_value = "127.0.0.1:7701", value_name = "ADDRESS")]
    pub(crate) ordinal_scheduler: Target,
    /// host:port or unix:PATH
    #[arg(long, env = "SETKEEPER_VOLUME_CLAIM", default_value = "127.0.0.1:7702", value_name = "ADDRESS")]
    pub(crate) volume_claim: Target,
    /// host:port or unix:PATH
    #[arg(long, env = "SETKEEPER_UPDATE_PLANNER", default_value = "127.0.0.1:7703", value_name = "ADDRESS")]
    pub(crate) update_planner: Target,
    /// host:port or unix:PATH; several with commas, and every address of a name, are replicas, each of which is told
    /// all names
    #[arg(long, env = "SETKEEPER_IDENTITY_DNS", default_value = "127.0.0.1:7704", value_name = "ADDRESS")]
    pub(crate) identity_dns: Target,
    /// host:port or unix:PATH; machines tell the coordinator themselves where they are
    #[arg(long, env = "SETKEEPER_POD_RUNTIME", value_name = "ADDRESS", hide = true)]
    pub(crate) pod_runtime: Option<Target>,
}

/// Logs and traces.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and traces")]
pub(crate) struct TelemetryArgs {
    /// OTLP collector that takes traces over gRPC, such as http://127.0.0.1:4317 [default: no traces]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Part of the traces that are recorded, 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 1.0, value_name = "RATIO")]
    pub(crate) trace_ratio: f64,
    /// How logs look
    #[arg(long, env = "SETKEEPER_LOG_FORMAT", value_enum, default_value_t = LogFormatArg::Text)]
    pub(crate) log_format: LogFormatArg,
    /// What is logged: a level, or levels per part, such as info,coordinator=debug [default: info; where `up` runs on a
    /// terminal, warnings there and info in setkeeper.log in the data directory]
    #[arg(long, env = "SETKEEPER_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// How pods run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Namespaced where this machine allows it, else plain processes
    Auto,
    /// Each pod has its own network and file tree
    Namespaced,
    /// Plain processes, each with an address of its own
    Process,
}

/// How sets behave where Kubernetes has defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    /// As well as they can: broken pods are replaced, rollouts tell what holds them up
    Setkeeper,
    /// As Kubernetes 1.37 does, known defects included
    Kubernetes,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Setkeeper => Self::Setkeeper,
            ProfileArg::Kubernetes => Self::Kubernetes,
        }
    }
}
