//! What a service is started with, and what it leaves behind.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::clock::{Clock, SystemClock};

/// What every service is started with.
#[derive(Clone)]
pub struct Context {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the service is to end. Every stream and loop of the service ends on it.
    pub shutdown: CancellationToken,
}

impl Context {
    /// A context with its own end: cancelled with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { clock: Arc::clone(&self.clock), shutdown: self.shutdown.child_token() }
    }
}

impl Default for Context {
    /// The clock of the machine and a token that nobody else holds.
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), shutdown: CancellationToken::new() }
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
