//! What the coordinator must be told at its start.

use std::path::PathBuf;

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
}
