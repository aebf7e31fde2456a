//! What the service must be told at its start.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use service_kit::ServerConfig;

pub use crate::forward::Resolvers;
pub use crate::server::Sockets;
pub use crate::zone::{Cidr, PodRecords};

/// Domain of the cluster where nobody says otherwise.
pub const DOMAIN_DEFAULT: &str = "cluster.local";

/// Where DNS answers without privilege.
pub const DNS_PORT_DEFAULT: u16 = 7753;

/// Longest positive TTL, in seconds.
pub const TTL_SECONDS_MAX: u32 = 3600;

/// Longest negative TTL, in seconds.
pub const NEGATIVE_TTL_SECONDS_MAX: u32 = 30;

/// What is said of names outside our zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outside {
    /// What the host's resolvers say; NXDOMAIN where there is none to ask. A pod has only this server.
    #[default]
    Forward,
    /// REFUSED. For a server that only resolvers ask.
    Refuse,
    /// NXDOMAIN.
    NxDomain,
}

/// Configuration of identity-dns.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the gRPC service listens.
    pub server: ServerConfig,
    /// Where DNS is answered, over UDP and TCP; port 0 takes any that is free for both.
    pub listen: Vec<SocketAddr>,
    /// Sockets that are bound already, for instance inside another network namespace.
    pub sockets: Vec<Sockets>,
    /// Domain of the cluster, without dots at its ends.
    pub domain: String,
    /// How long caches may keep an answer: 0 to 3600 seconds.
    pub ttl_seconds: u32,
    /// How long caches may keep that something is not there: 0 to 30 seconds.
    pub negative_ttl_seconds: u32,
    /// Addresses that the zone names as its server's; empty means those it listens on.
    pub addresses: Vec<IpAddr>,
    /// Blocks of addresses whose reverse zones are ours.
    pub reverse: Vec<Cidr>,
    /// Which pod addresses have names.
    pub pod_records: PodRecords,
    /// Whether endpoints without a hostname are called by their pod's name instead of their address.
    pub endpoint_pod_names: bool,
    /// File that keeps the facts, so that names answer after a restart; none keeps nothing.
    pub cache: Option<PathBuf>,
    /// What is said of names outside our zones.
    pub outside: Outside,
    /// Whom to ask about them.
    pub resolvers: Resolvers,
    /// Who may take whole zones; empty means nobody.
    pub transfer_clients: Vec<Cidr>,
    /// Who may ask at all; empty means everybody who reaches the address.
    pub clients: Vec<Cidr>,
}

impl Default for Config {
    fn default() -> Self {
        let block = |text: &str| text.parse::<Cidr>().expect("a block of addresses");
        Self {
            server: ServerConfig::default(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], DNS_PORT_DEFAULT))],
            sockets: Vec::new(),
            domain: DOMAIN_DEFAULT.to_owned(),
            ttl_seconds: 5,
            negative_ttl_seconds: 0,
            addresses: Vec::new(),
            reverse: vec![block("10.77.0.0/16"), block("127.77.0.0/16")],
            pod_records: PodRecords::default(),
            endpoint_pod_names: false,
            cache: None,
            outside: Outside::default(),
            resolvers: Resolvers::File("/etc/resolv.conf".into()),
            transfer_clients: vec![block("127.0.0.0/8"), block("::1/128")],
            clients: Vec::new(),
        }
    }
}
