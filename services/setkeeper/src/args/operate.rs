//! What whoever runs services decides about them, beside where they are.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::parse_duration;

/// How a service is watched, and how it ends.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Operation")]
pub(crate) struct OperateArgs {
    /// Where Prometheus finds /metrics, and probes /healthz and /readyz: IP:PORT, or off [default: 127.0.0.1 and 7800 for
    /// the coordinator, up to 7805 for pod-runtime]
    #[arg(long, env = "SETKEEPER_METRICS_LISTEN", value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<MetricsListen>,
    /// On SIGTERM, how long to go on after health has turned to NOT_SERVING, for balancers to notice
    #[arg(long, env = "SETKEEPER_DRAIN_DELAY", default_value = "1s", value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) drain_delay: Duration,
    /// How old a connection may get before its client is told to connect anew, so that calls spread over servers that
    /// came later; 0: for ever
    #[arg(long, env = "SETKEEPER_CONNECTION_AGE", default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) connection_age: Duration,
}

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsListen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl FromStr for MetricsListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let invalid = |_| format!("{text:?} is no address: write IP:PORT, such as 127.0.0.1:7800, or off");
        text.parse().map(Self::At).map_err(invalid)
    }
}
