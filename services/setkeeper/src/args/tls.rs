//! Certificates, for services and people alike.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use service_kit::{Identity, TlsFiles};

/// Files of an identity. All of them, or none.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct TlsArgs {
    /// Certificate that shows who calls or serves, in PEM form; read again when it changes [default: no TLS]
    #[arg(long, global = true, env = "SETKEEPER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, global = true, env = "SETKEEPER_TLS_KEY", value_name = "FILE", hide_short_help = true)]
    tls_key: Option<PathBuf>,
    /// Certificates of the authorities that vouch for the other side
    #[arg(long, global = true, env = "SETKEEPER_TLS_CA", value_name = "FILE", hide_short_help = true)]
    tls_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the identity; none where none is given.
    ///
    /// # Errors
    /// A file is missing, holds something else, or they do not fit together.
    pub(crate) fn identity(&self) -> anyhow::Result<Option<Identity>> {
        let files = [("--tls-cert", &self.tls_cert), ("--tls-key", &self.tls_key), ("--tls-ca", &self.tls_ca)];
        match files.map(|(_, path)| path.as_deref()) {
            [None, None, None] => Ok(None),
            [Some(certificate), Some(key), Some(authority)] => {
                let [certificate, key, authority] = [certificate, key, authority].map(Path::to_owned);
                Ok(Some(Identity::load(TlsFiles { certificate, key, authority })?))
            }
            _ => {
                let missing: Vec<_> =
                    files.iter().filter(|(_, path)| path.is_none()).map(|(option, _)| *option).collect();
                bail!("TLS takes --tls-cert, --tls-key and --tls-ca together: {} is missing", missing.join(" and "))
            }
        }
    }
}
