//! Mutual TLS 1.3: both sides prove who they are, with certificates from files.
//!
//! Who somebody is stands in the certificate as a URI, `spiffe://<trust domain>/<service>` or
//! `spiffe://<trust domain>/user/<name>` ([`Identifier`]). A server lets in every holder of a certificate of its
//! authority and trust domain; a client goes on only with the one service it means to call.
//!
//! **Rotation.** The files are looked at whenever a connection is made, at most once in [`LOOK_INTERVAL`]. What is in
//! them holds from then on, without a restart; files that do not fit together are said once, and what held before holds
//! on. Connections that stand are left alone.

mod error;
mod material;
mod verify;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use self::error::{NameError, TlsError};
pub use self::material::TlsFiles;
use self::material::{Content, Material};
use crate::limits::HANDSHAKE_DEADLINE;
use crate::role::{Holder, Identifier, Role};
use crate::status::chain;

/// How often the files are looked at: three small files in the page cache, and certificates change once a day.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Who this process is to others, and whose certificates it believes. Clones share everything.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    files: TlsFiles,
    current: ArcSwap<Material>,
    seen: Mutex<Seen>,
}

/// What the last look at the files found.
struct Seen {
    at: Instant,
    /// Good or bad; none where they could not be read.
    content: Option<Content>,
}

impl Identity {
    /// Reads an identity.
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or they do not fit together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let content = files.read()?;
        let current = ArcSwap::from_pointee(Material::new(&files, &content)?);
        let seen = Mutex::new(Seen { at: Instant::now(), content: Some(content) });
        Ok(Self { inner: Arc::new(Inner { files, current, seen }) })
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.inner.current.load().identifier.clone()
    }

    /// Whether `service` may serve with it.
    pub(crate) fn check(&self, service: &'static str) -> Result<(), TlsError> {
        let identifier = self.identifier();
        match identifier.holder {
            Holder::Service(role) if role.name() == service => Ok(()),
            _ => Err(TlsError::OtherService { service, holder: identifier.to_string() }),
        }
    }

    /// Makes a connection of somebody else secure, and says whose it is.
    pub(crate) async fn accept<IO>(&self, io: IO) -> io::Result<(server::TlsStream<IO>, Holder)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepting = TlsAcceptor::from(self.current().server.clone()).accept(io);
        let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, accepting).await.map_err(|_| too_slow())??;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or_else(|| io::Error::other("the caller showed no certificate"))?;
        let holder = verify::identifier(certificate).map_err(io::Error::other)?.holder;
        Ok((stream, holder))
    }

    /// Connects to the server at `address`, which has to prove that it is `role`.
    pub(crate) async fn connect(&self, role: Role, address: &str) -> io::Result<client::TlsStream<TcpStream>> {
        let config = self.current().client(role).map_err(io::Error::other)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        tokio::time::timeout(HANDSHAKE_DEADLINE, connecting).await.map_err(|_| too_slow())?
    }

    /// What the files say now. One caller looks; who comes meanwhile takes what there is.
    fn current(&self) -> Arc<Material> {
        if let Ok(mut seen) = self.inner.seen.try_lock()
            && seen.at.elapsed() >= LOOK_INTERVAL
        {
            self.look(&mut seen);
        }
        self.inner.current.load_full()
    }

    fn look(&self, seen: &mut Seen) {
        seen.at = Instant::now();
        let read = self.inner.files.read();
        let content = read.as_ref().ok().cloned();
        if content == seen.content {
            return;
        }
        seen.content = content;
        match read.and_then(|content| Material::new(&self.inner.files, &content)) {
            Ok(material) => {
                tracing::info!(identifier = %material.identifier, "the certificate was renewed");
                self.inner.current.store(Arc::new(material));
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "the new certificate cannot be used; the one before it holds on");
            }
        }
    }

    /// Looks at the files with the next connection, however short the last look is ago.
    #[doc(hidden)]
    pub fn forget_last_look(&self) {
        let mut seen: MutexGuard<'_, Seen> = self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = seen.at.checked_sub(LOOK_INTERVAL) {
            seen.at = earlier;
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = &self.inner.files;
        formatter.debug_struct("Identity").field("identifier", &self.identifier()).field("files", files).finish()
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the other side did not finish the TLS handshake in time")
}
