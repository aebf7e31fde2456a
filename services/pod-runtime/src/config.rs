//! What a pod runtime can be told.

use std::path::PathBuf;

use service_kit::{ServerConfig, Target, Token};

use crate::sandbox::PodNetwork;

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
    /// The pods' network in the namespaced tier; none means 10.77.0.0/16.
    pub pod_cidr: Option<PodNetwork>,
    /// Directories that no container may see except through its mounts, besides `state_dir`: whatever holds volumes,
    /// databases and tokens.
    pub masked: Vec<PathBuf>,
    /// File that extends the built-in catalogue of images. It may be missing, and may change at any time.
    pub catalogue: Option<PathBuf>,
    /// Where the coordinator reaches this runtime, host:port or unix:PATH; none means where it listens.
    pub advertise: Option<String>,
    /// A program whose `main` begins with [`crate::helper::helper_main`] and that has the demonstration workload; none
    /// means the running one.
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
            masked: Vec::new(),
            catalogue: None,
            advertise: None,
            executable: None,
        }
    }
}
