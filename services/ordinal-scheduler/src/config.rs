//! Settings.

use std::net::{Ipv4Addr, SocketAddr};

use service_kit::ServerConfig;

/// The usual port.
pub const PORT: u16 = 7701;

/// What the service needs to know at start. It keeps no state.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, and who may call. The default is the usual port of this machine alone, without a token.
    pub server: ServerConfig,
}

impl Default for Config {
    fn default() -> Self {
        let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        Self { server: ServerConfig { listen, ..ServerConfig::default() } }
    }
}
