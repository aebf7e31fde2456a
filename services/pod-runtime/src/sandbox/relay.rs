//! Carries name queries of pods from port 53 of the bridge to a name server of the machine, and answers back. Where there
//! are several, a server that is away or knows nothing yet costs a query some time, once: the next is asked instead, and
//! the one that answered is asked first from then on.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::name_servers::NameServers;

/// Queries on their way at a time. A resolver asks again after some seconds, so one beyond this is dropped, not queued.
const QUERIES_MAX: usize = 512;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;

/// A resolver gives up after 5 s by default; an answer after that helps nobody.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server is waited for before the next one is asked as well. Names of the cluster take a fraction of it, and
/// what has to be asked outside is asked again at little cost.
const NEXT_AFTER: Duration = Duration::from_secs(1);

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
pub(crate) async fn serve(sockets: Sockets, upstream: Arc<NameServers>, shutdown: CancellationToken) -> io::Result<()> {
    let udp = datagrams(Arc::new(sockets.udp), upstream.clone());
    let tcp = connections(&sockets.tcp, upstream);
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        outcome = udp => outcome,
        outcome = tcp => outcome,
    }
}

async fn datagrams(socket: Arc<UdpSocket>, upstream: Arc<NameServers>) -> io::Result<()> {
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
        let (query, socket, upstream) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&upstream));
        queries.spawn(async move {
            if let Ok(Some(answer)) = tokio::time::timeout(QUERY_TIMEOUT, resolve(&query, &upstream)).await {
                // A pod that is gone needs no answer.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

/// The first answer that says something; a failure only where no server says more.
async fn resolve(query: &[u8], upstream: &NameServers) -> Option<Vec<u8>> {
    let mut rest = upstream.in_turn();
    let mut asked = FuturesUnordered::new();
    let mut failure = None;
    loop {
        asked.extend(rest.next().map(|server| async move { (server, ask(query, server).await) }));
        tokio::select! {
            biased;
            Some((server, answer)) = asked.next() => match answer {
                Ok(answer) if is_failure(&answer) => failure = Some(answer),
                Ok(answer) => {
                    upstream.prefer(server);
                    return Some(answer);
                }
                // Nobody is there.
                Err(_) => {}
            },
            () = tokio::time::sleep(NEXT_AFTER), if rest.len() > 0 => {}
            else => return failure,
        }
    }
}

/// Whether a server says that it cannot answer now.
fn is_failure(answer: &[u8]) -> bool {
    const RCODE_PLACE: usize = 3;
    const SERVFAIL: u8 = 2;
    answer.get(RCODE_PLACE).is_some_and(|flags| flags & 0x0f == SERVFAIL)
}

/// Asks from a port of its own, so that an answer can only belong to this query.
async fn ask(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; DATAGRAM_MAX];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn connections(listener: &TcpListener, upstream: Arc<NameServers>) -> io::Result<()> {
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
        let upstream = Arc::clone(&upstream);
        open.spawn(async move {
            let relay = async {
                let mut server = connect(&upstream).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            };
            // However it ends, closing the connection is all that is left to do.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, relay).await;
            drop(permit);
        });
    }
}

/// A connection to the first server that takes one.
async fn connect(upstream: &NameServers) -> io::Result<TcpStream> {
    let mut refused = io::ErrorKind::NotConnected.into();
    for server in upstream.in_turn() {
        match tokio::time::timeout(NEXT_AFTER, TcpStream::connect(server)).await {
            Ok(Ok(stream)) => {
                upstream.prefer(server);
                return Ok(stream);
            }
            Ok(Err(error)) => refused = error,
            Err(_) => refused = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOERROR: [u8; 4] = [0, 7, 0x80, 0x00];
    const SERVFAIL: [u8; 4] = [0, 7, 0x80, 0x02];

    /// A server that says this to everything; where it is none, one that never answers.
    async fn server(answer: Option<[u8; 4]>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("bound");
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((_, client)) = socket.recv_from(&mut question).await {
                if let Some(answer) = answer {
                    socket.send_to(&answer, client).await.expect("an answer");
                }
            }
        });
        address
    }

    async fn nobody() -> SocketAddr {
        UdpSocket::bind("127.0.0.1:0").await.expect("a socket").local_addr().expect("bound")
    }

    #[tokio::test]
    async fn whoever_knows_answers_and_is_asked_first_from_then_on() {
        let knows = server(Some(NOERROR)).await;
        for other in [nobody().await, server(Some(SERVFAIL)).await, server(None).await] {
            let upstream = NameServers::new(vec![other, knows]);
            assert_eq!(resolve(&[0, 7], &upstream).await.as_deref(), Some(&NOERROR[..]));
            assert_eq!(upstream.in_turn().next(), Some(knows));
        }
    }

    #[tokio::test]
    async fn where_no_server_knows_the_failure_is_told() {
        let upstream = NameServers::new(vec![server(Some(SERVFAIL)).await, nobody().await]);
        assert_eq!(resolve(&[0, 7], &upstream).await.as_deref(), Some(&SERVFAIL[..]));
        let away = NameServers::new(vec![nobody().await, nobody().await]);
        assert_eq!(resolve(&[0, 7], &away).await, None);
    }
}
