//! The network, as a seam.
//!
//! Services use the network of the machine. A simulation gives them another one in [`Context::network`](crate::Context),
//! with its own idea of addresses, delays and losses; everything above connections stays as it is.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UdpSocket};

/// A network that is not the machine's.
pub trait Network: Debug + Send + Sync + 'static {
    /// Listens for connections.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Connects to `host:port`.
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Connection>>;

    /// Binds a socket for packets.
    fn packets(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Packets>>>;
}

/// Accepts connections.
pub trait Listener: Send + Sync + 'static {
    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection, and whose it is.
    ///
    /// # Cancel safety
    /// No connection is lost.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>>;
}

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Any stream.
pub type Connection = Box<dyn Stream>;

/// A socket for packets.
pub trait Packets: Send + Sync + 'static {
    /// Where it is bound.
    ///
    /// # Errors
    /// The system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Returns when there may be a packet.
    fn readable(&self) -> BoxFuture<'_, io::Result<()>>;

    /// Takes a packet, and says whose it is.
    ///
    /// # Errors
    /// `WouldBlock` where there is none.
    fn try_recv_from(&self, packet: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends a packet.
    ///
    /// # Errors
    /// `WouldBlock` where the buffer is full.
    fn try_send_to(&self, packet: &[u8], peer: SocketAddr) -> io::Result<usize>;

    /// Sends a packet once there is room.
    fn send_to<'a>(&'a self, packet: &'a [u8], peer: SocketAddr) -> BoxFuture<'a, io::Result<usize>>;
}

impl Listener for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    /// Without TCP_NODELAY, a small answer waits 40 ms for the acknowledgement of the one before.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        async {
            let (stream, peer) = self.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Connection, peer))
        }
        .boxed()
    }
}

impl Packets for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn readable(&self) -> BoxFuture<'_, io::Result<()>> {
        self.readable().boxed()
    }

    fn try_recv_from(&self, packet: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_recv_from(packet)
    }

    fn try_send_to(&self, packet: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.try_send_to(packet, peer)
    }

    fn send_to<'a>(&'a self, packet: &'a [u8], peer: SocketAddr) -> BoxFuture<'a, io::Result<usize>> {
        self.send_to(packet, peer).boxed()
    }
}
