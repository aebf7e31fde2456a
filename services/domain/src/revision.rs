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
    const SET_LENGTH_MAX: usize = 223;
    let set = &set[..set.len().min(SET_LENGTH_MAX)];
    RevisionName(format!("{set}-{}", revision_hash(data, collision_count)).into())
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
}
