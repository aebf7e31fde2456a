//! Servers of this process, reached without the network.
//!
//! `setkeeper up` runs every service in one process. A call from one to another is gRPC as between processes, but its bytes
//! go through memory instead of a socket. Which calls that concerns is found out when a connection is made: those to an
//! address on which a server listens that was bound with the same [`InProcess`]. Nobody else can get at such a stream, so a
//! server asks no token of it, as of its Unix socket.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::network::Connection;

/// Bytes on their way in one direction; whoever writes more waits. About what a socket holds.
const STREAM_BYTES_MAX: usize = 256 * 1024;

/// Connections that wait for a server to accept them, as in the backlog of a port. A channel makes one at a time.
const BACKLOG_MAX: usize = 128;

/// The servers of a process, by the addresses they listen on. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct InProcess(Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<DuplexStream>>>>);

/// Where connections from within the process come in. Its server can no longer be reached this way once it is dropped,
/// which must be before another can listen on its address.
#[derive(Debug)]
pub(crate) struct Entrance {
    servers: InProcess,
    address: SocketAddr,
    connections: mpsc::Receiver<DuplexStream>,
}

impl InProcess {
    /// From now on a server that listens on this address, which is its alone, is reached here.
    pub(crate) fn listen(&self, address: SocketAddr) -> Entrance {
        let (sender, connections) = mpsc::channel(BACKLOG_MAX);
        self.servers().insert(address, sender);
        Entrance { servers: self.clone(), address, connections }
    }

    /// Connects to an address: in memory where a server of this process listens, else by TCP.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn connect(self, address: SocketAddr) -> io::Result<Connection> {
        let server = self.servers().get(&address).cloned();
        if let Some(server) = server {
            let (ours, theirs) = tokio::io::duplex(STREAM_BYTES_MAX);
            return match server.send(theirs).await {
                Ok(()) => Ok(Box::new(ours)),
                Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
            };
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<SocketAddr, mpsc::Sender<DuplexStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entrance {
    /// The next connection.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub(crate) async fn accept(&mut self) -> io::Result<Connection> {
        // Its own entry keeps a sender, so this ends only with the entrance.
        match self.connections.recv().await {
            Some(stream) => Ok(Box::new(stream)),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.servers.servers().remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn answer_with(mut connection: Connection, what: &[u8]) {
        connection.write_all(what).await.expect("it is open");
    }

    async fn said_by(mut connection: Connection) -> String {
        let mut text = String::new();
        connection.read_to_string(&mut text).await.expect("it ends");
        text
    }

    #[tokio::test]
    async fn a_server_of_this_process_is_reached_in_memory_and_any_other_by_tcp() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let by_tcp = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            answer_with(Box::new(stream), b"by TCP").await;
        };
        let (servers, others) = (InProcess::default(), InProcess::default());
        let mut entrance = servers.listen(address);
        let in_memory = async { answer_with(entrance.accept().await.expect("a connection"), b"in memory").await };
        let (said, ()) =
            tokio::join!(async { said_by(servers.clone().connect(address).await.unwrap()).await }, in_memory);
        assert_eq!(said, "in memory");
        let (said, ()) = tokio::join!(async { said_by(others.connect(address).await.unwrap()).await }, by_tcp);
        assert_eq!(said, "by TCP");
        drop(entrance);
        let by_tcp = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            answer_with(Box::new(stream), b"by TCP again").await;
        };
        let (said, ()) = tokio::join!(async { said_by(servers.clone().connect(address).await.unwrap()).await }, by_tcp);
        assert_eq!(said, "by TCP again");
    }
}
