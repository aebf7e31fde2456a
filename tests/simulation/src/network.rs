//! The simulated network: turmoil's, seen through the product's seam.
//!
//! Beside what turmoil does to messages, a connection can be cut, which drops whatever handler it serves at the await it
//! has come to, and a host that is about to crash says nothing more: a crash is where it was asked for.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Request};
use service_kit::CancellationToken;
use service_kit::network::{Call, Connection, Handler, Listener, Network, Packets, Sender};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::body::Body;
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use crate::calls;
use crate::clock::Standstill;
use crate::place::Place;

/// The network as one host sees it.
#[derive(Debug)]
pub struct SimulatedNetwork {
    place: Arc<Place>,
}

impl SimulatedNetwork {
    /// The network of a host, for one of its lives.
    #[must_use]
    pub fn new(place: Arc<Place>) -> Self {
        Self { place }
    }
}

impl Network for SimulatedNetwork {
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        async move {
            let inner = TcpListener::bind(address).await?;
            Ok(Box::new(SimulatedListener { inner, place: self.place.clone() }) as Box<dyn Listener>)
        }
        .boxed()
    }

    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Connection>> {
        let place = self.place.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            Ok(Box::new(SimulatedStream::new(stream, place)) as Connection)
        }
        .boxed()
    }

    fn packets(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Packets>>> {
        let place = self.place.clone();
        async move {
            let socket = UdpSocket::bind(address).await?;
            Ok(Box::new(SimulatedPackets { socket, place }) as Box<dyn Packets>)
        }
        .boxed()
    }

    fn call(&self, request: Request<Body>, send: Sender) -> Call {
        calls::outgoing(self.place.clone(), request, send).boxed()
    }

    fn handle(&self, path: &str, headers: &HeaderMap, handler: Handler) -> Handler {
        calls::incoming(self.place.clone(), path, headers, handler)
    }
}

struct SimulatedListener {
    inner: TcpListener,
    place: Arc<Place>,
}

impl Listener for SimulatedListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        async {
            let (stream, peer) = self.inner.accept().await?;
            Ok((Box::new(SimulatedStream::new(stream, self.place.clone())) as Connection, peer))
        }
        .boxed()
    }
}

struct SimulatedPackets {
    socket: UdpSocket,
    place: Arc<Place>,
}

impl Packets for SimulatedPackets {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn readable(&self) -> BoxFuture<'_, io::Result<()>> {
        async {
            self.socket.readable().await?;
            self.place.clock.goes_on().await;
            Ok(())
        }
        .boxed()
    }

    fn try_recv_from(&self, packet: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_from(packet)
    }

    fn try_send_to(&self, packet: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.socket.try_send_to(packet, peer)
    }

    fn send_to<'a>(&'a self, packet: &'a [u8], peer: SocketAddr) -> BoxFuture<'a, io::Result<usize>> {
        self.socket.send_to(packet, peer).boxed()
    }
}

/// What a host's connections have in common, so that they can be cut and stopped.
#[derive(Debug, Default)]
pub struct Wires {
    /// Nothing goes out or comes in any more.
    dead: AtomicBool,
    /// Writes so far: each is a boundary of a call.
    writes: AtomicU64,
    cut: std::sync::Mutex<CancellationToken>,
}

impl Wires {
    /// Silences every connection, for ever.
    pub fn silence(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Whether it is silenced.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Breaks every connection that is open now.
    pub fn cut(&self) {
        let mut cut = self.cut.lock().expect("no holder of this lock panics");
        std::mem::take(&mut *cut).cancel();
    }

    fn token(&self) -> CancellationToken {
        self.cut.lock().expect("no holder of this lock panics").clone()
    }
}

struct SimulatedStream {
    inner: TcpStream,
    place: Arc<Place>,
    cut: BoxFuture<'static, ()>,
    broken: bool,
    standstill: Standstill,
}

impl SimulatedStream {
    fn new(inner: TcpStream, place: Arc<Place>) -> Self {
        let cut = place.wires.token().cancelled_owned().boxed();
        Self { inner, place, cut, broken: false, standstill: Standstill::default() }
    }

    /// An error once the connection is cut; pending while the host stands still, for ever once it is silent.
    fn check(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.place.wires.is_silent() || self.standstill.poll(&self.place.clock, context).is_pending() {
            return Poll::Pending;
        }
        if self.broken || self.cut.poll_unpin(context).is_ready() {
            self.broken = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for SimulatedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.check(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.inner).poll_read(context, buf),
            other => other,
        }
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.check(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let number = self.place.wires.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if self.place.crashes_before_send(number) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.inner).poll_write(context, data);
        self.place.sent(number);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.place.wires.is_silent() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl fmt::Debug for SimulatedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStream").field("broken", &self.broken).finish_non_exhaustive()
    }
}
