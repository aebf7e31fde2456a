//! An assignment in our own words: the pod, and all it refers to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fmt, str};

use api::proto::coordinator::v1 as wire;
use serde_json::Value;

use crate::spec::{InvalidPod, Pod};

/// What a ConfigMap or Secret holds, by key.
pub type Keys = BTreeMap<String, Vec<u8>>;

/// A pod to run, with all it refers to.
#[derive(Clone, PartialEq, Default)]
pub struct Assigned {
    /// The pod.
    pub pod: Pod,
    /// Volumes of its claims, by volume name.
    pub claims: BTreeMap<String, ClaimVolume>,
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Keys>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Keys>,
    /// What cannot be resolved now, in words.
    pub missing: Vec<String>,
}

/// A bound claim's volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimVolume {
    /// Claim name.
    pub claim: String,
    /// Directory on the machine.
    pub path: PathBuf,
    /// hostPath type; may be empty.
    pub host_path_type: String,
    /// Whether it must not be written.
    pub read_only: bool,
}

impl fmt::Debug for Assigned {
    /// Names only: what Secrets hold is never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = &self.pod.metadata;
        f.debug_struct("Assigned")
            .field("namespace", &meta.namespace)
            .field("name", &meta.name)
            .field("uid", &meta.uid)
            .field("claims", &self.claims)
            .field("config_maps", &self.config_maps.keys())
            .field("secrets", &self.secrets.keys())
            .field("missing", &self.missing)
            .finish()
    }
}

/// Why an assignment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAssignment {
    /// The pod.
    #[error(transparent)]
    Pod(#[from] InvalidPod),
    /// Something it refers to.
    #[error("cannot read {kind} {name:?}: {why}")]
    Reference {
        /// ConfigMap or Secret.
        kind: &'static str,
        /// Which.
        name: String,
        /// What is wrong; never what it holds.
        why: &'static str,
    },
}

impl TryFrom<&wire::Assignment> for Assigned {
    type Error = InvalidAssignment;

    fn try_from(message: &wire::Assignment) -> Result<Self, InvalidAssignment> {
        let mut pod = Pod::from_json(&message.pod)?;
        // Of what is stored as status only readiness gates matter: our own reports come back here and are no news.
        let gates = &pod.spec.readiness_gates;
        pod.status.conditions.retain(|condition| gates.iter().any(|gate| gate.condition_type == condition.r#type));
        let claims = message.claims.iter().map(|(volume, claim)| {
            let claim = ClaimVolume {
                claim: claim.claim.clone(),
                path: PathBuf::from(&claim.path),
                host_path_type: claim.host_path_type.clone(),
                read_only: claim.read_only,
            };
            (volume.clone(), claim)
        });
        let claims = claims.collect();
        let read = |kind: &'static str, name: &String, json: &[u8]| {
            let keys = keys(json, kind == "Secret");
            let keys = keys.map_err(|why| InvalidAssignment::Reference { kind, name: name.clone(), why })?;
            Ok::<_, InvalidAssignment>((name.clone(), keys))
        };
        let config_maps = message.config_maps.iter().map(|(name, json)| read("ConfigMap", name, json));
        let secrets = message.secrets.iter().map(|(name, json)| read("Secret", name, json));
        Ok(Self {
            pod,
            claims,
            config_maps: config_maps.collect::<Result<_, _>>()?,
            secrets: secrets.collect::<Result<_, _>>()?,
            missing: message.missing.clone(),
        })
    }
}

fn keys(json: &[u8], secret: bool) -> Result<Keys, &'static str> {
    let object: Value = serde_json::from_slice(json).map_err(|_| "it is no JSON")?;
    let mut keys = Keys::new();
    let mut take = |field: &str, encoded: bool| -> Result<(), &'static str> {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let text = value.as_str().ok_or("a value is no text")?;
            let bytes = if encoded { base64(text).ok_or("a value is no base64")? } else { text.as_bytes().to_vec() };
            keys.insert(key.clone(), bytes);
        }
        Ok(())
    };
    take("data", secret)?;
    take("binaryData", true)?;
    take("stringData", false)?;
    Ok(keys)
}

/// Decodes standard base64 (RFC 4648 section 4); white space is skipped.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count, mut padding) = (0u32, 0u32, 0u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(value);
        count += 1;
        if count.is_multiple_of(4) {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    match (count % 4, padding) {
        (0, 0) => {}
        (2, 0 | 2) => bytes.push((bits >> 4).to_be_bytes()[3]),
        (3, 0 | 1) => bytes.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
        _ => return None,
    }
    Some(bytes)
}

/// The value as text for an environment variable.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_written() {
        for (encoded, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmFy", "foobar")] {
            assert_eq!(base64(encoded).as_deref(), Some(plain.as_bytes()), "{encoded}");
        }
        for bad in ["Z", "Zg=a", "Z===", "Z!"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_are_decoded_and_never_shown() {
        let message = wire::Assignment {
            pod: br#"{"metadata":{"name":"a"}}"#.to_vec().into(),
            secrets: [("s".to_owned(), br#"{"data":{"k":"cGFzcw=="}}"#.to_vec().into())].into(),
            ..Default::default()
        };
        let assigned = Assigned::try_from(&message).unwrap();
        assert_eq!(assigned.secrets["s"]["k"], b"pass");
        assert!(!format!("{assigned:?}").contains("pass"));
    }
}
