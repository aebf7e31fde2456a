//! Which pods of a set may be created or deleted now, and why the others wait.
//!
//! In: one snapshot of a set, and the revision that the update planner chose for every ordinal. Out: pods to create, pods
//! to delete, and a wait for every ordinal that is not as it should be and is not acted on.
//!
//! What it guarantees: the same request gives the same answer; nothing is stored, so a call can always be repeated, and
//! any number of copies may run. Under OrderedReady a pod is created only when every lower one is healthy, and one that
//! is not wanted any more is deleted only when no higher one is left and all wanted ones are healthy. A set that stops
//! stops from the top, whatever its health; under Parallel all at once.
//!
//! What it relies on: the executor carries out an action only if what its guard names is unchanged since the snapshot.

pub mod config;
pub mod plan;
mod server;

use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_server::OrdinalSchedulerServiceServer;
use service_kit::{Context, Error, Running, Server};

pub use config::Config;

/// Name of the service, in spans and in the details of its errors.
pub const NAME: &str = "ordinal-scheduler";

/// Takes the address and serves until the context ends.
///
/// # Errors
/// The address is in use or cannot be listened on.
pub async fn start(config: Config, context: Context) -> Result<Running, Error> {
    let service = service_kit::sized_server!(OrdinalSchedulerServiceServer::new(server::Planner));
    Ok(Server::new(NAME).add(service).bind_in(&context, &config.server).await?.spawn(context))
}
