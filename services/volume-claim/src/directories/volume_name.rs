//! The only names that become part of a path.

use std::fmt;

use super::DirectoryError;

/// What comes before the claim's uid.
const PREFIX: &str = "pvc-";

/// Lengths of the groups of a uid, which hyphens separate.
const UID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// Name of a provisioned volume: `pvc-` and the uid of the claim it was made for, in lower-case hexadecimal groups of
/// 8-4-4-4-12. No other text can be made into one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(String);

impl VolumeName {
    /// Checks a name and that it belongs to the claim.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn parse(volume: &str, claim_uid: &str) -> Result<Self, DirectoryError> {
        let uid = volume.strip_prefix(PREFIX).filter(|uid| is_uid(uid));
        let uid = uid.ok_or_else(|| DirectoryError::InvalidVolume { volume: volume.to_owned() })?;
        if uid == claim_uid {
            Ok(Self(volume.to_owned()))
        } else {
            Err(DirectoryError::InvalidClaim { volume: volume.to_owned(), claim_uid: claim_uid.to_owned() })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim it was made for.
    #[must_use]
    pub fn claim_uid(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or_default()
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_uid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    let hexadecimal = |group: &&str| group.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    groups.iter().map(|group| group.len()).eq(UID_GROUPS) && groups.iter().all(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0189b2f4-7c1e-4d3a-9f00-0123456789ab";

    #[test]
    fn only_generated_names_are_names() {
        assert_eq!(VolumeName::parse(&format!("pvc-{UID}"), UID).unwrap().claim_uid(), UID);
        for bad in [
            "",
            "pvc-",
            "pvc-..",
            "../pvc-x",
            "pvc-0189b2f4",
            "pvc-0189B2F4-7c1e-4d3a-9f00-0123456789ab",
            "pvc-0189b2f4-7c1e-4d3a-9f00-0123456789a/",
            "pvc-0189b2f4-7c1e-4d3a-9f00-0123456789ab/..",
            "pvc-0189b2f4-7c1e-4d3a-9f00-0123456789ab\0",
            "0189b2f4-7c1e-4d3a-9f00-0123456789ab",
            ".trash",
        ] {
            assert!(matches!(VolumeName::parse(bad, UID), Err(DirectoryError::InvalidVolume { .. })), "{bad:?}");
        }
        let other = VolumeName::parse(&format!("pvc-{UID}"), "other");
        assert!(matches!(other, Err(DirectoryError::InvalidClaim { .. })));
    }
}
