//! Why the service cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A start that failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The domain cannot be one.
    #[error("cluster domain {domain:?} must be a DNS name of at most {max} characters", max = crate::zone::DOMAIN_BYTES_MAX - 2)]
    Domain {
        /// What was given.
        domain: String,
    },
    /// A number out of range.
    #[error("{name} is {value}, which is above {max}")]
    OutOfRange {
        /// Of what.
        name: &'static str,
        /// What was given.
        value: u32,
        /// The most that is allowed.
        max: u32,
    },
    /// There is no address to answer on.
    #[error("there is no address to answer DNS on")]
    NoAddress,
    /// An address cannot be answered on.
    #[error("DNS cannot be answered on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A socket that was given cannot be used.
    #[error("a socket that is bound already cannot be used")]
    Socket(#[source] io::Error),
    /// The cache cannot be used.
    #[error("the names kept in {} cannot be used", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
