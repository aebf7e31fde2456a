//! Settings.

use service_kit::ServerConfig;

/// What the ordinal scheduler needs to know at start. It keeps no state.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where it listens, and who may call it.
    pub server: ServerConfig,
}
