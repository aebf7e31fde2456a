//! The network, as a seam.
//!
//! Services use the network of the machine. A simulation gives them another one in [`Context::network`](crate::Context),
//! with its own idea of addresses, delays and losses; everything above connections stays as it is. It also sees where a call
//! begins and ends, at both of its sides: what may go wrong exactly there cannot be told from bytes.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UdpSocket};
use tonic::Status;
use tonic::body::Body;

/// A call that has been sent, until its answer is there: all of it, or the head of a stream.
pub type Call = BoxFuture<'static, Result<Response<Body>, Status>>;

/// Sends a request. A second time it is a second call.
pub type Sender = Arc<dyn Fn(Request<Body>) -> Call + Send + Sync>;

/// A handler at work on a call.
pub type Handler = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// A network that is not the machine's.
pub trait Network: Debug + Send + Sync + 'static {
    /// Listens for connections.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Connects to `host:port`.
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Connection>>;

    /// Binds a socket for packets.
    fn packets(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Packets>>>;

    /// Stands around a call that goes out, inside of its deadline.
    fn call(&self, request: Request<Body>, send: Sender) -> Call {
        send(request)
    }

    /// Stands around the handler of a call that came in to `path`, inside of its deadline.
    fn handle(&self, _path: &str, _headers: &HeaderMap, handler: Handler) -> Handler {
        handler
    }
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
