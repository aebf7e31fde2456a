//! A stored object, and what every kind has in common.

use std::sync::OnceLock;

use api::manifest::Kind;
use api::question::{EncodedPart, EncodedPod};
use domain::volume::{Claim, Volume};
use domain::zone::PodFacts;
use domain::{Pod, Revision, Uid};
use serde_json::{Map, Value, json};

use super::Key;
use crate::pods::read::claim_names;
use crate::store::StoreRevision;
use crate::volumes::read as volumes;

/// One version of an object. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Where it is.
    pub key: Key,
    /// Its JSON, with `metadata.resourceVersion`.
    pub value: Value,
    /// Store revision that wrote this version; 0 where it is not stored yet.
    pub version: StoreRevision,
    head: Head,
    /// What planners are told of a pod, once one was told of it by itself.
    encoded: OnceLock<EncodedPod>,
    /// Names of the claims that a pod's volumes use, once somebody asked.
    claims: OnceLock<Box<[String]>>,
    /// What a claim says, once somebody asked.
    claim: OnceLock<Box<Claim>>,
    /// What a volume says, once somebody asked.
    volume: OnceLock<Box<Volume>>,
    /// What volume-claim is told of a claim or a volume, or of each use of a claim by a pod, once it was.
    parts: OnceLock<Box<[EncodedPart]>>,
    /// What identity-dns is told of a pod, once somebody asked.
    pod_facts: OnceLock<Option<Box<PodFacts>>>,
    /// What the update planner is told of a revision record, once it was.
    revision: OnceLock<Option<Box<Revision>>>,
}

/// What is asked of every object again and again, read off its JSON once.
#[derive(Debug, Clone, PartialEq)]
struct Head {
    uid: Uid,
    deleting: bool,
    /// Uids of all owners.
    owners: Vec<String>,
    /// Place among the owners of the one that controls this object.
    controller: Option<usize>,
}

impl Head {
    fn of(value: &Value) -> Self {
        let metadata = |field| value.get("metadata")?.get(field)?.as_str();
        let named = || owners(value).filter_map(|owner| Some((owner, owner.get("uid")?.as_str()?)));
        Self {
            uid: Uid(metadata("uid").unwrap_or_default().to_owned()),
            deleting: metadata("deletionTimestamp").is_some_and(|time| !time.is_empty()),
            owners: named().map(|(_, uid)| uid.to_owned()).collect(),
            controller: named().position(|(owner, _)| owner.get("controller") == Some(&Value::Bool(true))),
        }
    }
}

impl Object {
    /// A version as read from the store, or as it will be; fills in `metadata.resourceVersion`, which is not stored.
    #[must_use]
    pub fn new(key: Key, mut value: Value, version: StoreRevision) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(version.to_string()));
        }
        Self {
            head: Head::of(&value),
            key,
            value,
            version,
            encoded: OnceLock::new(),
            claims: OnceLock::new(),
            claim: OnceLock::new(),
            volume: OnceLock::new(),
            parts: OnceLock::new(),
            pod_facts: OnceLock::new(),
            revision: OnceLock::new(),
        }
    }

    /// Kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Text at a path of fields, such as `/spec/nodeName`; empty where there is none.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        debug_assert!(!path.contains('~'), "{path}: a path of plain fields");
        let mut fields = path.split('/').skip(1);
        fields.try_fold(&self.value, |value, field| value.get(field)).and_then(Value::as_str).unwrap_or_default()
    }

    /// `metadata.uid`.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.head.uid.clone()
    }

    /// Whether this is the same incarnation as `other`.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.head.uid == other.head.uid
    }

    /// Whether deletion has been requested.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.head.deleting
    }

    /// A field of `metadata`. Cheaper than a pointer, where it is asked of every pod of a set.
    #[must_use]
    pub fn metadata(&self, field: &str) -> Option<&Value> {
        self.value.get("metadata")?.get(field)
    }

    /// `metadata.labels`.
    #[must_use]
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        self.metadata("labels").and_then(Value::as_object)
    }

    /// One label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels()?.get(name)?.as_str()
    }

    /// One annotation.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata("annotations")?.get(name)?.as_str()
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.value
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Uids of all owners.
    pub fn owner_uids(&self) -> impl Iterator<Item = &str> {
        self.head.owners.iter().map(String::as_str)
    }

    /// Uid of the owner that controls this object.
    #[must_use]
    pub fn controller_uid(&self) -> Option<&str> {
        self.head.owners.get(self.head.controller?).map(String::as_str)
    }

    /// The claims that this pod's volumes use, whether they exist or not.
    pub(crate) fn claims_used(&self) -> impl Iterator<Item = Key> {
        let names = self.claims.get_or_init(|| claim_names(&self.value).map(str::to_owned).collect());
        names.iter().map(|claim| Key::new(Kind::PersistentVolumeClaim, &self.key.namespace, claim))
    }

    /// This claim, as the volume planner sees it.
    pub(crate) fn claim(&self) -> &Claim {
        self.claim.get_or_init(|| Box::new(volumes::claim(self)))
    }

    /// This volume, as the volume planner sees it.
    pub(crate) fn volume(&self) -> &Volume {
        self.volume.get_or_init(|| Box::new(volumes::volume(self)))
    }

    /// The volume that this claim names, or the claim that this volume names, whether that exists or not.
    pub(crate) fn bound_to(&self) -> Option<Key> {
        if self.kind() == Kind::PersistentVolume {
            let claim = self.volume().claim_ref.as_ref()?;
            return Some(Key::new(Kind::PersistentVolumeClaim, &claim.namespace, &claim.name));
        }
        let volume = Some(&self.claim().volume_name).filter(|volume| !volume.is_empty())?;
        Some(Key::new(Kind::PersistentVolume, "", volume))
    }

    /// What planners are told of this pod. The same version always says the same, so it is encoded once.
    pub(crate) fn encoded(&self, pod: &Pod) -> &EncodedPod {
        self.encoded.get_or_init(|| pod.clone().into())
    }

    /// What volume-claim is told of this claim or volume, or of the claims that this pod uses. The same version always says
    /// the same, so it is `read` once.
    pub(crate) fn parts(&self, read: impl FnOnce(&Self) -> Box<[EncodedPart]>) -> &[EncodedPart] {
        self.parts.get_or_init(|| read(self))
    }

    /// What identity-dns is told of this pod, if anything. The same version always says the same, so it is `read` once.
    pub(crate) fn pod_facts(&self, read: impl FnOnce(&Self) -> Option<PodFacts>) -> Option<&PodFacts> {
        self.pod_facts.get_or_init(|| read(self).map(Box::new)).as_deref()
    }

    /// What the update planner is told of this revision record, if it is one. The same version always says the same, so it
    /// is `read` once.
    pub(crate) fn revision(&self, read: impl FnOnce(&Self) -> Option<Revision>) -> Option<&Revision> {
        self.revision.get_or_init(|| read(self).map(Box::new)).as_deref()
    }
}

/// `metadata.ownerReferences`.
pub(crate) fn owners(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .get("metadata")
        .and_then(|metadata| metadata.get("ownerReferences"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// An owner reference with `controller` and `blockOwnerDeletion` set.
#[must_use]
pub(crate) fn controller_reference(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.text("/apiVersion"),
        "kind": owner.kind().name(),
        "name": owner.key.name,
        "uid": owner.uid().0,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
