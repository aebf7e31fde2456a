//! A certificate authority, and what it can get wrong.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use service_kit::{Identity, TlsFiles};

/// An authority whose files are in a directory.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.crt"), issuer.pem()).expect("a file");
        Self { issuer, directory }
    }

    /// Files of a certificate with these URIs among its names.
    pub(crate) fn certify(&self, file: &str, uris: &[&str]) -> TlsFiles {
        self.certify_until(file, uris, 2100)
    }

    /// The same, good until the first day of `year`.
    pub(crate) fn certify_until(&self, file: &str, uris: &[&str], year: i32) -> TlsFiles {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = self.files(file);
        std::fs::write(&files.certificate, certificate.pem()).expect("a file");
        std::fs::write(&files.key, key.serialize_pem()).expect("a file");
        files
    }

    pub(crate) fn identity(&self, uri: &str) -> Identity {
        Identity::load(self.certify("one", &[uri])).expect("an identity")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn files(&self, file: &str) -> TlsFiles {
        let path = |name: String| -> PathBuf { self.path().join(name) };
        TlsFiles {
            certificate: path(format!("{file}.crt")),
            key: path(format!("{file}.key")),
            authority: path("ca.crt".to_owned()),
        }
    }
}
