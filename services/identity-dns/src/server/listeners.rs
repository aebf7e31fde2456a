//! The sockets, given or bound.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use service_kit::CancellationToken;
use service_kit::clock::Clock;
use service_kit::network::{Listener, Network, Packets};
use tokio_util::task::TaskTracker;

use super::handler::Handler;
use super::{tcp, udp};

/// Tries to find a port that is free for both UDP and TCP, where any will do.
const PORT_TRIES_MAX: usize = 16;

/// Addresses served at once: a few interfaces, not one per pod.
const ADDRESSES_MAX: usize = 64;

/// A pair of bound sockets. They may come from another network namespace.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// For packets.
    pub udp: Arc<UdpSocket>,
    /// For connections; of the same address.
    pub tcp: Arc<TcpListener>,
}

impl Sockets {
    /// Binds both to one address; with port 0 to any port that is free for both.
    ///
    /// # Errors
    /// The address is in use or cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = if address.port() == 0 { PORT_TRIES_MAX } else { 1 };
        loop {
            tries -= 1;
            let tcp = TcpListener::bind(address)?;
            match UdpSocket::bind(tcp.local_addr()?) {
                Ok(udp) => return Ok(Self { udp: Arc::new(udp), tcp: Arc::new(tcp) }),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Address of the UDP socket.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// A pair that can be served, of whatever network.
pub(crate) struct Endpoint {
    pub(crate) udp: Arc<dyn Packets>,
    pub(crate) tcp: Box<dyn Listener>,
}

impl Endpoint {
    /// Binds both on another network than the machine's.
    pub(crate) async fn bind(network: &dyn Network, address: SocketAddr) -> io::Result<Self> {
        Ok(Self { udp: network.packets(address).await?.into(), tcp: network.listen(address).await? })
    }
}

impl TryFrom<&Sockets> for Endpoint {
    type Error = io::Error;

    /// # Panics
    /// Outside a tokio runtime.
    fn try_from(sockets: &Sockets) -> io::Result<Self> {
        let (udp, tcp) = (sockets.udp.try_clone()?, sockets.tcp.try_clone()?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let udp = tokio::net::UdpSocket::from_std(udp)?;
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        Ok(Self { udp: Arc::new(udp), tcp: Box::new(tcp) })
    }
}

/// Adds sockets to a running server. Cheap to clone.
#[derive(Clone)]
pub struct Listeners(Arc<Inner>);

struct Inner {
    handler: Arc<Handler>,
    admission: tcp::Admission,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    addresses: Mutex<Vec<SocketAddr>>,
}

impl Listeners {
    pub(crate) fn new(handler: Arc<Handler>, clock: Arc<dyn Clock>, shutdown: CancellationToken) -> Self {
        let (admission, tasks) = (tcp::Admission::default(), TaskTracker::new());
        Self(Arc::new(Inner { handler, admission, clock, shutdown, tasks, addresses: Mutex::default() }))
    }

    /// Answers on these sockets too, until the server ends. Returns their address.
    ///
    /// # Errors
    /// The sockets are not usable, or there are too many already.
    pub fn add(&self, sockets: &Sockets) -> io::Result<SocketAddr> {
        self.serve(Endpoint::try_from(sockets)?)
    }

    pub(crate) fn serve(&self, endpoint: Endpoint) -> io::Result<SocketAddr> {
        let inner = &self.0;
        let mut addresses = inner.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_MAX {
            return Err(io::Error::other(format!("more than {ADDRESSES_MAX} addresses")));
        }
        let Endpoint { udp, tcp } = endpoint;
        let address = udp.local_addr()?;
        inner.handler.forwarder().exclude(address);
        let (handler, shutdown, tasks) = (inner.handler.clone(), inner.shutdown.clone(), inner.tasks.clone());
        let (clock, admission) = (inner.clock.clone(), inner.admission.clone());
        inner.tasks.spawn(udp::serve(udp, handler.clone(), shutdown.clone(), tasks.clone()));
        inner.tasks.spawn(tcp::serve(tcp, tcp::Shared { handler, admission, clock, shutdown, tasks }));
        addresses.push(address);
        Ok(address)
    }

    /// Every address that is served.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when everything has ended, after shutdown.
    pub(crate) async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
