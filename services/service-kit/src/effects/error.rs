//! Why an effect was not done, and what its caller is told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::{Code, Status};

use super::{Fence, KEY_BYTES_MAX, RUNNING_MAX, authority};
use crate::status::{RETRY_DELAY, StatusBuilder};

/// An effect was not done, or not known to be done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EffectError {
    /// Something newer was seen. Nothing was done.
    #[error("{refused} is older than {highest}, which was seen before{}", remedy(.log.as_deref()))]
    Fenced {
        /// What was refused.
        refused: Fence,
        /// What was seen.
        highest: Fence,
        /// File that remembers it.
        log: Option<PathBuf>,
    },
    /// Another store took over from this one. Nothing was done.
    #[error("store {refused} was replaced by store {current}, which is followed now{}", remedy(.log.as_deref()))]
    Replaced {
        /// Whose operation was refused.
        refused: String,
        /// Whose operations are taken.
        current: String,
        /// File that remembers it.
        log: Option<PathBuf>,
    },
    /// The operation has no usable id. Nothing was done.
    #[error(
        "an operation needs an id, a subject and a store of at most {KEY_BYTES_MAX} bytes each, and the id must not be \
         empty"
    )]
    InvalidId,
    /// Too many operations are under way. Nothing was done.
    #[error("more than {RUNNING_MAX} operations are under way")]
    Busy,
    /// What was seen or done could not be made durable. The work may have been done.
    #[error("the log of operations cannot be written")]
    Log(#[source] Arc<LogError>),
    /// The work failed with this status. The same id runs again.
    #[error("the operation failed")]
    Failed(#[source] Box<Status>),
}

/// The log of operations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read or written.
    #[error("{} cannot be {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A line in the middle is damaged: the disk lied, or somebody edited it.
    #[error("{} is damaged in line {line}: restore it, or remove it to forget which operations were done", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl From<EffectError> for Status {
    fn from(error: EffectError) -> Self {
        let build = |code, reason| StatusBuilder::new("effects", code, reason, error.to_string());
        match &error {
            EffectError::Fenced { highest, .. } => build(Code::Aborted, "FENCED")
                .fact("epoch", highest.epoch.to_string())
                .fact("generation", highest.generation.to_string())
                .build(),
            EffectError::Replaced { current, .. } => build(Code::Aborted, "FENCED").fact("store", current).build(),
            EffectError::InvalidId => {
                build(Code::InvalidArgument, "INVALID_OPERATION").violation("operation_id", error.to_string()).build()
            }
            EffectError::Busy => build(Code::ResourceExhausted, "TOO_MANY_OPERATIONS")
                .quota("operations under way", error.to_string())
                .retry_after(RETRY_DELAY)
                .build(),
            EffectError::Log(_) => build(Code::Unavailable, "LOG_UNAVAILABLE").retry_after(RETRY_DELAY).build(),
            EffectError::Failed(status) => status.as_ref().clone(),
        }
    }
}

/// What to do where the older one is right after all.
fn remedy(log: Option<&Path>) -> String {
    let Some(log) = log else { return String::new() };
    authority::remedy(log)
}
