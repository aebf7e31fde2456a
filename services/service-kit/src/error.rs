//! What can go wrong while a service starts or runs.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A service could not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there.
    #[error("{service} cannot listen on {address}: the port is in use by another program")]
    AddressInUse {
        /// The service.
        service: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("{service} cannot listen on {address}")]
    Listen {
        /// The service.
        service: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Another program answers on the socket.
    #[error("{service} cannot listen on {}: another program answers there", path.display())]
    SocketInUse {
        /// The service.
        service: &'static str,
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("{service} cannot make the socket {}", path.display())]
    Socket {
        /// The service.
        service: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither an address nor a socket was given.
    #[error("{service} has neither an address nor a socket to listen on")]
    NowhereToListen {
        /// The service.
        service: &'static str,
    },
    /// The descriptions of the services do not fit together: a defect of this program.
    #[error("{service} cannot describe its interface")]
    Reflection {
        /// The service.
        service: &'static str,
        /// Why.
        source: tonic_reflection::server::Error,
    },
    /// Strangers would reach the address, and nothing would keep what is said from them.
    #[error(
        "{service} does not listen on {address} in plaintext, because other machines reach that address: give it \
         certificates with --tls-cert, --tls-key and --tls-ca (`setkeeper certs` makes them), or say --plaintext where \
         something else guards the port, such as a mesh"
    )]
    Plaintext {
        /// The service.
        service: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] crate::access::PolicyError),
    /// The audit file cannot be opened.
    #[error(transparent)]
    Audit(#[from] crate::access::AuditError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::TlsError),
    /// The token cannot be read or made.
    #[error(transparent)]
    Token(#[from] crate::TokenError),
    /// Telemetry cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// Something of the service's own.
    #[error("{service} failed")]
    Service {
        /// The service.
        service: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps what kept a service from starting or running.
    pub fn start(service: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Service { service, source: source.into() }
    }

    /// The same as [`Error::start`], for what goes wrong later.
    pub fn service(service: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::start(service, source)
    }
}
