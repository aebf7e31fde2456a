//! Who calls whom: the services, and people.

use std::fmt;
use std::str::FromStr;

/// Scheme of the URIs that name the holders of certificates (SPIFFE, <https://spiffe.io>).
const SCHEME: &str = "spiffe://";

/// First part of the path of a person's name.
const USER_PREFIX: &str = "user/";

/// Longest name of a user and longest trust domain, in characters: as of a DNS subdomain.
const PART_LENGTH_MAX: usize = 253;

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The state, the public API, the reconcile passes.
    Coordinator,
    /// Order of creation and deletion.
    OrdinalScheduler,
    /// Claims and volumes.
    VolumeClaim,
    /// Revisions and replacement.
    UpdatePlanner,
    /// Names and DNS.
    IdentityDns,
    /// The pods of one machine.
    PodRuntime,
}

impl Role {
    /// Every service, in the order of their ports.
    pub const ALL: [Self; 6] = [
        Self::Coordinator,
        Self::OrdinalScheduler,
        Self::VolumeClaim,
        Self::UpdatePlanner,
        Self::IdentityDns,
        Self::PodRuntime,
    ];

    /// Its name, such as `ordinal-scheduler`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::OrdinalScheduler => "ordinal-scheduler",
            Self::VolumeClaim => "volume-claim",
            Self::UpdatePlanner => "update-planner",
            Self::IdentityDns => "identity-dns",
            Self::PodRuntime => "pod-runtime",
        }
    }
}

/// A service or a person, as a certificate names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A service.
    Service(Role),
    /// A person, or a program that is no service.
    User(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(role) => formatter.write_str(role.name()),
            Self::User(name) => write!(formatter, "{USER_PREFIX}{name}"),
        }
    }
}

/// The name in a certificate: `spiffe://<trust domain>/<service>` or `spiffe://<trust domain>/user/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// The installation. Names of different ones have nothing to do with each other.
    pub trust_domain: String,
    /// Who within it.
    pub holder: Holder,
}

impl fmt::Display for Identifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}/{}", self.trust_domain, self.holder)
    }
}

/// A text that is no [`Identifier`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names nobody: it must be spiffe://DOMAIN/SERVICE or spiffe://DOMAIN/user/NAME, of lowercase letters, \
     digits, '.', '-' and '_'"
)]
pub struct InvalidIdentifier {
    /// The text.
    pub text: String,
}

impl FromStr for Identifier {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidIdentifier { text: text.to_owned() };
        let (trust_domain, path) =
            text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(invalid)?;
        let holder = match path.strip_prefix(USER_PREFIX) {
            Some(name) if is_part(name) => Some(Holder::User(name.to_owned())),
            Some(_) => None,
            None => Role::ALL.into_iter().find(|role| role.name() == path).map(Holder::Service),
        };
        match holder {
            Some(holder) if is_part(trust_domain) => Ok(Self { trust_domain: trust_domain.to_owned(), holder }),
            _ => Err(invalid()),
        }
    }
}

/// Whether a text may be the name of a user, or a trust domain.
pub(crate) fn is_part(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    // Names become parts of paths: none may be `..`.
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let framed = ends(text.bytes().next()) && ends(text.bytes().last());
    framed && text.len() <= PART_LENGTH_MAX && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_as_they_are_written() {
        for text in ["spiffe://setkeeper/coordinator", "spiffe://a.b-c/pod-runtime", "spiffe://setkeeper/user/ann.b_c"]
        {
            assert_eq!(text.parse::<Identifier>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in [
            "",
            "coordinator",
            "https://setkeeper/coordinator",
            "spiffe:///coordinator",
            "spiffe://setkeeper",
            "spiffe://setkeeper/",
            "spiffe://setkeeper/Coordinator",
            "spiffe://setkeeper/coordinator/",
            "spiffe://setkeeper/user",
            "spiffe://setkeeper/user/",
            "spiffe://setkeeper/user/a/b",
            "spiffe://setkeeper/user/a b",
            "spiffe://setkeeper/user/..",
            "spiffe://setkeeper/user/.a",
            "spiffe://set keeper/user/a",
        ] {
            assert!(text.parse::<Identifier>().is_err(), "{text}");
        }
    }
}
