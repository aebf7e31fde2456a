//! Stored objects as the rules see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// One version of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its JSON; null for what is no object.
    pub value: Arc<Value>,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The commit that wrote it.
    pub revision: u64,
}

/// Everything that is stored, by store key.
pub type State = BTreeMap<String, Stored>;

/// A change of one key.
#[derive(Debug, Clone)]
pub struct Change {
    /// The store key.
    pub key: String,
    /// Before.
    pub old: Option<Stored>,
    /// After.
    pub new: Option<Stored>,
}

/// One commit, and the state that it was made on.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Its revision.
    pub revision: u64,
    /// What it changes.
    pub changes: &'a [Change],
    /// Everything before it.
    pub before: &'a State,
    /// What the clock of whoever made it shows, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Commit<'_> {
    /// The changes of objects of a kind, given as in the store's keys (`pods`).
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Change> {
        self.changes.iter().filter(move |change| is(&change.key, kind))
    }

    /// An object as it is after the commit.
    pub(crate) fn after(&self, key: &str) -> Option<&Value> {
        match self.changes.iter().find(|change| change.key == key) {
            Some(change) => change.new.as_ref().map(|stored| &*stored.value),
            None => self.before.get(key).map(|stored| &*stored.value),
        }
    }
}

/// Text at a JSON pointer; empty where there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Kind (as in the key), namespace and name.
#[must_use]
pub fn kind_and_name(key: &str) -> Option<(&str, &str, &str)> {
    let mut parts = key.strip_prefix("/objects/")?.splitn(3, '/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

pub(crate) fn is(key: &str, kind: &str) -> bool {
    kind_and_name(key).is_some_and(|(found, ..)| found == kind)
}

pub(crate) fn all<'a>(state: &'a State, kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let prefix = format!("/objects/{kind}/");
    let from = state.range(prefix.clone()..);
    from.take_while(move |(key, _)| key.starts_with(&prefix)).map(|(key, stored)| (key.as_str(), &*stored.value))
}

pub(crate) fn uid(value: &Value) -> &str {
    text(value, "/metadata/uid")
}

pub(crate) fn deleting(value: &Value) -> bool {
    !text(value, "/metadata/deletionTimestamp").is_empty()
}

/// Uid of the owner that controls an object.
pub(crate) fn controller(value: &Value) -> Option<&str> {
    let owners = value.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?.get("uid")?.as_str()
}

/// A condition of an object.
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    value.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether a pod says that it is ready.
pub(crate) fn ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Whether a pod will never run again.
pub(crate) fn ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// A time as objects carry it, in milliseconds since 1970.
pub(crate) fn millis(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}
