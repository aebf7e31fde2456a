//! The command line: what can be typed.

mod certs;
mod fence;
mod objects;
mod operate;
mod port_forward;
mod rollout;
mod serve;
mod store;
mod tls;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use service_kit::Target;

pub(crate) use self::certs::CertsArgs;
pub(crate) use self::fence::FenceArgs;
pub(crate) use self::objects::{ApplyArgs, DeleteArgs, DescribeArgs, DryRun, GetArgs, LogsArgs, Output, ScaleArgs};
pub(crate) use self::operate::{MetricsListen, OperateArgs};
pub(crate) use self::port_forward::{LocalPort, PortForwardArgs, PortPair};
pub(crate) use self::rollout::{
    RolloutArgs, RolloutCommand, RolloutHistoryArgs, RolloutSetsArgs, RolloutStatusArgs, RolloutUndoArgs,
};
pub(crate) use self::serve::{PeerArgs, ProfileArg, ServeArgs, Service, TelemetryArgs, Tier};
pub(crate) use self::store::{BackupArgs, RestoreArgs};
pub(crate) use self::tls::TlsArgs;

/// Everything that was typed.
#[derive(Debug, Parser)]
#[command(
    name = "setkeeper",
    version,
    about = "Keeps StatefulSets: stable names, stable volumes, ordered starts, rolling updates. No cluster needed.",
    after_help = "Begin with `setkeeper up --demo`, or `setkeeper up` and then `setkeeper apply -f FILE`.",
    max_term_width = 110
)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the coordinator is: host:port or unix:PATH [default: the socket in the data directory]
    #[arg(long, global = true, env = "SETKEEPER_SERVER", value_name = "ADDRESS")]
    pub(crate) server: Option<Target>,
    /// Where `setkeeper up` keeps everything [default: /var/lib/setkeeper for root, else ~/.local/share/setkeeper]
    #[arg(long, global = true, env = "SETKEEPER_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// File with the token that a server over TCP asks for [default: `token` in the data directory]
    #[arg(long, global = true, env = "SETKEEPER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Namespace of the objects
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Certificates.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

impl Global {
    /// The namespace that was asked for, or the usual one.
    #[must_use]
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(api::manifest::DEFAULT_NAMESPACE)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start Setkeeper on this machine
    Up(UpArgs),
    /// Stop every pod in order, then Setkeeper; objects and volumes stay
    Down(DownArgs),
    /// Run one service, for deployments where each has its own process
    Serve(Box<ServeArgs>),
    /// Create or change the objects of manifests, all or none
    Apply(ApplyArgs),
    /// Show objects
    Get(GetArgs),
    /// Show everything about objects
    Describe(DescribeArgs),
    /// Delete objects
    Delete(DeleteArgs),
    /// Change the number of replicas of a set
    Scale(ScaleArgs),
    /// Print the log of a container
    Logs(LogsArgs),
    /// Carry connections to a port here to a port of a pod
    PortForward(PortForwardArgs),
    /// Follow, undo, pause, resume or restart a rolling update, and show its history
    Rollout(RolloutArgs),
    /// Say of a machine that nothing runs there any more, so that its pods come back elsewhere
    Fence(FenceArgs),
    /// Write everything that is stored to a file, while Setkeeper runs
    Backup(BackupArgs),
    /// Make the state store anew from a backup, while Setkeeper does not run
    Restore(RestoreArgs),
    /// See whether the state store is sound, while Setkeeper does not run
    Check,
    /// Make or renew certificates of services and users
    Certs(CertsArgs),
    /// Print the versions of this program and of the server
    Version,
    /// Print a completion script
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// The program in the pods of the demo
    #[command(hide = true)]
    DemoWorkload,
}

/// How to start everything.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Apply this manifest after the start and show its pods becoming ready; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Option<PathBuf>,
    /// Apply an example: three replicas with a volume each, and names
    #[arg(long, conflicts_with = "filename")]
    pub(crate) demo: bool,
    /// First of the six ports of the services; 0 takes any that are free
    #[arg(long, env = "SETKEEPER_PORT_BASE", default_value_t = 7700, value_name = "PORT")]
    pub(crate) port_base: u16,
    /// Where DNS is served [default: 127.0.0.1, 53 above the first port]
    #[arg(long, env = "SETKEEPER_DNS_LISTEN", value_name = "ADDRESS")]
    pub(crate) dns_listen: Option<std::net::SocketAddr>,
    /// How pods run
    #[arg(long, env = "SETKEEPER_RUNTIME", value_enum, default_value_t = Tier::Auto)]
    pub(crate) runtime: Tier,
    /// Domain of the names
    #[arg(long, env = "SETKEEPER_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    /// How sets behave where Kubernetes has defects
    #[arg(long, env = "SETKEEPER_PROFILE", value_enum, default_value_t = ProfileArg::Setkeeper)]
    pub(crate) profile: ProfileArg,
    /// Where Prometheus finds /metrics of all services, and probes /healthz and /readyz: IP:PORT, or off
    #[arg(long, env = "SETKEEPER_METRICS_LISTEN", default_value = "off", value_name = "ADDRESS")]
    pub(crate) metrics_listen: MetricsListen,
    /// Logs and traces.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// How to stop everything.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// End Setkeeper even if pods have not stopped within 10 seconds; those go on
    #[arg(long)]
    pub(crate) now: bool,
    /// Give up after so long
    #[arg(long, default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) timeout: std::time::Duration,
}

/// Reads `90s`, `5m`, `1h30m` or a number of seconds.
///
/// # Errors
/// The text is none of these.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let invalid = || format!("{text:?} is no duration: write 90s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let mut total: u64 = 0;
    let mut digits = String::new();
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                digits.push(character);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(invalid()),
        };
        let number: u64 = std::mem::take(&mut digits).parse().map_err(|_| invalid())?;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
    }
    if digits.is_empty() && !text.is_empty() { Ok(std::time::Duration::from_secs(total)) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_service_is_typed_as_it_is_called() {
        use clap::ValueEnum as _;
        for service in Service::ALL {
            let typed = service.to_possible_value().expect("none is hidden");
            assert_eq!(typed.get_name(), service.name());
        }
    }

    #[test]
    fn what_hands_know_is_understood() {
        for line in [
            "setkeeper get sts",
            "setkeeper get pods -A -o wide -w",
            "setkeeper -n db get sts/web -o yaml",
            "setkeeper get pods,sts -l app=web --namespace db",
            "setkeeper describe pod web-0",
            "setkeeper delete sts web --cascade=orphan",
            "setkeeper delete -f web.yaml",
            "setkeeper delete pod -l app=web --within-budget --timeout 10m",
            "setkeeper scale sts web --replicas=5 --current-replicas=3",
            "setkeeper scale --replicas=5 sts/web",
            "setkeeper logs web-0 -c nginx -f --tail=10 --timestamps",
            "setkeeper logs -p pod/web-0",
            "setkeeper port-forward web-0 8080 9000:http :81 --address localhost,::1",
            "setkeeper rollout status sts/web --timeout=30s",
            "setkeeper rollout status sts web -n db",
            "setkeeper rollout history sts/web --revision=2 -o yaml",
            "setkeeper rollout undo sts/web --to-revision=2 --dry-run=server",
            "setkeeper rollout undo sts web --to-revision -1",
            "setkeeper rollout pause sts/web sts/db",
            "setkeeper rollout resume sts web db",
            "setkeeper rollout restart sts/web -n db",
            "setkeeper delete sts/web --cascade=foreground",
            "setkeeper up --profile kubernetes",
            "setkeeper serve coordinator --profile=setkeeper",
            "setkeeper apply -f a.yaml -f b.yaml --dry-run=server",
            "setkeeper up --demo --port-base 0",
            "setkeeper serve ordinal-scheduler --listen 0.0.0.0:7701",
            "setkeeper completion bash",
            "setkeeper backup monday.backup",
            "setkeeper restore monday.backup --force --data-dir /srv/setkeeper",
            "setkeeper check",
            "setkeeper fence node-2 --evidence off",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m5s"), Ok(Duration::from_secs(5405)));
        for wrong in ["", "m", "5x", "1h30", "-5s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
