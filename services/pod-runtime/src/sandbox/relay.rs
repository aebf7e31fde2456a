//! Carries name queries of pods from port 53 of the bridge to the name server of the machine, and answers back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Queries on their way at a time. A resolver asks again after some seconds, so one beyond this is dropped, not queued.
const QUERIES_MAX: usize = 512;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;

/// A resolver gives up after 5 s by default; an answer after that helps nobody.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection's whole life; resolvers open one for an answer that did not fit a datagram.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Sockets inside the pods' network, made by the anchor.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
}

/// Relays until `shutdown`.
pub(crate) async fn serve(sockets: Sockets, upstream: SocketAddr, shutdown: CancellationToken) -> io::Result<()> {
    let udp = datagrams(Arc::new(sockets.udp), upstream);
    let tcp = connections(&sockets.tcp, upstream);
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        outcome = udp => outcome,
        outcome = tcp => outcome,
    }
}

async fn datagrams(socket: Arc<UdpSocket>, upstream: SocketAddr) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(QUERIES_MAX));
    // Dropped with this future, and all queries with it.
    let mut queries = tokio::task::JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // What is told of an earlier answer that its asker is gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        while queries.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (query, socket) = (buffer[..length].to_vec(), Arc::clone(&socket));
        queries.spawn(async move {
            if let Ok(Ok(answer)) = tokio::time::timeout(QUERY_TIMEOUT, ask(&query, upstream)).await {
                // A pod that is gone needs no answer.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

/// Asks from a port of its own, so that an answer can only belong to this query.
async fn ask(query: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut answer = vec![0; DATAGRAM_MAX];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn connections(listener: &TcpListener, upstream: SocketAddr) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = tokio::task::JoinSet::new();
    loop {
        // Those beyond the bound wait in the kernel's queue.
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (mut client, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            let relay = async {
                let mut server = TcpStream::connect(upstream).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            };
            // However it ends, closing the connection is all that is left to do.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, relay).await;
            drop(permit);
        });
    }
}
