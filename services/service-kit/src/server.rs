//! The server that every service is.
//!
//! Chosen: our own accept loop on hyper, with the generated services routed by tonic. Rejected: tonic's own server,
//! because it leaves connections running after a bounded shutdown, ends calls that ran out of time with `CANCELLED`, and
//! knows one listener. What a call passes through, outermost first (`shell`): limit of calls in flight, authentication,
//! span, deadline, guard against panics.
//!
//! **Deadlines.** A unary call gets what its caller granted (`grpc-timeout`), or
//! [`SERVER_DEADLINE`](crate::limits::SERVER_DEADLINE). A streaming call gets what its caller granted to begin
//! answering; a stream that has begun is never cut.
//!
//! **Shutdown.** When [`Context::draining`] is cancelled, readiness turns to `NOT_SERVING` and everything goes on. When
//! [`Context::shutdown`] is: listeners close, connections get a GOAWAY, calls in flight get [`DRAIN_GRACE`], then
//! connections are dropped. Streams of a service have to end on the same token.

mod connection;
mod health;
mod inside;
mod listen;
mod lobby;
mod shell;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;

pub use health::HealthHandle;

use self::connection::{Door, Ends, serve_connection, serve_tcp};
use self::health::{HEALTH_SERVICE, HealthService};
pub(crate) use self::inside::{Ended, Inside};
use self::listen::{Accepted, Listeners};
use self::lobby::Lobby;
use self::shell::Shell;
use crate::access::Access;
use crate::limits::{DRAIN_GRACE, Limits, OPEN_CALLS_MAX};
use crate::{Channel, Context, Error, Identity, Running, Token};

/// How long to wait after the machine refused to accept, for instance because files ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Where a server listens, and who may call.
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes any that is free. None: not over TCP.
    pub listen: Option<SocketAddr>,
    /// Socket to listen on. Only the owner of the process can open it, so it asks for no token.
    pub unix_socket: Option<PathBuf>,
    /// What callers over TCP have to know; health and reflection are open. None: whoever reaches the port may call, for
    /// a port that something else guards, such as a mesh.
    pub token: Option<Token>,
    /// Who the server is to callers over TCP. They have to prove who they are as well. None: plaintext.
    pub tls: Option<Identity>,
    /// Whether plaintext is wanted even where other machines reach the address, because something else guards the port.
    /// Without it, plaintext is for loopback addresses alone.
    pub plaintext: bool,
    /// What users may do, and where it is recorded.
    pub access: Access,
    /// How much it takes at the same time.
    pub limits: Limits,
    /// How old a connection may get, give or take a tenth; then its client is told to connect anew (GOAWAY), so that
    /// calls spread over servers that came later. Calls and streams under way go on. None: for ever.
    pub connection_age: Option<Duration>,
}

/// Collects the services of a server.
pub struct Server {
    name: &'static str,
    routes: Routes,
    services: BTreeSet<&'static str>,
    told: Vec<(&'static str, watch::Receiver<bool>)>,
    dependencies: Vec<(&'static str, Channel)>,
}

/// A server that has its addresses and is about to serve.
pub struct BoundServer {
    name: &'static str,
    listeners: Listeners,
    routes: Routes,
    services: BTreeSet<&'static str>,
    told: Vec<(&'static str, watch::Receiver<bool>)>,
    dependencies: Vec<(&'static str, Channel)>,
    token: Option<Token>,
    tls: Option<Identity>,
    access: Access,
    limits: Limits,
    connection_age: Option<Duration>,
    health: HealthHandle,
}

impl Server {
    /// A server of the service `name`, such as `ordinal-scheduler`. Its spans appear under this name.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, routes: Routes::default(), services: BTreeSet::new(), told: Vec::new(), dependencies: Vec::new() }
    }

    /// Adds a generated server. Wrap it in [`sized_server!`](crate::sized_server) first.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "adds a service, no number")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.services.insert(S::NAME);
        self.routes = self.routes.add_service(service);
        self
    }

    /// Names a service that this one calls. Health tells how it is.
    #[must_use]
    pub fn depends_on(mut self, name: &'static str, channel: Channel) -> Self {
        self.dependencies.push((name, channel));
        self
    }

    /// Lets health tell, under a name of its own, whether the server is ready and this is true as well. For what a server
    /// does beside its gRPC services.
    #[must_use]
    pub fn tells(mut self, name: &'static str, truth: watch::Receiver<bool>) -> Self {
        self.told.push((name, truth));
        self
    }

    /// Takes the addresses. From here on connections queue; they are served once [`BoundServer::serve`] runs.
    ///
    /// # Errors
    /// An address is in use or cannot be listened on, none is given, plaintext would leave the machine, or the certificate
    /// is of another service.
    pub async fn bind(self, config: &ServerConfig) -> Result<BoundServer, Error> {
        self.bind_in(&Context::default(), config).await
    }

    /// The same on the network of a context, and for those who call with the same [`Context::in_process`].
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn bind_in(self, context: &Context, config: &ServerConfig) -> Result<BoundServer, Error> {
        if let Some(identity) = &config.tls {
            identity.check(self.name)?;
            // It may be renewed while the service runs, which has other work to do than to answer calls.
            if let Err(error) = identity.vouched() {
                tracing::warn!(
                    service = self.name,
                    error = crate::status::chain(&error),
                    "callers will not believe this certificate"
                );
            }
        }
        let listeners = Listeners::bind(self.name, context, config).await?;
        let health = HealthHandle::new(true);
        Ok(BoundServer {
            name: self.name,
            listeners,
            routes: self.routes,
            services: self.services,
            told: self.told,
            dependencies: self.dependencies,
            token: config.token.clone(),
            tls: config.tls.clone(),
            access: config.access.clone(),
            limits: config.limits,
            connection_age: config.connection_age,
            health,
        })
    }
}

impl BoundServer {
    /// Where it listens over TCP, with the port it really got.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.listeners.tcp_address()
    }

    /// Tells callers whether the service can do its work. It can, until something says otherwise.
    #[must_use]
    pub fn health(&self) -> HealthHandle {
        self.health.clone()
    }

    /// Serves in a task of its own.
    #[must_use]
    pub fn spawn(self, context: Context) -> Running {
        let (name, address) = (self.name, self.tcp_address());
        Running { name, address, task: tokio::spawn(self.serve(context)) }
    }

    /// Serves until the context's token is cancelled, then ends within [`DRAIN_GRACE`].
    ///
    /// # Errors
    /// The descriptions of the services do not fit together.
    ///
    /// # Cancel safety
    /// Dropping the future drops every connection at once.
    pub async fn serve(self, context: Context) -> Result<(), Error> {
        let Self {
            name,
            listeners,
            routes,
            services,
            told,
            dependencies,
            token,
            tls,
            access,
            limits,
            connection_age,
            health,
        } = self;
        let routes = with_reflection(name, routes, &services)?;
        let calls = context.metrics.server(name, services.iter().copied());
        context.metrics.health(name, health.subscribe());
        told.iter().for_each(|(what, truth)| context.metrics.ready_when(what, truth.clone()));
        let health_service =
            HealthService { name, health: health.clone(), services, told, dependencies, context: context.clone() };
        let routes = routes
            .add_service(crate::sized_server!(tonic_health::pb::health_server::HealthServer::new(health_service)));
        let shell = Shell {
            service: name,
            routes: routes.prepare(),
            token,
            access,
            calls: Arc::new(Semaphore::new(limits.calls_in_flight as usize)),
            open_calls: Arc::new(Semaphore::new(OPEN_CALLS_MAX as usize)),
            counts: calls,
            limits,
            network: context.network.clone(),
        };
        let inside = Inside::new(shell.clone());
        listeners.open(&inside);
        let _cut = inside.cut_on_drop();
        let draining = CancellationToken::new();
        let mut connections = JoinSet::new();
        let lobby = Lobby::default();
        let mut drain_told = false;
        loop {
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => break,
                () = context.draining.cancelled(), if !drain_told => {
                    health.set_serving(false);
                    drain_told = true;
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listeners.accept(), if connections.len() < limits.connections as usize => match accepted {
                    Ok(Accepted::Tcp(stream, peer)) => {
                        let place = lobby.enter(limits.strangers as usize);
                        let ends = Ends { draining: draining.clone(), age: connection_age };
                        connections.spawn(serve_tcp(stream, peer, place, tls.clone(), shell.clone(), ends));
                    }
                    Ok(Accepted::Private(stream)) => {
                        let ends = Ends { draining: draining.clone(), age: None };
                        connections.spawn(serve_connection(stream, Door::Private, shell.clone(), ends));
                    }
                    Err(error) => {
                        tracing::warn!(service = name, %error, "a connection cannot be accepted");
                        context.clock.sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
        health.set_serving(false);
        drop(listeners);
        draining.cancel();
        drain(name, &mut connections, &inside).await;
        Ok(())
    }
}

async fn drain(service: &'static str, connections: &mut JoinSet<()>, inside: &Inside) {
    let ended = async {
        while connections.join_next().await.is_some() {}
        inside.ended().await;
    };
    if tokio::time::timeout(DRAIN_GRACE, ended).await.is_err() {
        let (connections, inside) = (connections.len(), inside.under_way());
        tracing::warn!(service, connections, inside, "calls did not end in time and are dropped");
    }
    connections.shutdown().await;
}

/// Both versions: some clients ask only for the older one. Each server names only what it serves.
fn with_reflection(name: &'static str, routes: Routes, services: &BTreeSet<&'static str>) -> Result<Routes, Error> {
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(HEALTH_SERVICE);
        for service in services {
            builder = builder.with_service_name(*service);
        }
        builder
    };
    let failed = |source| Error::Reflection { service: name, source };
    let v1 = builder().with_service_name("grpc.reflection.v1.ServerReflection").build_v1().map_err(failed)?;
    let v1alpha =
        builder().with_service_name("grpc.reflection.v1alpha.ServerReflection").build_v1alpha().map_err(failed)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}
