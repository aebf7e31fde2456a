//! What the coordinator must be told at its start.

use std::path::PathBuf;
use std::time::Duration;

use domain::Profile;
use service_kit::{ServerConfig, Target, Token};

/// Domain of names where nobody says otherwise.
pub const CLUSTER_DOMAIN_DEFAULT: &str = "cluster.local";

/// Configuration of the coordinator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the public API listens.
    pub server: ServerConfig,
    /// Directory of the state store; made if it is missing.
    pub store_directory: PathBuf,
    /// Where the ordinal-scheduler is.
    pub ordinal_scheduler: Target,
    /// Where the update-planner is.
    pub update_planner: Target,
    /// Where volume-claim is.
    pub volume_claim: Target,
    /// Where identity-dns is.
    pub identity_dns: Target,
    /// Token that the services ask for; none where they ask for none.
    pub token: Option<Token>,
    /// Domain of names, without dots at its ends.
    pub cluster_domain: String,
    /// Where identity-dns answers DNS, host:port, several with commas; told to machines and people.
    pub dns_address: String,
    /// Whether sets behave as in Kubernetes, defect for defect, or as well as they can.
    pub profile: Profile,
    /// How long a report of a pod and what follows from it wait for each other.
    pub patience: Patience,
}

/// How long a report that a pod has become ready, and the pass over its set that plans what follows, wait for each other in
/// order to be stored in one go.
///
/// The default suits services of one machine or one data centre. Where messages take longer, so may this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a pass, until the names of the pod are served. It is all that a name server which does not answer holds up a set.
    pub names: Duration,
    /// For a report whose names are served, until it is known what follows; up to a millisecond longer, as timers go. Planners
    /// mostly answer before the names are served.
    pub follow: Duration,
}

impl Default for Patience {
    /// 10 ms and 1 ms.
    fn default() -> Self {
        Self { names: Duration::from_millis(10), follow: Duration::from_millis(1) }
    }
}
