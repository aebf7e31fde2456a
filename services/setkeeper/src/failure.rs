//! How a command ends when it fails.

use std::fmt;
use std::io;

use tonic::Status;

use crate::client::Client;
use crate::references::ReferenceError;

/// A command failed; this is what it prints.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Text that is complete.
    Said(String),
    /// Nobody reads the output any more: no failure to speak of.
    ClosedOutput,
}

/// What commands return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure in words.
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self::Said(format!("error: {text}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Said(format!("error: {error:#}"))
    }
}

impl From<ReferenceError> for Failure {
    fn from(error: ReferenceError) -> Self {
        Self::new(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedOutput,
            _ => Self::new(format_args!("the output cannot be written: {error}")),
        }
    }
}

/// Turns a refusal into what the command prints.
pub(crate) trait Explained<T> {
    /// Explains the status with what the client knows of its server.
    ///
    /// # Errors
    /// Where the call failed.
    fn explained(self, client: &Client) -> Outcome<T>;
}

impl<T> Explained<T> for Result<T, Status> {
    fn explained(self, client: &Client) -> Outcome<T> {
        self.map_err(|status| Failure::Said(client.explain(&status)))
    }
}
