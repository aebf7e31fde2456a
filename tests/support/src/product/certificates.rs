//! Who is who in a secured layout.

use std::path::PathBuf;

use service_kit::TlsFiles;

use super::Product;

impl Product {
    /// Makes or renews certificates of a secured layout.
    pub async fn certify(&self, arguments: &[&str]) {
        let directory = self.certificates().display().to_string();
        self.ok(&[&["certs", "--out", &directory], arguments].concat()).await;
    }

    /// Directory of the certificates of a secured layout.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.data.path().join("certs")
    }

    /// The policy of a secured layout.
    #[must_use]
    pub fn policy_path(&self) -> PathBuf {
        self.data.path().join("policy.yaml")
    }

    /// Arguments that make a command that of a holder of a certificate, such as `users/ann`.
    #[must_use]
    pub fn as_holder(&self, holder: &str) -> Vec<String> {
        let server = match self.proxy {
            Some(_) => vec!["--server".to_owned(), self.target(holder, "coordinator")],
            None => Vec::new(),
        };
        [self.certificate_arguments(holder), server].concat()
    }

    pub(super) fn certificate_arguments(&self, holder: &str) -> Vec<String> {
        let files = self.tls_files(holder);
        let file = |option: &str, path: PathBuf| [option.to_owned(), path.display().to_string()];
        [file("--tls-cert", files.certificate), file("--tls-key", files.key), file("--tls-ca", files.authority)]
            .concat()
    }

    pub(super) fn tls_files(&self, holder: &str) -> TlsFiles {
        let file = |name: &str| self.certificates().join(holder).join(name);
        TlsFiles { certificate: file("tls.crt"), key: file("tls.key"), authority: file("ca.crt") }
    }
}
