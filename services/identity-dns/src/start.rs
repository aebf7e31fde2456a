//! Bringing the service up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::proto::identity_dns::v1::identity_dns_service_server::IdentityDnsServiceServer;
use service_kit::network::Network;
use service_kit::{Context, Error, Running, Server, process, sized_server};

use crate::config::{Config, NEGATIVE_TTL_SECONDS_MAX, TTL_SECONDS_MAX};
use crate::error::StartError;
use crate::forward::Forwarder;
use crate::grpc::Service;
use crate::metrics::Queries;
use crate::publisher::Publisher;
use crate::server::{Access, Endpoint, Handler, Listeners, Sockets};
use crate::wire::Name;
use crate::zone::{Zone, ZoneOptions};
use crate::{DNS_HEALTH, NAME};

/// How long a change may be in the file and not on the disk: what a machine that loses power may forget.
const FORCE_INTERVAL: Duration = Duration::from_secs(1);

/// A service that has started.
#[derive(Debug)]
pub struct Started {
    /// The gRPC service; its task ends when DNS has ended too.
    pub running: Running,
    /// Where DNS is answered, in the order of the configuration: `listen`, then `sockets`.
    pub dns_addresses: Vec<SocketAddr>,
    /// To answer on further sockets.
    pub listeners: Listeners,
}

/// Loads what was served before, answers DNS, and serves gRPC.
///
/// # Errors
/// The configuration makes no sense, an address cannot be bound, or the cache cannot be used.
pub async fn start(config: Config, context: Context) -> Result<Started, Error> {
    let failed = |error: StartError| Error::start(NAME, error);
    check(&config).map_err(failed)?;
    let sockets = bind(&config, context.network.as_deref()).await.map_err(failed)?;
    let zone = zone(&config, &sockets).map_err(failed)?;
    let (cache, now) = (config.cache.clone(), context.clock.now());
    let opened = process::blocking(move || Publisher::open(zone, cache, now)).await;
    let opened = opened.map_err(|error| Error::start(NAME, error))?;
    let publisher = opened
        .map_err(|source| failed(StartError::Cache { path: config.cache.clone().unwrap_or_default(), source }))?;
    let publisher = Arc::new(publisher);
    let forwarder = Forwarder::new(config.resolvers, context.clock.clone());
    let access = Access { clients: config.clients, transfers: config.transfer_clients, outside: config.outside };
    let queries = Queries::register(publisher.clone(), &context.metrics);
    let handler = Arc::new(Handler::new(publisher.clone(), forwarder, access, queries));
    let listeners = Listeners::new(handler, context.clock.clone(), context.shutdown.clone());
    let server = Server::new(NAME).tells(DNS_HEALTH, publisher.loaded());
    let server = server.add(sized_server!(IdentityDnsServiceServer::new(Service {
        publisher: publisher.clone(),
        listeners: listeners.clone(),
        domain: config.domain,
    })));
    let bound = server.bind_in(&context, &config.server).await?;
    let mut dns_addresses = Vec::with_capacity(sockets.len());
    for pair in sockets {
        dns_addresses.push(listeners.serve(pair).map_err(|error| failed(StartError::Socket(error)))?);
    }
    tracing::info!(addresses = ?dns_addresses, "DNS is answered");
    let address = bound.tcp_address();
    let ending = listeners.clone();
    let task = tokio::spawn(async move {
        let mut forcing = tokio::spawn(force(publisher.clone()));
        let served = bound.serve(context).await;
        ending.ended().await;
        forcing.abort();
        let _aborted = (&mut forcing).await;
        let _last = process::blocking(move || publisher.force()).await;
        served
    });
    Ok(Started { running: Running { name: NAME, address, task }, dns_addresses, listeners })
}

/// Forces names to the disk, until it is aborted.
async fn force(publisher: Arc<Publisher>) {
    loop {
        tokio::time::sleep(FORCE_INTERVAL).await;
        let publisher = publisher.clone();
        if process::blocking(move || publisher.force()).await.is_err() {
            return;
        }
    }
}

fn check(config: &Config) -> Result<(), StartError> {
    for (name, value, max) in [
        ("the TTL", config.ttl_seconds, TTL_SECONDS_MAX),
        ("the negative TTL", config.negative_ttl_seconds, NEGATIVE_TTL_SECONDS_MAX),
    ] {
        if value > max {
            return Err(StartError::OutOfRange { name, value, max });
        }
    }
    if config.listen.is_empty() && config.sockets.is_empty() {
        return Err(StartError::NoAddress);
    }
    Ok(())
}

/// Binds what must be bound, on another network where there is one, and takes what is bound already.
async fn bind(config: &Config, network: Option<&dyn Network>) -> Result<Vec<Endpoint>, StartError> {
    let mut endpoints = Vec::new();
    for address in config.listen.iter().copied() {
        let bound = match network {
            Some(network) => Endpoint::bind(network, address).await,
            None => Sockets::bind(address).and_then(|sockets| Endpoint::try_from(&sockets)),
        };
        endpoints.push(bound.map_err(|source| StartError::Listen { address, source })?);
    }
    for sockets in &config.sockets {
        endpoints.push(Endpoint::try_from(sockets).map_err(StartError::Socket)?);
    }
    Ok(endpoints)
}

fn zone(config: &Config, sockets: &[Endpoint]) -> Result<Zone, StartError> {
    let invalid = || StartError::Domain { domain: config.domain.clone() };
    domain::is_dns_subdomain(&config.domain).map_err(|_| invalid())?;
    let mut addresses = config.addresses.clone();
    if addresses.is_empty() {
        let bound = sockets.iter().filter_map(|pair| Some(pair.udp.local_addr().ok()?.ip()));
        addresses.extend(bound.filter(|address: &IpAddr| !address.is_unspecified()));
    }
    let options = ZoneOptions {
        domain: Name::from_text(&config.domain).ok_or_else(invalid)?,
        ttl: config.ttl_seconds,
        negative_ttl: config.negative_ttl_seconds,
        addresses,
        cidrs: config.reverse.clone(),
        pod_records: config.pod_records,
        endpoint_pod_names: config.endpoint_pod_names,
    };
    Zone::new(options).ok_or_else(invalid)
}
