//! Which revision every ordinal should be at, which pods are replaced now, and what the status says.
//!
//! In: one snapshot of a set, its template, its stored revisions. Out: changes of those revisions, the revision of every
//! ordinal, pods to delete so that they come back at it, a wait for every outdated pod that stays, and the status.
//!
//! What it guarantees: the same request gives the same answer; nothing is stored, so a call can always be repeated, and
//! any number of copies may run. An update never takes down more available pods than its budget has left. A revision that
//! is current, wanted or carried by a pod is never pruned. With every mend on, each counter of the status is the number of
//! pods that the snapshot shows so, less those that this plan deletes.
//!
//! What it relies on: the executor carries out an action only if what its guard names is unchanged since the snapshot, and
//! stores revisions before it creates pods from them.

pub mod config;
pub mod plan;
mod server;

use api::proto::update_planner::v1::update_planner_service_server::UpdatePlannerServiceServer;
use service_kit::{Context, Error, Running, Server};

pub use config::Config;

/// Name of the service, in spans and in the details of its errors.
pub const NAME: &str = "update-planner";

/// Takes the address and serves until the context ends.
///
/// # Errors
/// The address is in use or cannot be listened on.
pub async fn start(config: Config, context: Context) -> Result<Running, Error> {
    let service = service_kit::sized_server!(UpdatePlannerServiceServer::new(server::Planner));
    Ok(Server::new(NAME).add(service).bind_in(&context, &config.server).await?.spawn(context))
}
