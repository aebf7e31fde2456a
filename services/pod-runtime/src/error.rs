//! What can go wrong here, and how it is told over gRPC.

use service_kit::status::StatusBuilder;
use tonic::{Code, Status};

/// Name of this service in logs, metrics and error details.
pub const SERVICE: &str = "pod-runtime";

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such pod here.
    #[error("pod {namespace}/{name} is not on this machine")]
    PodNotFound {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// No such container, or no such run of it.
    #[error("container {container:?} is not in pod {pod}: {why}")]
    ContainerNotFound {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
        /// In words.
        why: String,
    },
    /// Several containers, and none named.
    #[error("a container name must be specified for pod {pod}, choose one of: {choices}")]
    ContainerRequired {
        /// Pod.
        pod: String,
        /// What there is.
        choices: String,
    },
    /// The backend failed.
    #[error("the machine did not answer")]
    Backend(#[from] crate::backend::BackendError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = service_kit::status::chain(&error);
        let status = |code, reason| StatusBuilder::new(SERVICE, code, reason, message.clone());
        match &error {
            Error::PodNotFound { namespace, name } => {
                status(Code::NotFound, "POD_NOT_FOUND").resource("Pod", format!("{namespace}/{name}")).build()
            }
            Error::ContainerNotFound { container, .. } => {
                status(Code::NotFound, "CONTAINER_NOT_FOUND").resource("Container", container.clone()).build()
            }
            Error::ContainerRequired { .. } => {
                status(Code::InvalidArgument, "CONTAINER_REQUIRED").violation("container", message.clone()).build()
            }
            Error::Backend(_) => {
                status(Code::Unavailable, "MACHINE_REFUSED").retry_after(service_kit::status::RETRY_DELAY).build()
            }
        }
    }
}
