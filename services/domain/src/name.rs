//! Names and numbers that must not be confused with one another.

use serde::{Deserialize, Serialize};

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The longest DNS label, in bytes (RFC 1035 section 2.3.4). Pod names, hostnames and label values are bounded by it.
pub const DNS_LABEL_LENGTH_MAX: usize = 63;

/// The longest DNS subdomain that Kubernetes accepts as an object name, in bytes.
const DNS_SUBDOMAIN_LENGTH_MAX: usize = 253;

/// Position of a pod in its set: `0 ..= 2^31 - 1`. The pod of ordinal 3 of set `web` is `web-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ordinal(pub u32);

impl Ordinal {
    /// The highest ordinal that a pod name can carry (Kubernetes parses it as a signed 32-bit number).
    pub const MAX: Self = Self(i32::MAX as u32);
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a revision record, `<set>-<hash>`. Pods carry it whole in their label `controller-revision-hash`. Cheap to clone:
/// thousands of pods have the same.
#[derive(Debug, Clone, Eq, PartialOrd, Ord, Default)]
pub struct RevisionName(pub Arc<str>);

impl PartialEq for RevisionName {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for RevisionName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for RevisionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of one incarnation of an object. Never used again after the object is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of a desired state; rises by one when, and only when, the spec changes. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation(pub i64);

/// One incarnation of a StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SetRef {
    /// Namespace of the set and of everything it owns.
    pub namespace: String,
    /// Name of the set.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
}

/// One incarnation of any object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind as manifests write it, such as `PersistentVolumeClaim`.
    pub kind: String,
    /// Namespace; empty for kinds that have none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Incarnation.
    pub uid: Uid,
}

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing, or only white space.
    #[error("must not be empty")]
    Empty,
    /// More bytes than the limit.
    #[error("must be no more than {max} characters")]
    TooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// A character, or a place for it, that is not allowed.
    #[error(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
         with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )]
    NotALabel,
}

/// Checks an RFC 1123 label: 1 to 63 of `[a-z0-9-]`, a letter or digit at both ends.
///
/// # Errors
/// What is wrong, in the words of the Kubernetes API.
pub fn is_dns_label(text: &str) -> Result<(), InvalidName> {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(InvalidName::Empty);
    };
    if bytes.len() > DNS_LABEL_LENGTH_MAX {
        return Err(InvalidName::TooLong { max: DNS_LABEL_LENGTH_MAX });
    }
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if alphanumeric(first) && alphanumeric(last) && bytes.iter().all(|b| alphanumeric(b) || *b == b'-') {
        Ok(())
    } else {
        Err(InvalidName::NotALabel)
    }
}

/// Checks an RFC 1123 subdomain: labels joined by dots, at most 253 bytes.
///
/// # Errors
/// What is wrong, in the words of the Kubernetes API.
pub fn is_dns_subdomain(text: &str) -> Result<(), InvalidName> {
    if text.len() > DNS_SUBDOMAIN_LENGTH_MAX {
        return Err(InvalidName::TooLong { max: DNS_SUBDOMAIN_LENGTH_MAX });
    }
    text.split('.').try_for_each(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lower_case_and_bounded() {
        for good in ["a", "web", "0web", "a-b", &"x".repeat(63)] {
            assert_eq!(is_dns_label(good), Ok(()), "{good}");
        }
        assert_eq!(is_dns_label(""), Err(InvalidName::Empty));
        assert_eq!(is_dns_label(&"x".repeat(64)), Err(InvalidName::TooLong { max: 63 }));
        for bad in ["-a", "a-", "A", "a.b", "a_b", "ä"] {
            assert_eq!(is_dns_label(bad), Err(InvalidName::NotALabel), "{bad}");
        }
    }
}
