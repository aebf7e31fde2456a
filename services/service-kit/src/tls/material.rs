//! The files of an identity, and what they mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, client::Resumption};

use super::TlsError;
use super::verify::{Callers, TheServer, identifier};
use crate::clock::{Clock as _, SystemClock};
use crate::reloaded::{Source, read_whole};
use crate::role::{Holder, Identifier, Role};

/// Largest file, in bytes: some hundred certificates.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What HTTP/2 calls itself while connections are made.
const ALPN_HTTP2: &[u8] = b"h2";

/// Where an identity is kept, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of the authorities whose certificates are believed.
    pub authority: PathBuf,
}

/// What is in the files. Has no `Debug`: one of them is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

/// An identity, ready to be used.
pub(crate) struct Material {
    pub(super) identifier: Identifier,
    pub(super) server: Arc<ServerConfig>,
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
}

impl Source for TlsFiles {
    type Content = Content;
    type Meaning = Material;
    type Error = TlsError;
    const WHAT: &'static str = "certificate";

    fn read(&self) -> Result<Content, TlsError> {
        Ok(Content { certificate: read(&self.certificate)?, key: read(&self.key)?, authority: read(&self.authority)? })
    }

    fn understand(&self, content: &Content) -> Result<Material, TlsError> {
        Material::new(self, content)
    }
}

impl Material {
    fn new(files: &TlsFiles, content: &Content) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certified = Arc::new(certified(files, content, &provider)?);
        let identifier = identifier(&certified.cert[0])
            .map_err(|source| TlsError::Nameless { path: files.certificate.clone(), source })?;
        let unusable =
            |source| TlsError::Unusable { certificate: files.certificate.clone(), key: files.key.clone(), source };
        let no_authority = |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Authority {
            path: files.authority.clone(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authority, &content.authority)? {
            roots.add(certificate).map_err(|error| no_authority(Box::new(error)))?;
        }
        let roots = Arc::new(roots);
        let callers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let callers = callers.map_err(|error| no_authority(Box::new(error)))?;
        let callers = Callers { inner: callers, trust_domain: identifier.trust_domain.clone() };
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::new(callers))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
        server.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        // Every connection proves anew who made it: a session that goes on would outlive its certificate.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { identifier, server: Arc::new(server), provider, certified, roots })
    }

    /// Whether whoever believes the same authorities believes this certificate now.
    pub(super) fn vouched(&self) -> Result<(), rustls::Error> {
        let now = SystemClock.now();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or(0)));
        let [own, intermediates @ ..] = &*self.certified.cert else { unreachable!("a chain has at least one") };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let own = ParsedCertificate::try_from(own)?;
        verify_server_cert_signed_by_trust_anchor(&own, &self.roots, intermediates, now, algorithms)
    }

    /// How to call a server that has to prove that it is `role` of this installation.
    pub(super) fn client(&self, role: Role) -> Result<Arc<ClientConfig>, rustls::Error> {
        let server = TheServer {
            roots: self.roots.clone(),
            algorithms: self.provider.signature_verification_algorithms,
            wanted: Identifier { trust_domain: self.identifier.trust_domain.clone(), holder: Holder::Service(role) },
        };
        let mut client = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(server))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified.clone())));
        client.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Arc::new(client))
    }
}

/// Whether a certificate is of a key, whosever they are.
///
/// # Errors
/// It is of another, or one of the files cannot be used.
pub fn fits(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let own = |path: &Path| path.to_owned();
    let files = TlsFiles { certificate: own(certificate), key: own(key), authority: own(certificate) };
    certified(&files, &files.read()?, &rustls::crypto::ring::default_provider()).map(|_| ())
}

fn certified(files: &TlsFiles, content: &Content, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.certificate, &content.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&content.key)
        .map_err(|_| TlsError::Malformed { path: files.key.clone(), wanted: "private key" })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_whole(path, FILE_BYTES_MAX).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// At least one.
fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::Malformed { path: path.to_owned(), wanted: "certificate" }),
    }
}
