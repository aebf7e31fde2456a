//! `certs`: certificates for those without a mesh or a certificate manager.

use std::path::PathBuf;

use clap::Args;

use super::Service;

/// Certificates for services and users.
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    /// Directory of the authority and of what it certifies; an authority that is there is used again
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Make or renew the certificate of this service; may be given several times [default: every service]
    #[arg(long = "service", value_name = "SERVICE", value_enum)]
    pub(crate) services: Vec<Service>,
    /// Make or renew the certificate of this user; may be given several times
    #[arg(long = "user", value_name = "NAME")]
    pub(crate) users: Vec<String>,
    /// Name or address of the machines of the services, for clients that check it, such as grpcurl; may be given
    /// several times
    #[arg(long = "host", value_name = "HOST", default_values = ["localhost", "127.0.0.1"])]
    pub(crate) hosts: Vec<String>,
    /// Days until the certificates end
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) days: u16,
    /// Name of the installation: certificates of different ones have nothing to do with each other
    #[arg(long, value_name = "DOMAIN", default_value = "setkeeper")]
    pub(crate) trust_domain: String,
}
