//! Whether the other side is who it has to be.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::error::NameError;
use crate::role::Identifier;

/// The other side holds a good certificate, but the wrong one.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("the server is {found}, not {wanted}")]
    Server { found: Identifier, wanted: Identifier },
    #[error("the caller is {found}, of another trust domain than {wanted:?}")]
    Caller { found: Identifier, wanted: String },
    #[error("the certificate does not say whose it is: {0}")]
    Nameless(NameError),
}

/// Whom a certificate names.
pub(super) fn identifier(certificate: &CertificateDer<'_>) -> Result<Identifier, NameError> {
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| NameError::Malformed)?;
    let names: Vec<&str> = certificate.valid_uri_names().filter(|name| name.starts_with("spiffe://")).collect();
    match names[..] {
        [name] => Ok(name.parse()?),
        _ => Err(NameError::Count { count: names.len() }),
    }
}

/// Believes one server only, wherever it is: services move between addresses, and a certificate that is good for one
/// of them must not open the door to another. So the name in the certificate counts, not the one in the address.
#[derive(Debug)]
pub(super) struct TheServer {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) wanted: Identifier,
}

impl ServerCertVerifier for TheServer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let found = identifier(certificate).map_err(|error| refuse(Stranger::Nameless(error)))?;
        if found == self.wanted {
            return Ok(ServerCertVerified::assertion());
        }
        Err(refuse(Stranger::Server { found, wanted: self.wanted.clone() }))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Believes every caller of this installation. What each may do is asked later, call by call.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) trust_domain: String,
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        let found = identifier(certificate).map_err(|error| refuse(Stranger::Nameless(error)))?;
        if found.trust_domain == self.trust_domain {
            return Ok(verified);
        }
        Err(refuse(Stranger::Caller { found, wanted: self.trust_domain.clone() }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn refuse(stranger: Stranger) -> Error {
    Error::Other(OtherError(Arc::new(stranger)))
}
