//! What a service is started with, and what it leaves behind.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::metrics::Registry;
use crate::network::Network;
use crate::{Channel, Error, Identity, InProcess, Role, Target, Token, client};

/// What every service is started with.
#[derive(Clone)]
pub struct Context {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where connections go; none: the network of the machine.
    pub network: Option<Arc<dyn Network>>,
    /// The servers of this process, which are called without the network of the machine.
    pub in_process: InProcess,
    /// Who this process is to the servers it calls over TCP; none: it calls in plaintext.
    pub tls: Option<Identity>,
    /// What the service measures goes here.
    pub metrics: Registry,
    /// Cancelled when the service is about to end, so that balancers send calls elsewhere. It works as before.
    pub draining: CancellationToken,
    /// Cancelled when the service is to end. Every stream and loop of the service ends on it.
    pub shutdown: CancellationToken,
}

impl Context {
    /// A context with its own end: cancelled with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { draining: self.draining.child_token(), shutdown: self.shutdown.child_token(), ..self.clone() }
    }

    /// A channel to the service `role` at `target`, over the network of this context, or without any where a server of this
    /// process listens at that very address. Over TLS the server has to prove that it is that service. See
    /// [`connect`](crate::connect).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(&self, role: Role, target: &Target, token: Option<&Token>) -> Channel {
        let channel = match (&self.network, &self.tls) {
            // A network of its own is a simulation: nobody listens in.
            (Some(network), _) => client::connect_over(network.clone(), target, token),
            (None, Some(identity)) => client::connect_tls(identity, role, target, token),
            (None, None) => client::connect_from(&self.in_process, target, token),
        };
        channel.measured(self.metrics.clone())
    }
}

impl Default for Context {
    /// The clock and the network of the machine, no other server in this process, no certificate, and a token that nobody
    /// else holds.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            network: None,
            in_process: InProcess::default(),
            tls: None,
            metrics: Registry::default(),
            draining: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("shutdown", &self.shutdown.is_cancelled()).finish_non_exhaustive()
    }
}

/// A service that has started.
#[derive(Debug)]
pub struct Running {
    /// Its name, such as `ordinal-scheduler`.
    pub name: &'static str,
    /// Where it listens; none where it has only a Unix socket.
    pub address: Option<SocketAddr>,
    /// Ends when the service has ended.
    pub task: JoinHandle<Result<(), Error>>,
}
