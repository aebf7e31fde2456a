//! StatefulSets of our own group: fields that `apps/v1` has no word for, and what they may hold.
//!
//! A set of either group is stored under one key and may be applied again under the other. Only a manifest that says
//! `apiVersion: setkeeper.dev/v1` can write these fields, so that a plain manifest never changes meaning.

use std::collections::BTreeSet;

use domain::{DeadlinePolicy, Ordinal, PROGRESS_DEADLINE_SECONDS_DEFAULT};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::field::Field;
use super::violation::{Report, quote};

/// The `apiVersion` of our own group.
pub(super) const API_VERSION: &str = "setkeeper.dev/v1";

/// Fields of a set's spec that only our group has.
pub(super) const FIELDS: [&str; 4] = ["paused", "progressDeadlinePolicy", "progressDeadlineSeconds", "reserveOrdinals"];

/// Annotation that pauses a set of either group while it is `true`. `rollout pause` writes it to sets of `apps/v1`,
/// whose spec has no place for it.
pub const PAUSED_ANNOTATION: &str = "setkeeper.dev/paused";

/// The most reserved ordinals of one set. Each is looked at for every pod; a set that leaves out more of its ordinals
/// than this is better numbered from another start.
pub(super) const RESERVED_MAX: usize = 1_000;

/// The shape of an object that holds nothing but these fields.
#[derive(Deserialize)]
#[expect(dead_code, reason = "read only to see whether it can be")]
pub(super) struct Shape {
    spec: Option<Fields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read only to see whether it can be")]
struct Fields {
    paused: Option<bool>,
    progress_deadline_policy: Option<String>,
    progress_deadline_seconds: Option<i32>,
    reserve_ordinals: Option<Vec<i64>>,
}

/// Whether an object says that it is of our own group.
pub(super) fn is_own(object: &Value) -> bool {
    object.get("apiVersion").is_some_and(|version| version == API_VERSION)
}

/// Takes our own fields out of an object; returns an object that holds them alone.
pub(super) fn take_fields(object: &mut Value) -> Value {
    let mut taken = Map::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        for name in FIELDS {
            if let Some(value) = spec.remove(name) {
                taken.insert(name.to_owned(), value);
            }
        }
    }
    json!({ "spec": taken })
}

/// The deadline of a set that names none: that of a Deployment, after the time that a pod needs in any case.
pub(super) fn default_deadline(min_ready_seconds: u32) -> u32 {
    if min_ready_seconds < PROGRESS_DEADLINE_SECONDS_DEFAULT {
        PROGRESS_DEADLINE_SECONDS_DEFAULT
    } else {
        min_ready_seconds.saturating_add(PROGRESS_DEADLINE_SECONDS_DEFAULT)
    }
}

/// Reads a policy.
pub(super) fn deadline_policy(text: &str) -> Option<DeadlinePolicy> {
    match text {
        "Hold" => Some(DeadlinePolicy::Hold),
        "Revert" => Some(DeadlinePolicy::Revert),
        _ => None,
    }
}

/// The reserved ordinals of a spec, ascending, each once; what is none is left out.
pub(super) fn reserved(spec: &Field<'_>) -> Vec<Ordinal> {
    let items = spec.get("reserveOrdinals").items().filter_map(|item| item.value.as_u64());
    let ordinals = items.filter_map(|number| u32::try_from(number).ok()).map(Ordinal);
    ordinals.filter(|ordinal| *ordinal <= Ordinal::MAX).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Checks our own fields.
pub(super) fn validate(spec: &Field<'_>, report: &mut Report) {
    reserve_ordinals(&spec.get("reserveOrdinals"), report);
    let deadline = spec.get("progressDeadlineSeconds");
    let min_ready = spec.get("minReadySeconds").integer().unwrap_or(0);
    match deadline.integer() {
        Some(seconds) if seconds < 0 => {
            report.invalid(&deadline.path, deadline.value, "must be greater than or equal to 0");
        }
        Some(seconds) if seconds > 0 && seconds <= min_ready => {
            report.invalid(&deadline.path, deadline.value, "must be greater than minReadySeconds").hint =
                Some(format!("spec.minReadySeconds is {min_ready}; 0 means no deadline"));
        }
        _ => {}
    }
    let policy = spec.get("progressDeadlinePolicy");
    if policy.is_set() && deadline_policy(policy.text()).is_none() {
        report.unsupported(&policy.path, policy.value, &["Hold", "Revert"]);
    }
    if policy.text() == "Revert" && deadline.integer() == Some(0) {
        report.warn(&policy.path, "has no effect: progressDeadlineSeconds is 0, which means no deadline");
    }
}

fn reserve_ordinals(field: &Field<'_>, report: &mut Report) {
    let count = field.items().count();
    if count > RESERVED_MAX {
        report.invalid(&field.path, &Value::Null, format_args!("must have at most {RESERVED_MAX} items, not {count}"));
        return;
    }
    let mut seen = BTreeSet::new();
    for item in field.items() {
        let Some(number) = item.integer() else { continue };
        if !(0..=i64::from(Ordinal::MAX.0)).contains(&number) {
            let why = format!("must be between 0 and {}, inclusive", Ordinal::MAX.0);
            report.invalid(&item.path, item.value, why);
        } else if !seen.insert(number) {
            report.duplicate(&item.path, item.value);
        }
    }
}

/// One form for one meaning: reserved ordinals ascend.
pub(super) fn sort_reserved(object: &mut Value) {
    if let Some(items) = object.pointer_mut("/spec/reserveOrdinals").and_then(Value::as_array_mut) {
        items.sort_by_key(Value::as_i64);
    }
}

/// What an applied manifest of `apps/v1` takes from a set that had our own fields.
pub(super) fn losses(old: &Value, new: &Value) -> Vec<String> {
    let lost = |name: &&&str| old["spec"].get(**name).is_some() && new["spec"].get(**name).is_none();
    if is_own(new) || !is_own(old) {
        return Vec::new();
    }
    let min_ready = old["spec"]["minReadySeconds"].as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    let default = default_deadline(min_ready.unwrap_or(0));
    let consequence = |name: &str, value: &Value| match name {
        "reserveOrdinals" => "these ordinals get pods, and the highest pods stop",
        "paused" if value == true => "updates go on",
        "progressDeadlineSeconds" if *value != default => "the default deadline holds",
        "progressDeadlinePolicy" if value != "Hold" => "nothing is reverted any more",
        _ => "",
    };
    let told = FIELDS.iter().filter(lost).filter_map(|name| {
        let value = &old["spec"][*name];
        let consequence = Some(consequence(name, value)).filter(|text| !text.is_empty())?;
        let value = quote(value);
        Some(format!(
            "spec.{name}: {value} goes, because apps/v1 has no such field: {consequence}; to keep it, write apiVersion: \
             {API_VERSION}"
        ))
    });
    told.collect()
}
