//! Where a server is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const UNIX_PREFIX: &str = "unix:";

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `host:port`; several of them, with commas between, are replicas of one service.
    Tcp(String),
    /// A socket in the file tree, written `unix:/path`.
    Unix(PathBuf),
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: write host:port, such as 127.0.0.1:7700, or unix:/path")]
pub struct InvalidTarget {
    /// The text.
    pub text: String,
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTarget { text: text.to_owned() };
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            // `unix:///path` is what gRPC names say.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(invalid()) } else { Ok(Self::Unix(PathBuf::from(path))) };
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let address = address.strip_suffix('/').unwrap_or(address);
        let known_characters = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:%".contains(&byte);
        for one in address.split(',') {
            let (host, port) = one.rsplit_once(':').ok_or_else(invalid)?;
            if host.is_empty() || !host.bytes().all(known_characters) || port.parse::<u16>().is_err() {
                return Err(invalid());
            }
        }
        Ok(Self::Tcp(address.to_owned()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => formatter.write_str(address),
            Self::Unix(path) => write!(formatter, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl From<&Path> for Target {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_as_they_are_written() {
        for text in
            ["127.0.0.1:7700", "[::1]:7700", "coordinator.setkeeper:7700", "a:1,[::1]:2", "unix:/run/setkeeper.sock"]
        {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), text);
        }
        assert_eq!("http://h:1/".parse(), Ok(Target::Tcp("h:1".to_owned())));
        assert_eq!("unix:///a".parse(), Ok(Target::Unix("/a".into())));
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in ["", "localhost", "localhost:", ":7700", "a b:1", "h:70000", "h:1,", "h:1,i", "unix:"] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains("127.0.0.1:7700"), "{error}");
        }
    }
}
