//! Listening on an address, a socket, or both.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::ServerConfig;
use crate::Error;
use crate::network::{Connection, Listener, Network};

/// Mode of a socket: only the owner may open it.
const SOCKET_MODE: u32 = 0o600;

pub(super) struct Listeners {
    tcp: Option<Box<dyn Listener>>,
    unix: Option<Socket>,
}

pub(super) enum Accepted {
    Tcp(Connection, SocketAddr),
    Unix(UnixStream),
}

/// A socket in the file tree. Its file goes with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Listeners {
    pub(super) async fn bind(
        service: &'static str,
        network: Option<&dyn Network>,
        config: &ServerConfig,
    ) -> Result<Self, Error> {
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
        Ok(Self { tcp, unix })
    }

    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// # Cancel safety
    /// No connection is lost.
    pub(super) async fn accept(&mut self) -> io::Result<Accepted> {
        match (&self.tcp, &self.unix) {
            (Some(tcp), Some(unix)) => tokio::select! {
                accepted = tcp.accept() => accepted.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
                accepted = unix.listener.accept() => Ok(Accepted::Unix(accepted?.0)),
            },
            (Some(tcp), None) => tcp.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            (None, Some(unix)) => Ok(Accepted::Unix(unix.listener.accept().await?.0)),
            (None, None) => std::future::pending().await,
        }
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
