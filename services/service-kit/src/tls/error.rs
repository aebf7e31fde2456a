//! What can be wrong with the files of an identity.

use std::io;
use std::path::PathBuf;

use crate::role::InvalidIdentifier;

/// An identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the TLS file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("the TLS file {} holds no {wanted} in PEM form", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The certificate is of another key, or cannot be used.
    #[error("the certificate {} cannot be used with the key {}", certificate.display(), key.display())]
    Unusable {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authority's certificate cannot be used.
    #[error("the certificate authority {} cannot be used", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate is of another authority than those that are believed, or its time is over or to come.
    #[error("the authority {} does not vouch for the certificate {}", authority.display(), certificate.display())]
    Unvouched {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the authority.
        authority: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The certificate does not say who its holder is.
    #[error(
        "the certificate {} does not say whose it is: it needs exactly one URI spiffe://DOMAIN/SERVICE or \
         spiffe://DOMAIN/user/NAME among its alternative names, as `setkeeper certs` makes them", path.display()
    )]
    Nameless {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        source: NameError,
    },
    /// The certificate is of another service.
    #[error("{service} cannot serve with the certificate of {holder}: give it its own with --tls-cert and --tls-key")]
    OtherService {
        /// The service.
        service: &'static str,
        /// Who the certificate says its holder is.
        holder: String,
    },
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It cannot be read.
    #[error("the certificate is malformed")]
    Malformed,
    /// None, or more than one.
    #[error("it has {count} spiffe URIs")]
    Count {
        /// How many.
        count: usize,
    },
    /// One that is not ours.
    #[error(transparent)]
    Invalid(#[from] InvalidIdentifier),
}
