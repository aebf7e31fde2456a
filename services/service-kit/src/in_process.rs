//! Servers of this process, reached without the network.
//!
//! `setkeeper up` runs every service in one process. A call from one to another passes through all that a call between
//! processes does, messages and limits and deadlines, but for the connection: the task that calls runs the handler. Which
//! calls that concerns is found out at each of them: those to an address on which a server listens that was bound with the
//! same [`InProcess`]. Nobody else can make such a call, so a server asks no token of it, as of its Unix socket.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::server::Inside;

/// The servers of a process, by the addresses they listen on. Clones share everything.
#[derive(Clone, Default)]
pub struct InProcess(Arc<Mutex<HashMap<SocketAddr, watch::Receiver<Option<Inside>>>>>);

/// The way to a server from within the process. The server can no longer be reached by it once it is dropped, which must be
/// before another can listen on its address.
#[derive(Debug)]
pub(crate) struct Entrance {
    servers: InProcess,
    address: SocketAddr,
    inside: watch::Sender<Option<Inside>>,
}

/// A server of the process, which may not serve yet.
pub(crate) struct Neighbour(watch::Receiver<Option<Inside>>);

impl InProcess {
    /// From now on a server that listens on this address, which is its alone, is reached here.
    pub(crate) fn listen(&self, address: SocketAddr) -> Entrance {
        let (inside, seen) = watch::channel(None);
        self.servers().insert(address, seen);
        Entrance { servers: self.clone(), address, inside }
    }

    /// The server of this process that listens on an address; none where it is of another process, or nobody's.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<Neighbour> {
        self.servers().get(&address).cloned().map(Neighbour)
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<SocketAddr, watch::Receiver<Option<Inside>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.servers().keys()).finish()
    }
}

impl Entrance {
    /// Lets in those who wait, and from now on everyone.
    pub(crate) fn open(&self, inside: Inside) {
        self.inside.send_replace(Some(inside));
    }
}

impl Neighbour {
    /// The server once it serves; none where it ends before.
    pub(crate) async fn serving(mut self) -> Option<Inside> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.servers.servers().remove(&self.address);
    }
}
