//! From what went wrong to what the caller is told.

use service_kit::status::{RETRY_DELAY, StatusBuilder, chain};
use tonic::{Code, Status};

use crate::directories::DirectoryError;

/// Name of this service in error details.
pub(crate) const SERVICE: &str = "volume-claim";

impl From<DirectoryError> for Status {
    fn from(error: DirectoryError) -> Self {
        let message = chain(&error);
        let build = |code, reason| StatusBuilder::new(SERVICE, code, reason, message.clone());
        match &error {
            DirectoryError::InvalidVolume { .. } => {
                build(Code::InvalidArgument, "INVALID_VOLUME").violation("volume", message.clone()).build()
            }
            DirectoryError::InvalidClaim { .. } => {
                build(Code::InvalidArgument, "INVALID_VOLUME").violation("claim_uid", message.clone()).build()
            }
            DirectoryError::Foreign { volume, .. } => build(Code::FailedPrecondition, "FOREIGN_DIRECTORY")
                .precondition("MARKER", volume.to_string(), message.clone())
                .build(),
            DirectoryError::NoSpace { .. } => {
                build(Code::ResourceExhausted, "NO_SPACE").quota("volumes directory", message.clone()).build()
            }
            DirectoryError::Storage { .. } => {
                tracing::warn!(error = message.as_str(), "the volumes directory cannot be used");
                build(Code::Unavailable, "STORAGE_UNAVAILABLE").retry_after(RETRY_DELAY).build()
            }
        }
    }
}
