//! From what went wrong to what the caller is told.

use service_kit::status::StatusBuilder;
use tonic::{Code, Status};

use crate::pods::report::ReportError;
use crate::store::{CommitError, StoreError};

/// Name of this service in error details.
pub(crate) const SERVICE: &str = "coordinator";

/// `INVALID_ARGUMENT`.
pub(crate) fn invalid_argument(reason: &str, message: &str) -> Status {
    StatusBuilder::new(SERVICE, Code::InvalidArgument, reason, message).build()
}

/// `NOT_FOUND`, in the words of the Kubernetes API.
pub(crate) fn not_found(kind: api::manifest::Kind, name: &str) -> Status {
    let message = format!("{} {name:?} not found", kind.plural());
    StatusBuilder::new(SERVICE, Code::NotFound, "OBJECT_NOT_FOUND", message).resource(kind.name(), name).build()
}

/// The answer to a commit that failed.
pub(crate) fn commit_status(error: CommitError) -> Status {
    match error {
        CommitError::Conflict { key, .. } => StatusBuilder::new(
            SERVICE,
            Code::Aborted,
            "STALE_RESOURCE_VERSION",
            format!("{key} was changed by someone else meanwhile: read it again, then repeat"),
        )
        .build(),
        CommitError::Store(error) => store_status(&error),
    }
}

/// The answer where the store failed.
pub(crate) fn store_status(error: &StoreError) -> Status {
    if let StoreError::LimitReached { what, .. } = error {
        let status = StatusBuilder::new(SERVICE, Code::ResourceExhausted, "TOO_LARGE", error.to_string());
        return status.quota(*what, error.to_string()).build();
    }
    if error.is_exhausted() {
        tracing::error!(error = %service_kit::status::chain(error), "the state store has no space left");
        let status = StatusBuilder::new(SERVICE, Code::ResourceExhausted, "NO_SPACE", error.to_string());
        return status.quota("state store", error.to_string()).build();
    }
    tracing::error!(error = %service_kit::status::chain(error), "the state store failed");
    StatusBuilder::new(SERVICE, Code::Unavailable, "STORE_UNAVAILABLE", format!("the state store failed: {error}"))
        .retry_after(service_kit::status::RETRY_DELAY)
        .build()
}

/// The answer to a report that was refused.
pub(crate) fn report_status(error: ReportError) -> Status {
    let message = error.to_string();
    match error {
        ReportError::Gone { key, .. } => {
            StatusBuilder::new(SERVICE, Code::NotFound, "POD_GONE", message).resource("Pod", key.name).build()
        }
        ReportError::OtherMachine { key, .. } => {
            let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "OTHER_MACHINE", message.clone());
            status.precondition("NODE", key.name, message).build()
        }
        ReportError::Invalid(_) => invalid_argument("INVALID_STATUS", &message),
        ReportError::NotServed { .. } => StatusBuilder::new(SERVICE, Code::Unavailable, "RETRY", message)
            .retry_after(service_kit::status::RETRY_DELAY)
            .build(),
        ReportError::Store(error) => commit_status(error),
    }
}
