//! Domain names.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::{POINTER_MARK, POINTER_MAX};

/// Longest name on the wire, with its length octets and the root's (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// Longest label.
const LABEL_BYTES_MAX: usize = 63;

/// An absolute name in lower case, in its form on the wire without compression. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::new([0]))
    }

    /// Reads labels joined by dots; a final dot is optional. None where a label is empty or something is too long.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut bytes = Vec::with_capacity(text.len() + 2);
        for label in text.split('.').filter(|_| !text.is_empty()) {
            push_label(&mut bytes, label)?;
        }
        bytes.push(0);
        (bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// Takes the form on the wire, of any case. None where it is malformed or compressed.
    #[must_use]
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            match *bytes.get(at)? {
                0 => break,
                length if usize::from(length) <= LABEL_BYTES_MAX => at += 1 + usize::from(length),
                _ => return None,
            }
        }
        // Lengths are below the letters, so that lowering the case of all octets touches only letters.
        (at + 1 == bytes.len() && bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.to_ascii_lowercase().into()))
    }

    /// Reads a name that may be compressed, from a whole message. None where it is malformed. Every pointer has to
    /// lead backwards, so that reading ends.
    #[must_use]
    pub fn from_message(message: &[u8], at: usize) -> Option<Self> {
        let (mut at, mut limit) = (at, at);
        let mut bytes = Vec::with_capacity(64);
        loop {
            match *message.get(at)? {
                0 => break,
                length @ 1..=63 => {
                    bytes.extend_from_slice(message.get(at..=at + usize::from(length))?);
                    at += 1 + usize::from(length);
                }
                mark if mark & POINTER_MARK == POINTER_MARK => {
                    at = usize::from(super::u16_at(message, at)?) & POINTER_MAX;
                    if at >= limit {
                        return None;
                    }
                    limit = at;
                }
                _ => return None,
            }
            if bytes.len() >= NAME_BYTES_MAX {
                return None;
            }
        }
        bytes.push(0);
        Self::from_wire(&bytes)
    }

    /// `label` in front of this name. None where it is empty or too long, or the name would be.
    #[must_use]
    pub fn child(&self, label: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(1 + label.len() + self.0.len());
        push_label(&mut bytes, label)?;
        bytes.extend_from_slice(&self.0);
        (bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// The name without its first label; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let length = usize::from(*self.0.first()?);
        (length > 0).then(|| Self(self.0[1 + length..].into()))
    }

    /// The form on the wire.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `apex` or below it.
    #[must_use]
    pub fn within(&self, apex: &Self) -> bool {
        within(&self.0, &apex.0)
    }

    /// Labels, the first first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }
}

/// Whether `name` is `apex` or below it; both in lower case on the wire.
#[must_use]
pub(crate) fn within(name: &[u8], apex: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(apex.len()) else { return false };
    if &name[start..] != apex {
        return false;
    }
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(name[at]);
    }
    at == start
}

fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = usize::from(*wire.get(at)?);
        let label = wire.get(at + 1..at + 1 + length).filter(|label| !label.is_empty())?;
        at += 1 + length;
        Some(label)
    })
}

fn push_label(bytes: &mut Vec<u8>, label: &str) -> Option<()> {
    let length =
        u8::try_from(label.len()).ok().filter(|length| (1..=LABEL_BYTES_MAX).contains(&usize::from(*length)))?;
    bytes.push(length);
    bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    Some(())
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            write!(f, "{}.", label.escape_ascii())?;
        }
        if self.0.len() == 1 { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_lower_case() {
        let name = Name::from_text("Web-0.NGINX.default.").unwrap();
        assert_eq!(name.to_string(), "web-0.nginx.default.");
        assert_eq!(name.parent().unwrap().to_string(), "nginx.default.");
        assert_eq!(name.parent().unwrap().child("web-0"), Some(name.clone()));
        assert_eq!(Name::from_text(""), Some(Name::root()));
        assert_eq!(Name::root().parent(), None);
        assert_eq!(Name::from_text("a..b"), None);
        assert_eq!(name.child(&"x".repeat(64)), None);
        let long = Name::from_text(&vec!["x".repeat(49); 5].join(".")).unwrap();
        assert_eq!(long.wire().len(), 251);
        assert!(long.child("abc").is_some() && long.child("abcd").is_none());
    }

    #[test]
    fn a_suffix_counts_only_at_a_label() {
        let apex = Name::from_text("local").unwrap();
        assert!(Name::from_text("a.local").unwrap().within(&apex) && apex.within(&apex));
        assert!(!Name::from_text("alocal").unwrap().within(&apex));
        // The octets of `\5local` inside a longer label look like the apex, but are none.
        assert!(!Name::from_wire(b"\x07a\x05local\x00").unwrap().within(&apex));
        assert!(!Name::root().within(&apex));
    }

    #[test]
    fn pointers_lead_backwards_or_nowhere() {
        let message = b"\x01a\x00\x01b\xc0\x00\xc0\x07\xc0\x09\x02";
        assert_eq!(Name::from_message(message, 3).unwrap().to_string(), "b.a.");
        for (start, what) in [(7, "itself"), (9, "itself"), (11, "end of message")] {
            assert_eq!(Name::from_message(message, start), None, "{what}");
        }
    }
}
