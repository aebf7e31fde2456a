//! What a pod runtime can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use service_kit::{ServerConfig, Target, Token};

/// Which tier to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// Namespaced where that works, plain processes otherwise.
    #[default]
    Auto,
    /// Namespaced, or not at all.
    Namespaced,
    /// Plain processes.
    Process,
}

/// Configuration of a pod runtime.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its own RPCs are served.
    pub listen: ServerConfig,
    /// Name of this machine; a DNS subdomain.
    pub node_name: String,
    /// The coordinator.
    pub coordinator: Target,
    /// Token for calls to the coordinator; none sends none.
    pub token: Option<Token>,
    /// Directory of everything that must outlive the runtime. Created if it is missing, for its owner alone.
    pub state_dir: PathBuf,
    /// Directory kept in memory, for `emptyDir` of medium Memory and for Secrets; none puts them on disk.
    pub memory_dir: Option<PathBuf>,
    /// Which tier to use.
    pub tier: Tier,
    /// Addresses of pods: network and prefix length; none means the tier's own choice.
    pub pod_cidr: Option<(Ipv4Addr, u8)>,
    /// The name server that pods' queries are passed on to; none leaves port 53 of the pods' network unanswered.
    pub name_server: Option<SocketAddr>,
    /// File that extends the built-in catalogue of images.
    pub catalogue: Option<PathBuf>,
    /// Where the coordinator reaches this runtime, host:port or unix:PATH; none means where it listens.
    pub advertise: Option<String>,
    /// The executable that holds the shim and the demonstration workload; none means this very program.
    pub executable: Option<PathBuf>,
}

impl Config {
    /// A configuration with defaults for all that has one.
    #[must_use]
    pub fn new(node_name: impl Into<String>, coordinator: Target, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: ServerConfig::default(),
            node_name: node_name.into(),
            coordinator,
            token: None,
            state_dir: state_dir.into(),
            memory_dir: Some(PathBuf::from("/dev/shm")),
            tier: Tier::Auto,
            pod_cidr: None,
            name_server: None,
            catalogue: None,
            advertise: None,
            executable: None,
        }
    }
}
