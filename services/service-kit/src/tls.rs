//! Mutual TLS 1.3: both sides prove who they are, with certificates from files.
//!
//! Who somebody is stands in the certificate as a URI, `spiffe://<trust domain>/<service>` or
//! `spiffe://<trust domain>/user/<name>` ([`Identifier`]). A server lets in every holder of a certificate of its
//! authority and trust domain; a client goes on only with the one service it means to call.
//!
//! **Rotation.** The files are looked at whenever a connection is made, at most once a second. What is in them holds from
//! then on, without a restart; files that do not fit together are said once, and what held before holds on. Connections
//! that stand are left alone.

mod error;
mod material;
mod verify;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use self::error::{NameError, TlsError};
pub use self::material::{TlsFiles, fits};
use crate::limits::HANDSHAKE_DEADLINE;
use crate::reloaded::Reloaded;
use crate::role::{Holder, Identifier, Role};

/// Who this process is to others, and whose certificates it believes. Clones share everything.
#[derive(Clone)]
pub struct Identity {
    files: Arc<Reloaded<TlsFiles>>,
}

impl Identity {
    /// Reads an identity.
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or they do not fit together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { files: Arc::new(Reloaded::load(files)?) })
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.files.last().identifier.clone()
    }

    /// Whether whoever believes the same authorities believes this certificate now.
    ///
    /// # Errors
    /// Another authority signed it, or its time is over or to come.
    pub fn vouched(&self) -> Result<(), TlsError> {
        let TlsFiles { certificate, authority, .. } = self.files.source().clone();
        self.files.last().vouched().map_err(|source| TlsError::Unvouched { certificate, authority, source })
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
        let accepting = TlsAcceptor::from(self.files.now().server.clone()).accept(io);
        let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, accepting).await.map_err(|_| too_slow())??;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or_else(|| io::Error::other("the caller showed no certificate"))?;
        let holder = verify::identifier(certificate).map_err(io::Error::other)?.holder;
        Ok((stream, holder))
    }

    /// Connects to the server at `address`, which was called by the name `called` and has to prove that it is `role`.
    pub(crate) async fn connect(
        &self,
        role: Role,
        address: SocketAddr,
        called: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let config = self.files.now().client(role).map_err(io::Error::other)?;
        let host = called.rsplit_once(':').map_or(called, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        tokio::time::timeout(HANDSHAKE_DEADLINE, connecting).await.map_err(|_| too_slow())?
    }

    /// Looks at the files with the next connection, however short the last look is ago.
    #[doc(hidden)]
    pub fn forget_last_look(&self) {
        self.files.forget_last_look();
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.source();
        formatter.debug_struct("Identity").field("identifier", &self.identifier()).field("files", files).finish()
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the other side did not finish the TLS handshake in time")
}
