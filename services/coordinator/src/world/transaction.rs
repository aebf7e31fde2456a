//! Several writes that happen together or not at all.

use std::collections::BTreeMap;

use api::manifest::Kind;
use bytes::Bytes;
use domain::Ordinal;
use serde_json::Value;

use super::{Key, Object};
use crate::store::{Batch, Precondition, Series, StoreRevision, Write};

/// The pods of a set that a transaction rests on as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untouched {
    series: Series,
    since: StoreRevision,
}

/// Writes and what they rest on. A later write of a key replaces an earlier one.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    expected: BTreeMap<Key, Option<StoreRevision>>,
    untouched: Vec<Untouched>,
    /// What another commit, which comes first, will have stored.
    stored_as: Vec<(Key, Bytes)>,
    writes: BTreeMap<Key, Option<Value>>,
    bytes: usize,
}

impl Transaction {
    /// Whether it would write nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many objects it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// How many bytes of JSON it writes, roughly; keys and preconditions not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it already writes `key`.
    #[must_use]
    pub fn touches(&self, key: &Key) -> bool {
        self.writes.contains_key(key)
    }

    /// Creates an object that must not exist.
    pub fn create(&mut self, key: Key, value: Value) {
        self.expected.entry(key.clone()).or_insert(None);
        self.put(key, value);
    }

    /// Replaces this very version of an object.
    pub fn update(&mut self, old: &Object, value: Value) {
        self.unchanged(old);
        self.put(old.key.clone(), value);
    }

    /// Removes this very version of an object.
    pub fn delete(&mut self, old: &Object) {
        self.unchanged(old);
        self.writes.insert(old.key.clone(), None);
    }

    /// Writes an object whatever is there. Only for records that nothing is decided from, such as events.
    pub fn record(&mut self, key: Key, value: Option<Value>) {
        match value {
            Some(value) => self.put(key, value),
            None => _ = self.writes.insert(key, None),
        }
    }

    fn put(&mut self, key: Key, value: Value) {
        self.bytes += size(&value);
        self.writes.insert(key, Some(value));
    }

    /// Only if this version is still the stored one.
    pub fn unchanged(&mut self, object: &Object) {
        self.expected.entry(object.key.clone()).or_insert(Some(object.version));
    }

    /// Only if no pod of a set was made, changed or removed after `since` whose ordinal is below `below`: those that a scene
    /// at that revision shows, and those that it shows to be missing.
    pub fn pods_untouched(&mut self, set: &Key, below: Ordinal, since: StoreRevision) {
        let stem = Key::new(Kind::Pod, &set.namespace, &format!("{}-", set.name)).to_store();
        let untouched = Untouched { series: Series { stem, below: below.0, but: None }, since };
        // Every action of a plan may ask for the same.
        if self.untouched.last() != Some(&untouched) {
            self.untouched.push(untouched);
        }
    }

    /// Lets this transaction follow one of the same plan that rested on these pods and was committed at this revision: what
    /// the other changed of them itself is no news.
    pub fn follow(&mut self, committed: &[Untouched], at: StoreRevision) {
        for Untouched { series, since } in &mut self.untouched {
            let covers = |other: &Untouched| {
                let whole = other.series.but.is_none() || other.series.but == series.but;
                let same = other.series.stem == series.stem && other.series.below >= series.below;
                same && whole && other.since <= *since
            };
            if committed.iter().any(covers) {
                *since = at;
            }
        }
    }

    /// Lets this transaction, with all that it rests on by now, come behind one that stores a pod so: it rests on that instead
    /// of on what was stored of the pod before.
    pub fn come_behind(&mut self, pod: &Object, ordinal: Ordinal) {
        self.expected.remove(&pod.key);
        for untouched in &mut self.untouched {
            untouched.series.but = Some(ordinal.0);
        }
        self.stored_as.push((pod.key.clone(), encode(&mut pod.value.clone())));
    }

    /// The pods that it rests on as a whole.
    #[must_use]
    pub fn untouched(&self) -> &[Untouched] {
        &self.untouched
    }

    /// Only if nothing is stored there.
    pub fn absent(&mut self, key: Key) {
        self.expected.entry(key).or_insert(None);
    }

    /// The pending value of a key, if this transaction puts one.
    #[must_use]
    pub fn pending(&self, key: &Key) -> Option<&Value> {
        self.writes.get(key)?.as_ref()
    }

    /// What the store is asked, and each object that it is to write; none if there is nothing to write.
    pub(super) fn into_batch(self) -> Option<(Batch, Vec<(Bytes, Value)>)> {
        if self.writes.is_empty() {
            return None;
        }
        let preconditions = self.expected.into_iter().map(|(key, version)| match version {
            Some(revision) => Precondition::ModifiedAt { key: key.to_store(), revision },
            None => Precondition::Absent { key: key.to_store() },
        });
        let mut encoded = Vec::with_capacity(self.writes.len());
        let writes = self.writes.into_iter().map(|(key, value)| match value {
            Some(mut value) => {
                let bytes = encode(&mut value);
                encoded.push((bytes.clone(), value));
                Write::Put { key: key.to_store(), value: bytes }
            }
            None => Write::Delete { key: key.to_store() },
        });
        let writes = writes.collect();
        let untouched = self.untouched.into_iter();
        let untouched = untouched.map(|Untouched { series, since }| Precondition::Untouched { series, since });
        let stored_as = self.stored_as.into_iter();
        let stored_as = stored_as.map(|(key, value)| Precondition::StoredAs { key: key.to_store(), value });
        let preconditions = preconditions.chain(untouched).chain(stored_as);
        Some((Batch { preconditions: preconditions.collect(), writes }, encoded))
    }
}

/// Bytes of a value as JSON, nearly.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => 2 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>(),
    }
}

/// The stored form: without `metadata.resourceVersion`, which the store's own revision provides.
fn encode(value: &mut Value) -> Bytes {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    serde_json::to_vec(value).expect("a value is valid JSON").into()
}
