//! What the service must be told at its start.

use std::path::PathBuf;

use service_kit::ServerConfig;

/// Configuration of volume-claim.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub server: ServerConfig,
    /// Directory that holds a directory per volume; made if it is missing. Pods must be able to pass through it and
    /// everything above it, unless they run as this user.
    pub volumes_directory: PathBuf,
}
