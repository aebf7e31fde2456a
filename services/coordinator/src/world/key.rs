//! Where objects are stored.

use std::fmt;

use api::manifest::Kind;

/// Everything below it is an object.
pub const PREFIX: &str = "/objects/";

/// Stands for the namespace of objects that have none; no namespace can be called so.
const NO_NAMESPACE: &str = "-";

/// Kind, namespace and name. Ordered by them, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for kinds without one.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of an object; the namespace is dropped for kinds that have none.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace } else { "" };
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The text the store knows it by.
    #[must_use]
    pub fn to_store(&self) -> String {
        let namespace = if self.namespace.is_empty() { NO_NAMESPACE } else { &self.namespace };
        format!("{PREFIX}{}/{namespace}/{}", self.kind.plural(), self.name)
    }

    /// Reads a store key back; none where it is no object of a known kind.
    #[must_use]
    pub fn from_store(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.splitn(3, '/');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let kind = Kind::from_text(kind)?;
        Some(Self::new(kind, if namespace == NO_NAMESPACE { "" } else { namespace }, name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.name())?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}
