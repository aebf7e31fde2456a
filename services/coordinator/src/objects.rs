//! Small readers and writers of Kubernetes JSON that several rooms of the coordinator share.

use std::collections::BTreeMap;

use domain::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value};

/// RFC 3339 in UTC with whole seconds, as the Kubernetes API writes times.
#[must_use]
pub(crate) fn time_text(time: Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(time.0.div_euclid(1000)).unwrap_or_default();
    DateTimePrinter::new().precision(Some(0)).timestamp_to_string(&whole)
}

/// RFC 3339 in UTC with milliseconds, where order within a second matters.
#[must_use]
pub(crate) fn precise_time_text(time: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(time.0).unwrap_or_default();
    DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&moment)
}

/// Reads an RFC 3339 time; none where it is none.
#[must_use]
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    Some(Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
}

/// Group of an `apiVersion`; empty for `v1`.
pub(crate) fn api_group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// The object at `field` of an object, made if it is missing. Anything else there is replaced.
pub(crate) fn object_mut<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let slot = value.as_object_mut().expect("made so above").entry(field).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made so above")
}

/// Status of a condition, such as `True`; none where there is no such condition.
#[must_use]
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Map<String, Value>> {
    let conditions = value.pointer("/status/conditions")?.as_array()?;
    conditions.iter().filter_map(Value::as_object).find(|condition| condition.get("type").is_some_and(|t| t == kind))
}

/// A JSON object of texts; empty where there is none.
pub(crate) fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Sets a condition. `lastTransitionTime` moves only when the status changes.
pub(crate) fn set_condition(
    status: &mut Map<String, Value>,
    kind: &str,
    truth: &str,
    why: (&str, &str),
    now: Timestamp,
) {
    let (reason, message) = why;
    let conditions = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    let Some(conditions) = conditions.as_array_mut() else { return };
    let place = conditions.iter().position(|condition| condition.get("type").is_some_and(|t| t == kind));
    let since = place.and_then(|place| {
        let old = &conditions[place];
        (old.get("status")?.as_str()? == truth).then(|| old.get("lastTransitionTime").cloned()).flatten()
    });
    let mut condition = Map::new();
    condition.insert("type".into(), kind.into());
    condition.insert("status".into(), truth.into());
    condition.insert("lastTransitionTime".into(), since.unwrap_or_else(|| time_text(now).into()));
    if !reason.is_empty() {
        condition.insert("reason".into(), reason.into());
    }
    if !message.is_empty() {
        condition.insert("message".into(), message.into());
    }
    match place {
        Some(place) => conditions[place] = Value::Object(condition),
        None => conditions.push(Value::Object(condition)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_and_have_whole_seconds() {
        assert_eq!(time_text(Timestamp(1_700_000_000_999)), "2023-11-14T22:13:20Z");
        assert_eq!(time("2023-11-14T22:13:20Z"), Some(Timestamp(1_700_000_000_000)));
        assert_eq!(precise_time_text(Timestamp(1_700_000_000_999)), "2023-11-14T22:13:20.999Z");
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut status = Map::new();
        set_condition(&mut status, "Ready", "False", ("A", ""), Timestamp(1_000));
        set_condition(&mut status, "Ready", "False", ("B", "other"), Timestamp(9_000));
        let value = serde_json::json!({ "status": status });
        assert_eq!(condition(&value, "Ready").unwrap()["lastTransitionTime"], "1970-01-01T00:00:01Z");
        let mut status = value["status"].as_object().unwrap().clone();
        set_condition(&mut status, "Ready", "True", ("", ""), Timestamp(9_000));
        let value = serde_json::json!({ "status": status });
        assert_eq!(condition(&value, "Ready").unwrap()["lastTransitionTime"], "1970-01-01T00:00:09Z");
    }
}
