//! `version`.

use std::io::Write;

use api::proto::coordinator::v1::GetSystemRequest;

use crate::client::Client;
use crate::failure::{Explained as _, Outcome};

/// Prints the versions of this program and of the server, and how its services are.
///
/// # Errors
/// The server does not answer.
pub(crate) async fn version(client: &Client, out: &mut impl Write) -> Outcome {
    writeln!(out, "{:<20}{}", "Client Version:", env!("CARGO_PKG_VERSION"))?;
    out.flush()?;
    let system = client.system().get_system(GetSystemRequest {}).await.explained(client)?.into_inner();
    writeln!(out, "{:<20}{}", "Server Version:", system.version)?;
    writeln!(out, "{:<20}{}", "Profile:", system.profile)?;
    writeln!(out, "{:<20}{} at revision {}, start {}", "Store:", system.store_id, system.revision, system.epoch)?;
    writeln!(out, "{:<20}{} at {}", "DNS:", system.cluster_domain, system.dns_address)?;
    for service in system.services {
        writeln!(out, "{:<20}{} {}", format!("{}:", service.name), service.address, service.state)?;
    }
    Ok(())
}
