//! Events: what happened to an object, for a person. Equal events are counted, not repeated.

use domain::{Timestamp, revision_hash};
use serde_json::{Value, json};

use crate::objects::{time, time_text};
use crate::store::CommitError;
use crate::world::{Key, Transaction, World};

use api::manifest::Kind;

/// Longest message, in bytes; a longer one is cut. Kubernetes allows 1024.
const MESSAGE_LENGTH_MAX: usize = 1024;

/// Tries of one event against others who say the same. Each loss means that someone else was counted.
const TRIES_MAX: u32 = 16;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Whether a person should look.
    pub(crate) warning: bool,
    /// CamelCase, such as `SuccessfulCreate`.
    pub(crate) reason: String,
    /// In words.
    pub(crate) message: String,
}

impl Event {
    /// Something went as it should.
    #[must_use]
    pub(crate) fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.to_owned(), message: message.into() }
    }

    /// Something a person should look at.
    #[must_use]
    pub(crate) fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self { warning: true, reason: reason.to_owned(), message: message.into() }
    }
}

/// Stores an event about an object by itself. Each try rests on the event being as it was read: where several say the same
/// at once, each counts, and it stays one event.
///
/// # Errors
/// The store cannot take it now, or others said the same [`TRIES_MAX`] times in between.
pub(crate) async fn say(
    world: &World,
    about: (&Key, &str),
    component: &str,
    event: &Event,
    now: Timestamp,
) -> Result<(), CommitError> {
    let key = key(about, component, event);
    let mut tries = 1;
    loop {
        let mut transaction = Transaction::default();
        match world.get(&key) {
            Some(before) => transaction.unchanged(&before),
            None => transaction.absent(key.clone()),
        }
        // What it reads may be newer. Then this is in conflict, and made anew.
        record(&mut transaction, world, about, component, event, now);
        match world.commit(transaction).await {
            Err(CommitError::Conflict { .. }) if tries < TRIES_MAX => tries += 1,
            committed => return committed.map(drop),
        }
    }
}

/// Events of one content about one object are one.
fn key((object, uid): (&Key, &str), component: &str, event: &Event) -> Key {
    let message = cut(&event.message, MESSAGE_LENGTH_MAX);
    let digest = revision_hash(&format!("{uid}/{component}/{}/{message}", event.reason), 0);
    let namespace = if object.namespace.is_empty() { "default" } else { &object.namespace };
    Key::new(Kind::Event, namespace, &format!("{}.{digest}", object.name))
}

/// Whether an event was said at that time or later.
pub(crate) fn is_said(world: &World, about: (&Key, &str), component: &str, event: &Event, since: Timestamp) -> bool {
    let said = world.get(&key(about, component, event));
    said.and_then(|event| time(last_seen(&event.value))).is_some_and(|last| last >= since)
}

/// Adds an event about an object to a transaction. `component` is who says so.
pub(crate) fn record(
    transaction: &mut Transaction,
    world: &World,
    about: (&Key, &str),
    component: &str,
    event: &Event,
    now: Timestamp,
) {
    let (object, uid) = about;
    let message = cut(&event.message, MESSAGE_LENGTH_MAX);
    let key = key(about, component, event);
    let before = transaction.pending(&key).cloned().or_else(|| world.get(&key).map(|event| event.value.clone()));
    let time = time_text(now);
    let first = before.as_ref().and_then(|event| event.get("firstTimestamp")?.as_str()).unwrap_or(&time).to_owned();
    let count = before.as_ref().and_then(|event| event.get("count")?.as_i64()).unwrap_or(0) + 1;
    let uid_of_event = before.as_ref().and_then(|event| event.pointer("/metadata/uid")?.as_str().map(str::to_owned));
    let value = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid_of_event.unwrap_or_else(service_kit::random::uid),
            "creationTimestamp": first,
        },
        "involvedObject": {
            "apiVersion": object.kind.api_version(),
            "kind": object.kind.name(),
            "namespace": object.namespace,
            "name": object.name,
            "uid": uid,
        },
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "message": message,
        "source": { "component": component },
        "firstTimestamp": first,
        "lastTimestamp": time,
        "count": count,
    });
    transaction.record(key, Some(value));
}

/// The first `max` bytes, cut at a character.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The time an event was last seen, as text; for ordering.
#[must_use]
pub(crate) fn last_seen(event: &Value) -> &str {
    event.get("lastTimestamp").and_then(Value::as_str).unwrap_or_default()
}
