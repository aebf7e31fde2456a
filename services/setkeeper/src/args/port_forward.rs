//! `port-forward`.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use clap::Args;

/// `port-forward`.
#[derive(Debug, Args)]
pub(crate) struct PortForwardArgs {
    /// Pod, pod/NAME, sts/NAME (its lowest ready ordinal) or svc/NAME (a ready pod behind it)
    #[arg(value_name = "POD|KIND/NAME")]
    pub(crate) target: String,
    /// Port of the pod, by number or by name; LOCAL is the port here, and none before the colon takes any that is free
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub(crate) ports: Vec<PortPair>,
    /// Where to listen, such as 127.0.0.1, ::1 or 0.0.0.0; several with commas
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "127.0.0.1", value_parser = parse_address)]
    pub(crate) address: Vec<IpAddr>,
}

/// The port here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalPort {
    /// As asked for at the other side.
    Same,
    /// Any that is free.
    Any,
    /// This one.
    Number(u16),
}

/// `[LOCAL:]REMOTE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortPair {
    /// The port here.
    pub(crate) local: LocalPort,
    /// Number or name of the port of the pod, or of the Service.
    pub(crate) remote: String,
}

impl FromStr for PortPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, remote) = match text.split_once(':') {
            None => (LocalPort::Same, text),
            Some(("" | "0", remote)) => (LocalPort::Any, remote),
            Some((local, remote)) => {
                let number = local.parse().map_err(|_| format!("{local:?} is no local port: write 1 to 65535"))?;
                (LocalPort::Number(number), remote)
            }
        };
        let is_number = remote.bytes().all(|byte| byte.is_ascii_digit());
        if remote.is_empty() || remote.contains(':') || (is_number && !remote.parse().is_ok_and(|port: u16| port > 0)) {
            return Err(format!("{remote:?} is no port: write 1 to 65535, or the name of a port"));
        }
        Ok(Self { local, remote: remote.to_owned() })
    }
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| format!("{text:?} is no address: write 127.0.0.1, ::1, 0.0.0.0 or localhost")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_kubectl_reads_them() {
        for (text, local, remote) in [
            ("8080", LocalPort::Same, "8080"),
            ("http", LocalPort::Same, "http"),
            ("9000:8080", LocalPort::Number(9000), "8080"),
            ("9000:http", LocalPort::Number(9000), "http"),
            (":8080", LocalPort::Any, "8080"),
            ("0:8080", LocalPort::Any, "8080"),
        ] {
            assert_eq!(text.parse(), Ok(PortPair { local, remote: remote.to_owned() }), "{text}");
        }
        for wrong in ["", ":", "8080:", "0", "65536", "a:8080", "70000:80", "1:2:3"] {
            assert!(wrong.parse::<PortPair>().is_err(), "{wrong}");
        }
    }
}
