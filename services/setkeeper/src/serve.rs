//! `setkeeper serve`: one service in a process of its own.

use api::proto::identity_dns::v1::GetZoneRequest;
use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use service_kit::access::{Access, Audit, Policy};
use service_kit::limits::Limits;
use service_kit::{Context, Role, ServerConfig, Target, signals};

use crate::args::{Global, MetricsListen, ServeArgs, Service};
use crate::client::shared_token;
use crate::data_dir::DataDir;
use crate::failure::{Failure, Outcome};
use crate::launch::{self, Setup};

/// First port of the services, where nobody says otherwise.
const PORT_BASE: u16 = 7700;

/// Above the port of a service: its metrics.
const METRICS_PORT_OFFSET: u16 = 100;

/// Runs one service until a signal ends it.
///
/// # Errors
/// It cannot be started, or ends by itself.
pub(crate) async fn serve(global: &Global, args: &ServeArgs) -> Outcome {
    let service = args.service;
    let data = DataDir::resolve(global.data_dir.as_deref())?;
    let failed = |error: service_kit::Error| Failure::new(service_kit::status::chain(&error));
    let telemetry = launch::telemetry(service.name(), vec![service.name()], &args.telemetry, None).map_err(failed)?;
    let tls = global.tls.identity()?;
    // A certificate says more than a token, and is asked for before one could be shown.
    let token = if args.no_token || tls.is_some() { None } else { Some(shared_token(global, &data)?) };
    data.create()?;
    let mut setup = Setup {
        peers: args.peers.clone(),
        token: token.clone(),
        cluster_domain: args.cluster_domain.clone(),
        profile: args.profile.into(),
        dns_listen: args.dns_listen,
        dns_address: args.dns_address.clone().unwrap_or_default(),
        volumes: args.volumes_dir.clone().unwrap_or_else(|| data.volumes()),
        tier: args.runtime,
        node_name: args.node_name.clone().unwrap_or_else(launch::node_name),
        advertise: args.advertise.clone(),
        metrics_address: None,
        data,
    };
    let signal = signals::shutdown_token()?;
    let context = Context { draining: signal.clone(), tls: tls.clone(), ..Context::default() };
    if service == Service::Coordinator && setup.dns_address.is_empty() {
        setup.dns_address = dns_address(&setup, &context).await;
    }
    let access = access(args, &setup.data).map_err(failed)?;
    let (plaintext, limits) = (args.plaintext, Limits::with(&args.limits));
    let server = ServerConfig { token, tls, plaintext, access, limits, ..listen(args).await? };
    let metrics = launch::metrics(metrics_listen(args), &context).await?;
    let running = setup.start(service, server, context.clone()).await.map_err(failed)?;
    if let Some(address) = running.address {
        tracing::info!(service = service.name(), %address, "serving");
    } else {
        tracing::info!(service = service.name(), "serving");
    }
    let (end, delay) = (context.shutdown.clone(), args.operate.drain_delay);
    // Owned by the process: it lives as long as the signal may come.
    tokio::spawn(async move {
        signal.cancelled().await;
        tokio::time::sleep(delay).await;
        end.cancel();
    });
    let ended = running.task.await;
    metrics.end().await;
    telemetry.shutdown().await;
    match ended {
        Ok(Ok(())) if context.shutdown.is_cancelled() => Ok(()),
        Ok(Ok(())) => Err(Failure::new(format_args!("{} ended by itself", service.name()))),
        Ok(Err(error)) => Err(failed(error)),
        Err(error) => Err(Failure::new(format_args!("{} ended: {error}", service.name()))),
    }
}

/// Who may do what, and where it is recorded. Only the coordinator has users, and makes changes for them.
fn access(args: &ServeArgs, data: &DataDir) -> Result<Access, service_kit::Error> {
    if args.service != Service::Coordinator {
        return Ok(Access::default());
    }
    let policy = args.policy.as_deref().map(Policy::load).transpose()?;
    let audit = Audit::to_file(&args.audit_log.clone().unwrap_or_else(|| data.audit_log()))?;
    Ok(Access::new(policy, audit))
}

/// Where metrics are served, and whether somebody asked for that place.
fn metrics_listen(args: &ServeArgs) -> (MetricsListen, bool) {
    let default = || MetricsListen::At(args.service.address(PORT_BASE + METRICS_PORT_OFFSET));
    let asked = args.operate.metrics_listen;
    (asked.unwrap_or_else(default), asked.is_some())
}

/// Where DNS is really served: each replica of identity-dns knows, and where none answers, what it was told.
async fn dns_address(setup: &Setup, context: &Context) -> String {
    let channel = context.connect(Role::IdentityDns, &setup.peers.identity_dns, setup.token.as_ref());
    let replicas = channel.each().await.unwrap_or_default();
    let ask = |replica| async { IdentityDnsServiceClient::new(replica).get_zone(GetZoneRequest {}).await };
    let zones = futures::future::join_all(replicas.into_iter().map(ask)).await;
    let addresses = zones.into_iter().flatten().map(|zone| zone.into_inner().address);
    let addresses: Vec<_> = addresses.filter(|address| !address.is_empty()).collect();
    if addresses.is_empty() { setup.dns_listen.to_string() } else { addresses.join(",") }
}

async fn listen(args: &ServeArgs) -> Outcome<ServerConfig> {
    let default = Target::from(args.service.address(PORT_BASE));
    let age = args.operate.connection_age;
    let connection_age = (!age.is_zero()).then_some(age);
    let mut config = ServerConfig { connection_age, ..ServerConfig::default() };
    match args.listen.clone().unwrap_or(default) {
        Target::Unix(path) => config.unix_socket = Some(path),
        Target::Tcp(address) => {
            let found = tokio::net::lookup_host(&address).await;
            let first = found.ok().and_then(|mut addresses| addresses.next());
            config.listen = Some(first.ok_or_else(|| {
                Failure::new(format_args!(
                    "{address} is no address of this machine: write 0.0.0.0:PORT for all of them"
                ))
            })?);
        }
    }
    Ok(config)
}
