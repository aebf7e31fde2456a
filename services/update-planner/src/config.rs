//! What the service must be told at its start.

use service_kit::ServerConfig;

/// What the service must be told at its start. It keeps no state.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where it listens, and who may call.
    pub server: ServerConfig,
}
