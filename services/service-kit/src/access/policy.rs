//! What users may do, from a file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::manifest::Kind;
use serde::Deserialize;

use super::rules::Verb;
use crate::reloaded::{Reloaded, Source, read_whole};
use crate::role::is_part;

/// Largest policy, in bytes: some thousand users.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Stands for every namespace, and for objects that are in none; or for every verb; or for every kind.
const EVERY: &str = "*";

/// Digits of a SHA-256 in hexadecimal.
const HASH_DIGITS: usize = 64;

/// The policy in a file, as it is now. Clones share everything.
#[derive(Debug, Clone)]
pub struct Policy(Arc<Reloaded<PolicyFile>>);

/// A policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("the policy {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no policy.
    #[error("the policy {} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// A field of it says something that makes no sense.
    #[error("the policy {}: {field}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
}

impl Policy {
    /// Reads a policy. It is read again when the file changes.
    ///
    /// # Errors
    /// The file cannot be read, or is no policy.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        Ok(Self(Arc::new(Reloaded::load(PolicyFile(path.to_owned()))?)))
    }

    pub(super) fn now(&self) -> Arc<Users> {
        self.0.now()
    }

    /// Looks at the file with the next call, however short the last look is ago.
    #[doc(hidden)]
    pub fn forget_last_look(&self) {
        self.0.forget_last_look();
    }
}

/// The users of a policy.
#[derive(Debug, Default)]
pub(crate) struct Users {
    grants: BTreeMap<String, Vec<Grant>>,
    by_token: BTreeMap<String, String>,
}

impl Users {
    pub(super) fn grants_of(&self, user: &str) -> Vec<Grant> {
        self.grants.get(user).cloned().unwrap_or_default()
    }

    /// Looked up by hash: how long it takes says nothing about the token.
    pub(super) fn user_with_token(&self, token: &[u8]) -> Option<String> {
        let hash = ring::digest::digest(&ring::digest::SHA256, token);
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.by_token.get(&hex).cloned()
    }
}

/// Some verbs in some namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    namespaces: Vec<String>,
    verbs: Vec<Wish>,
    /// None: every kind but Secret.
    kinds: Option<Vec<String>>,
}

/// A verb, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Wish {
    One(Verb),
    Text(String),
}

impl Grant {
    pub(super) fn has(&self, verb: Verb) -> bool {
        self.verbs.iter().any(|wish| match wish {
            Wish::One(one) => *one == verb,
            Wish::Text(text) => text == EVERY,
        })
    }

    /// An empty namespace means all of them, or an object that is in none.
    pub(super) fn covers(&self, verb: Verb, kind: Option<Kind>, namespace: &str) -> bool {
        let here = |granted: &String| granted == EVERY || (!namespace.is_empty() && granted == namespace);
        self.has(verb) && self.namespaces.iter().any(here) && kind.is_none_or(|kind| self.covers_kind(kind))
    }

    fn covers_kind(&self, kind: Kind) -> bool {
        match &self.kinds {
            None => kind != Kind::Secret,
            Some(kinds) => kinds.iter().any(|text| text == EVERY || Kind::from_text(text) == Some(kind)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    users: Vec<User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct User {
    name: String,
    token_sha256: Option<String>,
    grants: Vec<Grant>,
}

/// Where a policy is.
#[derive(Debug)]
pub(crate) struct PolicyFile(PathBuf);

impl Source for PolicyFile {
    type Content = Vec<u8>;
    type Meaning = Users;
    type Error = PolicyError;
    const WHAT: &'static str = "policy";

    fn read(&self) -> Result<Vec<u8>, PolicyError> {
        read_whole(&self.0, FILE_BYTES_MAX).map_err(|source| PolicyError::Read { path: self.0.clone(), source })
    }

    fn understand(&self, content: &Vec<u8>) -> Result<Users, PolicyError> {
        let path = || self.0.clone();
        let text = String::from_utf8_lossy(content);
        let document: Document = serde_saphyr::from_str(&text)
            .map_err(|source| PolicyError::Malformed { path: path(), source: Box::new(source) })?;
        let mut users = Users::default();
        for (place, user) in document.users.into_iter().enumerate() {
            let invalid = |field: String, why: String| PolicyError::Invalid {
                path: path(),
                field: format!("users[{place}].{field}"),
                why,
            };
            check(&user).map_err(|(field, why)| invalid(field, why))?;
            if let Some(hash) = user.token_sha256 {
                let other = users.by_token.insert(hash, user.name.clone());
                if let Some(other) = other {
                    let why = format!("that of {other:?} too: give each user a token of their own");
                    return Err(invalid("tokenSha256".to_owned(), why));
                }
            }
            if users.grants.insert(user.name.clone(), user.grants).is_some() {
                return Err(invalid("name".to_owned(), format!("{:?} is there twice: give each user once", user.name)));
            }
        }
        Ok(users)
    }
}

/// The first field that makes no sense, and why.
fn check(user: &User) -> Result<(), (String, String)> {
    if !is_part(&user.name) {
        return Err(("name".into(), format!("{:?} is none: use lowercase letters, digits, '.', '-', '_'", user.name)));
    }
    let hexadecimal = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if let Some(hash) = &user.token_sha256
        && !(hash.len() == HASH_DIGITS && hash.bytes().all(hexadecimal))
    {
        return Err(("tokenSha256".into(), "give what `printf %s TOKEN | sha256sum` prints: 64 digits".into()));
    }
    for (place, grant) in user.grants.iter().enumerate() {
        let field = |name: &str| format!("grants[{place}].{name}");
        if grant.namespaces.is_empty() || grant.verbs.is_empty() {
            return Err((field("namespaces and verbs"), "name at least one of each, or \"*\"".into()));
        }
        let unknown = |wish: &&Wish| matches!(wish, Wish::Text(text) if text != EVERY);
        if let Some(Wish::Text(verb)) = grant.verbs.iter().find(unknown) {
            return Err((field("verbs"), format!("{verb:?} is none: see deploy/README.md for all of them, or \"*\"")));
        }
        let known = |kind: &&String| kind.as_str() != EVERY && Kind::from_text(kind).is_none();
        if let Some(kind) = grant.kinds.iter().flatten().find(known) {
            return Err((field("kinds"), format!("{kind:?} is none: write it as in a manifest, or \"*\"")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understand(text: &str) -> Result<Users, String> {
        let file = PolicyFile("policy.yaml".into());
        file.understand(&text.as_bytes().to_vec()).map_err(|error| crate::status::chain(&error))
    }

    const ANN: &str = r#"
users:
- name: ann
  tokenSha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  grants:
  - {namespaces: [shop], verbs: [get, list, port-forward]}
  - {namespaces: [shop], verbs: [apply], kinds: [Secret, sts]}
  - {namespaces: ["*"], verbs: [system]}
- name: root
  grants: [{namespaces: ["*"], verbs: ["*"], kinds: ["*"]}]
"#;

    #[test]
    fn grants_hold_for_their_verbs_namespaces_and_kinds_alone() {
        let users = understand(ANN).expect("a policy");
        let may = |user: &str, verb, kind, namespace: &str| {
            users.grants_of(user).iter().any(|grant| grant.covers(verb, Some(kind), namespace))
        };
        assert!(may("ann", Verb::Get, Kind::Pod, "shop") && may("ann", Verb::PortForward, Kind::Pod, "shop"));
        assert!(may("ann", Verb::Apply, Kind::Secret, "shop") && may("ann", Verb::Apply, Kind::StatefulSet, "shop"));
        for (verb, kind, namespace) in [
            (Verb::Get, Kind::Pod, "other"),
            (Verb::Get, Kind::Pod, ""),
            (Verb::List, Kind::Pod, ""),
            (Verb::Get, Kind::PersistentVolume, ""),
            (Verb::Get, Kind::Secret, "shop"),
            (Verb::Apply, Kind::ConfigMap, "shop"),
            (Verb::Delete, Kind::Pod, "shop"),
        ] {
            assert!(!may("ann", verb, kind, namespace), "{verb:?} {kind} {namespace:?}");
            assert!(may("root", verb, kind, namespace), "{verb:?} {kind} {namespace:?}");
            assert!(!may("nobody", verb, kind, namespace), "{verb:?} {kind} {namespace:?}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let users = understand(ANN).expect("a policy");
        assert_eq!(users.user_with_token(b"test").as_deref(), Some("ann"));
        assert_eq!(users.user_with_token(b"tess"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let good = "users: [{name: a, grants: [{namespaces: [a], verbs: [get]}]}]";
        understand(good).expect("a policy");
        for (from, to, said) in [
            ("users", "user", "user"),
            ("name: a,", "name: A,", "users[0].name"),
            ("name: a,", "name: a, admin: true,", "admin"),
            ("name: a,", "name: a, tokenSha256: abc,", "users[0].tokenSha256"),
            ("[get]", "[git]", "users[0].grants[0].verbs: \"git\""),
            ("[get]", "[]", "users[0].grants[0]"),
            ("[get]", "[get], kinds: [Sekret]", "users[0].grants[0].kinds: \"Sekret\""),
            ("}]}]", "}]}, {name: a, grants: []}]", "users[1].name: \"a\" is there twice"),
        ] {
            let error = understand(&good.replacen(from, to, 1)).expect_err(to);
            assert!(error.contains(said), "{to}: {error}");
        }
    }
}
