//! Typed views of stored objects.

use std::collections::BTreeMap;

use domain::{
    IntOrPercent, Ordinal, PodManagementPolicy, RetentionPolicy, RetentionRule, RollingUpdate, SetSpec, UpdateStrategy,
};
use serde_json::Value;

use super::field::Field;
use super::own;
use super::violation::{Report, Violation};

/// What the planners need of a StatefulSet. `value` is a whole object that was admitted.
///
/// # Errors
/// When a field holds what no admitted object does: the record is damaged, or older than a rule.
pub fn set_spec(value: &Value) -> Result<SetSpec, Vec<Violation>> {
    let spec = Field::root(value).get("spec");
    let mut report = Report::default();
    if !spec.value.is_object() {
        report.required(&spec.path, "");
        return Err(report.violations);
    }
    let mut number = |field: Field<'_>, default: u32| match field.value {
        Value::Null => default,
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| {
            report.invalid(&field.path, field.value, "must be between 0 and 2147483647");
            default
        }),
    };
    let replicas = number(spec.get("replicas"), 1);
    let start = Ordinal(number(spec.get("ordinals").get("start"), 0));
    let min_ready_seconds = number(spec.get("minReadySeconds"), 0);
    let strategy = spec.get("updateStrategy");
    let block = strategy.get("rollingUpdate");
    let rolling = block.is_set().then(|| RollingUpdate {
        partition: number(block.get("partition"), 0),
        max_unavailable: int_or_percent(block.get("maxUnavailable").value),
    });
    let strategy = match strategy.get("type").text() {
        "OnDelete" => UpdateStrategy::OnDelete,
        _ => UpdateStrategy::RollingUpdate(rolling),
    };
    let policy = match spec.get("podManagementPolicy").text() {
        "Parallel" => PodManagementPolicy::Parallel,
        _ => PodManagementPolicy::OrderedReady,
    };
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    let rule = |when: &str| match retention.get(when).text() {
        "Delete" => RetentionRule::Delete,
        _ => RetentionRule::Retain,
    };
    let limit = spec.get("revisionHistoryLimit").integer().unwrap_or(10);
    let deadline = number(spec.get("progressDeadlineSeconds"), own::default_deadline(min_ready_seconds));
    let annotations = Field::root(value).get("metadata").get("annotations");
    let paused = spec.get("paused").flag() || annotations.get(own::PAUSED_ANNOTATION).text() == "true";
    let spec = SetSpec {
        replicas,
        start,
        policy,
        strategy,
        min_ready_seconds,
        revision_history_limit: i32::try_from(limit).unwrap_or(i32::MAX),
        retention: RetentionPolicy { when_deleted: rule("whenDeleted"), when_scaled: rule("whenScaled") },
        reserved: own::reserved(&spec),
        paused,
        progress_deadline_seconds: deadline,
        progress_deadline_policy: own::deadline_policy(spec.get("progressDeadlinePolicy").text()).unwrap_or_default(),
    };
    if report.violations.is_empty() { Ok(spec) } else { Err(report.violations) }
}

fn int_or_percent(value: &Value) -> Option<IntOrPercent> {
    match value {
        Value::Number(number) => Some(IntOrPercent::Int(u32::try_from(number.as_i64()?).ok()?)),
        Value::String(text) => Some(IntOrPercent::Percent(text.strip_suffix('%')?.parse().ok()?)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The labels of an object.
#[must_use]
pub fn labels(value: &Value) -> BTreeMap<String, String> {
    let labels = Field::root(value).get("metadata").get("labels");
    labels.entries().filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned()))).collect()
}

/// The class that claims without one get: of those annotated as default the newest, of equally new ones the one with
/// the smallest name (volume rules, section 2).
#[must_use]
pub fn default_storage_class(classes: &[Value]) -> Option<&str> {
    const DEFAULT: [&str; 2] =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let text = |class: &'_ Value, path: &str| class.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let is_default = |class: &&Value| {
        let annotations = class.pointer("/metadata/annotations");
        DEFAULT.iter().any(|key| annotations.and_then(|all| all.get(key)).is_some_and(|value| value == "true"))
    };
    let order = |class: &&Value| {
        // Times of one form order as their texts do.
        let created = text(class, "/metadata/creationTimestamp").unwrap_or_default();
        (created, std::cmp::Reverse(text(class, "/metadata/name")))
    };
    classes.iter().filter(is_default).max_by_key(order)?.pointer("/metadata/name")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_is_read_with_all_its_fields() {
        let value = json!({"spec": {
            "replicas": 5, "ordinals": {"start": 2}, "podManagementPolicy": "Parallel", "minReadySeconds": 7,
            "revisionHistoryLimit": -1, "updateStrategy": {"type": "RollingUpdate",
                "rollingUpdate": {"partition": 1, "maxUnavailable": "25%"}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        }});
        let expected = SetSpec {
            replicas: 5,
            start: Ordinal(2),
            policy: PodManagementPolicy::Parallel,
            strategy: UpdateStrategy::RollingUpdate(Some(RollingUpdate {
                partition: 1,
                max_unavailable: Some(IntOrPercent::Percent(25)),
            })),
            min_ready_seconds: 7,
            revision_history_limit: -1,
            retention: RetentionPolicy { when_deleted: RetentionRule::Delete, when_scaled: RetentionRule::Retain },
            ..SetSpec::default()
        };
        assert_eq!(set_spec(&value), Ok(expected));
        let bare = set_spec(&json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}})).unwrap();
        assert_eq!((bare.replicas, bare.strategy), (1, UpdateStrategy::RollingUpdate(None)));
        assert!(set_spec(&json!({"spec": {"replicas": -1}})).is_err());
        assert!(set_spec(&json!({})).is_err());
    }

    #[test]
    fn the_newest_default_class_wins_then_the_smallest_name() {
        let class = |name: &str, created: &str, default: &str| {
            let annotations = json!({"storageclass.kubernetes.io/is-default-class": default});
            json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}})
        };
        let old = class("old", "2026-01-01T00:00:00Z", "true");
        let new = |name| class(name, "2026-02-01T00:00:00Z", "true");
        let not = class("not", "2026-03-01T00:00:00Z", "yes");
        assert_eq!(default_storage_class(&[old.clone(), new("b"), new("a"), not.clone()]), Some("a"));
        assert_eq!(default_storage_class(&[old, not.clone()]), Some("old"));
        assert_eq!(default_storage_class(&[not]), None);
    }
}
