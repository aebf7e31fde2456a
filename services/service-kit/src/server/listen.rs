//! Listening on an address, for other processes and for this one, on a socket, or on all of them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::{Inside, ServerConfig};
use crate::in_process::Entrance;
use crate::network::{Connection, Listener, Network};
use crate::{Context, Error};

/// Mode of a socket: only the owner may open it.
const SOCKET_MODE: u32 = 0o600;

pub(super) struct Listeners {
    /// The address, for this process. First: it must be gone before the address is free.
    entrance: Option<Entrance>,
    tcp: Option<Box<dyn Listener>>,
    unix: Option<Socket>,
}

pub(super) enum Accepted {
    Tcp(Connection, SocketAddr),
    /// From where only the owner of the process can be.
    Private(UnixStream),
}

/// A socket in the file tree. Its file goes with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Listeners {
    pub(super) async fn bind(service: &'static str, context: &Context, config: &ServerConfig) -> Result<Self, Error> {
        let network = context.network.as_deref();
        if let Some(address) = config.listen
            && !address.ip().to_canonical().is_loopback()
            && config.tls.is_none()
            && !config.plaintext
            // A simulated network has no strangers.
            && network.is_none()
        {
            return Err(Error::Plaintext { service, address });
        }
        let tcp = match config.listen {
            Some(address) => Some(listen_tcp(service, network, address).await?),
            None => None,
        };
        let unix = match &config.unix_socket {
            Some(path) => Some(listen_unix(service, path).await?),
            None => None,
        };
        if tcp.is_none() && unix.is_none() {
            return Err(Error::NowhereToListen { service });
        }
        let mut listeners = Self { entrance: None, tcp, unix };
        // Who has a certificate is to be asked for one, wherever the caller is.
        let address = listeners.tcp_address().filter(|_| network.is_none() && config.tls.is_none());
        listeners.entrance = address.map(|address| context.in_process.listen(address));
        Ok(listeners)
    }

    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// From now on the server is called from within the process.
    pub(super) fn open(&self, inside: &Inside) {
        self.entrance.iter().for_each(|entrance| entrance.open(inside.clone()));
    }

    /// # Cancel safety
    /// No connection is lost.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let tcp = self.tcp.as_ref().map(|tcp| tcp.accept());
        let unix = self.unix.as_ref().map(|unix| unix.listener.accept());
        tokio::select! {
            accepted = if_any(tcp) => accepted.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            accepted = if_any(unix) => accepted.map(|(stream, _)| Accepted::Private(stream)),
        }
    }
}

/// Never returns where there is nothing to wait for.
async fn if_any<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Best effort: a file that stays is replaced by the next start.
        let _stays = fs::remove_file(&self.path);
    }
}

async fn listen_tcp(
    service: &'static str,
    network: Option<&dyn Network>,
    address: SocketAddr,
) -> Result<Box<dyn Listener>, Error> {
    let listening = match network {
        Some(network) => network.listen(address).await,
        None => TcpListener::bind(address).await.map(|listener| Box::new(listener) as Box<dyn Listener>),
    };
    listening.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::AddressInUse { service, address },
        _ => Error::Listen { service, address, source },
    })
}

/// Makes the socket under another name and moves it into place: it never exists with other permissions, and the file that
/// a killed process left is replaced. A socket on which somebody answers is left alone.
async fn listen_unix(service: &'static str, path: &Path) -> Result<Socket, Error> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(Error::SocketInUse { service, path: path.to_owned() });
    }
    let failed = |source| Error::Socket { service, path: path.to_owned(), source };
    let mut draft = path.as_os_str().to_owned();
    draft.push("~");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&draft).map_err(failed)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    Ok(Socket { listener, path: path.to_owned() })
}
