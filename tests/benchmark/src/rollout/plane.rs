//! Every service as it is shipped, each on a port of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use service_kit::{Channel, Context, InProcess, Role, Running, ServerConfig, Target};

/// How the services, and the machine, reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// Each runs the handlers of what it calls, as those of `setkeeper up`.
    OneProcess,
    /// Over TCP, as processes of their own.
    Processes,
}

impl Between {
    pub(crate) const BOTH: [Self; 2] = [Self::OneProcess, Self::Processes];

    /// What stands behind the name of a figure.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::OneProcess => "",
            Self::Processes => ", over TCP",
        }
    }
}

/// The services of one store.
pub(crate) struct Plane {
    context: Context,
    running: Vec<Running>,
    channel: Channel,
}

impl Plane {
    /// Starts every service with its data in `directory`.
    pub(crate) async fn start(directory: &Path, between: Between) -> anyhow::Result<Self> {
        let context = Context::default();
        // Who knows of no other server in the process takes each for a server elsewhere.
        let context_of_one = || match between {
            Between::OneProcess => context.clone(),
            Between::Processes => Context { in_process: InProcess::default(), ..context.clone() },
        };
        let mut running = Vec::new();
        let config = ordinal_scheduler::Config { server: server() };
        let ordinal_scheduler = note(&mut running, ordinal_scheduler::start(config, context_of_one()).await?)?;
        let config = update_planner::Config { server: server() };
        let update_planner = note(&mut running, update_planner::start(config, context_of_one()).await?)?;
        let config = volume_claim::Config { server: server(), volumes_directory: directory.join("volumes") };
        let volume_claim = note(&mut running, volume_claim::start(config, context_of_one()).await?)?;
        let config = identity_dns::Config {
            server: server(),
            listen: vec![any_port()],
            cache: Some(directory.join("zone")),
            resolvers: identity_dns::config::Resolvers::Fixed(Vec::new()),
            ..identity_dns::Config::default()
        };
        let identity_dns = note(&mut running, identity_dns::start(config, context_of_one()).await?.running)?;
        let config = coordinator::Config {
            server: server(),
            store_directory: directory.join("store"),
            ordinal_scheduler,
            update_planner,
            volume_claim,
            identity_dns,
            token: None,
            cluster_domain: coordinator::CLUSTER_DOMAIN_DEFAULT.to_owned(),
            dns_address: "127.0.0.1:7753".to_owned(),
            profile: domain::Profile::default(),
            patience: coordinator::Patience::default(),
        };
        let target = note(&mut running, coordinator::start(config, context_of_one()).await?)?;
        let channel = context_of_one().connect(Role::Coordinator, &target, None);
        Ok(Self { context, running, channel })
    }

    /// To the coordinator.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Ends every service and returns when all have ended.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { context, running, channel } = self;
        drop(channel);
        context.shutdown.cancel();
        for service in running {
            service.task.await?.with_context(|| format!("{} failed", service.name))?;
        }
        Ok(())
    }
}

fn note(running: &mut Vec<Running>, service: Running) -> anyhow::Result<Target> {
    let address = service.address.context("it listens on TCP")?;
    running.push(service);
    Ok(Target::Tcp(address.to_string()))
}

fn server() -> ServerConfig {
    ServerConfig { listen: Some(any_port()), ..ServerConfig::default() }
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
