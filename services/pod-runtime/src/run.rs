//! A pod runtime over this machine's own processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use service_kit::{Context, Error, Running};

use crate::config::{Config, Tier};
use crate::error::SERVICE;
use crate::sandbox::{self, Options, PodNetwork, Sandboxes};
use crate::start::start_with_backend;

/// Pods' network where the configuration names none.
const NETWORK_DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 77, 0, 0), 16);

/// How long after the name server of the pods failed it is brought up again.
const NAMES_RETRY: Duration = Duration::from_secs(1);

/// Finds out what the machine allows, finds the pods that run, and starts the runtime.
///
/// # Errors
/// Where the tier asked for is refused, another runtime uses the state directory, or an address cannot be bound.
pub async fn start(config: Config, context: Context) -> Result<Running, Error> {
    let (address, prefix_length) = config.pod_cidr.unwrap_or(NETWORK_DEFAULT);
    let network = PodNetwork::new(address, prefix_length).ok_or_else(|| {
        Error::start(SERVICE, format!("{address}/{prefix_length} has no room for pods: give a /24 or larger"))
    })?;
    let helper = config.executable.clone().map_or_else(std::env::current_exe, Ok);
    let options = Options {
        state_dir: config.state_dir.join("sandboxes"),
        helper: helper.map_err(|error| Error::start(SERVICE, error))?,
        tier: match config.tier {
            Tier::Auto => sandbox::Tier::Auto,
            Tier::Namespaced => sandbox::Tier::Namespaced,
            Tier::Process => sandbox::Tier::Process,
        },
        network,
        masked: config.masked.clone(),
    };
    let sandboxes = sandbox::open(options).await.map_err(|error| Error::start(SERVICE, error))?;
    let names = config.dns_upstream.map(|upstream| tokio::spawn(names(sandboxes.clone(), upstream, context.clone())));
    let running = start_with_backend(config, context, sandboxes.clone()).await?;
    let task = tokio::spawn(async move {
        let ended = running.task.await.unwrap_or_else(|error| Err(Error::start(SERVICE, error)));
        if let Some(names) = names {
            // It ends with the same token.
            let _ = names.await;
        }
        if let Err(error) = sandboxes.close().await {
            tracing::warn!(error = service_kit::status::chain(&error), "the node's own processes stay");
        }
        ended
    });
    Ok(Running { name: running.name, address: running.address, task })
}

/// Keeps the name server of the pods up.
async fn names(sandboxes: Arc<Sandboxes>, upstream: SocketAddr, context: Context) {
    while !context.shutdown.is_cancelled() {
        if let Err(error) = sandboxes.serve_dns(upstream, context.shutdown.clone()).await {
            tracing::warn!(error = service_kit::status::chain(&error), "pods cannot ask for names; trying again");
            tokio::select! {
                () = context.shutdown.cancelled() => {}
                () = context.clock.sleep(NAMES_RETRY) => {}
            }
        }
    }
}
