//! Revisions of a pod template: content, hash and name (StatefulSet rules, section 5.1).

use crate::{RevisionName, Timestamp};

/// A stored revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revision {
    /// `<set>-<hash>`.
    pub name: RevisionName,
    /// Rank: the newest has the highest. The first is 1.
    pub number: i64,
    /// Canonical bytes of `{"spec":{"template":{..,"$patch":"replace"}}}`: keys sorted, no spaces.
    pub data: String,
    /// When the record was made.
    pub created_at: Timestamp,
}

/// Hash of a revision: 32-bit FNV-1 over `data` followed by the collision count in decimal; the result in decimal
/// with its digits replaced so that it has no vowels.
#[must_use]
pub fn revision_hash(data: &str, collision_count: u32) -> String {
    const OFFSET: u32 = 2_166_136_261;
    const PRIME: u32 = 16_777_619;
    const ALPHABET: [char; 10] = ['4', '5', '6', '7', '8', '9', 'b', 'c', 'd', 'f'];
    let count = collision_count.to_string();
    let hash = data.bytes().chain(count.bytes()).fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(byte));
    hash.to_string().bytes().map(|digit| ALPHABET[usize::from(digit - b'0')]).collect()
}

/// Name of a revision: the set's name, cut to 223 bytes, and the hash.
#[must_use]
pub fn revision_name(set: &str, data: &str, collision_count: u32) -> RevisionName {
    RevisionName(format!("{}-{}", cut(set), revision_hash(data, collision_count)).into())
}

/// Whether a revision of this name can be one of the set: also where another set's name begins with its own, as `web-1`
/// does with `web`.
#[must_use]
pub fn is_revision_name_of(set: &str, name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(before, _)| before == cut(set))
}

fn cut(set: &str) -> &str {
    const SET_LENGTH_MAX: usize = 223;
    &set[..set.len().min(SET_LENGTH_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_match_the_published_vectors() {
        for (data, at_0, at_1) in [
            ("{}", "cccc864bc", "cccc864bb"),
            ("hello", "5f77b4d657", "5f77b4d656"),
            (r#"{"spec":{"template":{"$patch":"replace"}}}"#, "589f85db5b", "589f85db5c"),
        ] {
            assert_eq!(revision_hash(data, 0), at_0);
            assert_eq!(revision_hash(data, 1), at_1);
        }
    }

    #[test]
    fn a_name_tells_whose_revision_it_is() {
        let long = "a".repeat(230);
        for (set, other) in [("web", "web-1"), ("a-b", "a"), (&*long, "web")] {
            let name = revision_name(set, "{}", 0).to_string();
            assert!(is_revision_name_of(set, &name), "{name}");
            assert!(!is_revision_name_of(other, &name), "{name} is not of {other}");
        }
        assert!(!is_revision_name_of("web", "web"));
    }
}
