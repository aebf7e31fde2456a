//! What a status write makes of the status of a set (StatefulSet rules, section 2.4).

use serde_json::{Map, Value};

use super::field::Field;
use super::violation::{Report, Violation};

/// Counters that are at most `status.replicas`.
const COUNTERS: [&str; 4] = ["readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"];

/// Fields that anybody may write; the next pass counts anew. Not `currentRevision`: what pods below a partition come back at
/// is no report.
const FIELDS: [&str; 9] = [
    "availableReplicas",
    "collisionCount",
    "conditions",
    "currentReplicas",
    "observedGeneration",
    "readyReplicas",
    "replicas",
    "updateRevision",
    "updatedReplicas",
];

/// Fields of a condition. All are texts.
const CONDITION_FIELDS: [&str; 5] = ["lastTransitionTime", "message", "reason", "status", "type"];

/// The longest text of a condition, in bytes, as in Kubernetes.
const CONDITION_TEXT_MAX: usize = 32_768;

/// Conditions that the system itself publishes.
const OWN_CONDITIONS: [&str; 5] = ["Available", "ColdStart", "Healing", "Progressing", "Stuck"];

/// The longest name of an object, in bytes.
const NAME_MAX: usize = 253;

/// The most conditions that one set may have: each is read in every pass.
const CONDITIONS_MAX: usize = 32;

/// The status of a set once `given` is written to it: what is left out stays as it is, and so do conditions of other
/// types.
///
/// # Errors
/// Where a count is negative or above what it is part of, `collisionCount` or `observedGeneration` would fall, or a field
/// or condition is not there to be written.
pub fn admit_status(set: &Value, given: &Value) -> Result<Value, Vec<Violation>> {
    let mut report = Report::default();
    let mut status =
        set.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| Map::new().into());
    for (name, value) in given.as_object().into_iter().flatten() {
        if !FIELDS.contains(&name.as_str()) {
            let violation = report.forbidden(&format!("status.{name}"), "it cannot be written");
            violation.hint = Some(format!("write only {}", FIELDS.join(", ")));
        } else if name == "conditions" {
            let conditions = merged(status.get(name), value, &mut report);
            status[name] = conditions;
        } else {
            status[name] = value.clone();
        }
    }
    check(set, &status, &mut report);
    if report.violations.is_empty() { Ok(status) } else { Err(report.violations) }
}

/// Stored conditions with those that are given in the place of others of their type.
fn merged(stored: Option<&Value>, given: &Value, report: &mut Report) -> Value {
    let given = Field { path: "status.conditions".to_owned(), value: given };
    if !given.value.is_array() {
        report.invalid(&given.path, given.value, "must be a list");
    }
    let mut conditions = stored.and_then(Value::as_array).cloned().unwrap_or_default();
    for condition in given.items() {
        let kind = condition.get("type");
        if kind.text().is_empty() {
            report.required(&kind.path, "");
        } else if OWN_CONDITIONS.contains(&kind.text()) {
            report.forbidden(&kind.path, "the system writes this condition itself").hint =
                Some("use a type of your own, such as example.com/Healthy".to_owned());
        }
        let truth = condition.get("status");
        if !["True", "False", "Unknown"].contains(&truth.text()) {
            report.unsupported(&truth.path, truth.value, &["True", "False", "Unknown"]);
        }
        for (name, value) in condition.entries() {
            let field = condition.get(name);
            if !CONDITION_FIELDS.contains(&name) {
                report.forbidden(&field.path, "conditions have no such field").hint =
                    Some(format!("write only {}", CONDITION_FIELDS.join(", ")));
            } else if value.as_str().is_none_or(|text| text.len() > CONDITION_TEXT_MAX) {
                report.invalid(&field.path, value, format!("must be a text of at most {CONDITION_TEXT_MAX} bytes"));
            }
        }
        conditions.retain(|stored| stored.get("type") != Some(kind.value));
        conditions.push(condition.value.clone());
    }
    if conditions.len() > CONDITIONS_MAX {
        report.invalid(&given.path, &conditions.len().into(), format!("at most {CONDITIONS_MAX} conditions are kept"));
    }
    Value::Array(conditions)
}

fn check(set: &Value, status: &Value, report: &mut Report) {
    let of = |value| Field { path: "status".to_owned(), value };
    let (stored, status) = (of(set.get("status").unwrap_or(&Value::Null)), of(status));
    let count = |name: &str| status.get(name).integer().unwrap_or(0);
    for name in COUNTERS.iter().chain(&["replicas", "collisionCount", "observedGeneration"]) {
        let field = status.get(name);
        let (max, bound) =
            if *name == "observedGeneration" { (i64::MAX, "2^63-1") } else { (i32::MAX.into(), "2^31-1") };
        if field.is_set() && !field.integer().is_some_and(|number| (0..=max).contains(&number)) {
            report.invalid(&field.path, field.value, format!("must be a whole number from 0 to {bound}"));
        }
    }
    let at_most = |name: &str, whole: &str, report: &mut Report| {
        if count(name) > count(whole) {
            let why = format!("cannot be greater than status.{whole}");
            report.invalid(&format!("status.{name}"), status.get(name).value, why);
        }
    };
    COUNTERS.iter().for_each(|name| at_most(name, "replicas", report));
    at_most("availableReplicas", "readyReplicas", report);
    for name in ["collisionCount", "observedGeneration"] {
        if count(name) < stored.get(name).integer().unwrap_or(0) {
            report.invalid(&format!("status.{name}"), status.get(name).value, "cannot be decremented");
        }
    }
    let generation = set.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(i64::MAX);
    if count("observedGeneration") > generation {
        let why = format!("cannot be greater than metadata.generation, {generation}");
        report.invalid("status.observedGeneration", status.get("observedGeneration").value, why);
    }
    let update = status.get("updateRevision");
    if update.is_set() && update.value.as_str().is_none_or(|name| name.len() > NAME_MAX) {
        report.invalid(&update.path, update.value, "must be the name of a revision");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> Value {
        json!({ "metadata": { "generation": 4 }, "status": {
            "replicas": 3, "readyReplicas": 3, "availableReplicas": 2, "collisionCount": 1, "observedGeneration": 4,
            "formed": { "first": 0 },
            "conditions": [{ "type": "Available", "status": "True" }, { "type": "mine", "status": "True" }],
        } })
    }

    #[test]
    fn s_179_what_does_not_fit_together_is_refused() {
        for (given, expected) in [
            (
                json!({ "readyReplicas": 4 }),
                "status.readyReplicas: Invalid value: 4: cannot be greater than status.replicas",
            ),
            (
                json!({ "currentReplicas": 9 }),
                "status.currentReplicas: Invalid value: 9: cannot be greater than status.replicas",
            ),
            (
                json!({ "readyReplicas": 1 }),
                "status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas",
            ),
            (json!({ "collisionCount": 0 }), "status.collisionCount: Invalid value: 0: cannot be decremented"),
            (json!({ "replicas": -1 }), "status.replicas: Invalid value: -1: must be a whole number from 0 to 2^31-1"),
            (
                json!({ "observedGeneration": 5 }),
                "status.observedGeneration: Invalid value: 5: cannot be greater than metadata.generation, 4",
            ),
            (json!({ "updateRevision": 7 }), "status.updateRevision: Invalid value: 7: must be the name of a revision"),
            (
                json!({ "currentRevision": "web-a" }),
                "status.currentRevision: Forbidden: it cannot be written; write only ",
            ),
            (
                json!({ "conditions": [{ "type": "mine", "status": "True", "data": [0] }] }),
                "status.conditions[0].data: Forbidden: conditions have no such field; write only lastTransitionTime, ",
            ),
            (
                json!({ "conditions": [{ "type": "mine", "status": "True", "message": "x".repeat(32_769) }] }),
                "status.conditions[0].message: Invalid value: ",
            ),
            (
                json!({ "conditions": [{ "type": "mine", "status": "True", "reason": 7 }] }),
                "status.conditions[0].reason: Invalid value: 7: must be a text of at most 32768 bytes",
            ),
            (json!({ "formed": {} }), "status.formed: Forbidden: it cannot be written; write only availableReplicas, "),
            (
                json!({ "conditions": [{ "type": "Available", "status": "False" }] }),
                "status.conditions[0].type: Forbidden: the system writes this condition itself; use a type of your own",
            ),
            (json!({ "conditions": [{ "status": "True" }] }), "status.conditions[0].type: Required value"),
            (json!({ "conditions": {} }), "status.conditions: Invalid value: {}: must be a list"),
            (
                json!({ "conditions": [{ "type": "mine", "status": "yes" }] }),
                "status.conditions[0].status: Unsupported value: \"yes\": supported values: \"True\", \"False\", \"Unknown\"",
            ),
        ] {
            let violations = admit_status(&set(), &given).expect_err("refused");
            let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|one| one.starts_with(expected)), "{given}: {told:?}");
        }
    }

    #[test]
    fn what_is_left_out_stays() {
        let given = json!({ "readyReplicas": 2, "conditions": [
            { "type": "mine", "status": "False" }, { "type": "other", "status": "Unknown" },
        ] });
        let mut expected = set()["status"].clone();
        expected["readyReplicas"] = 2.into();
        expected["conditions"] = json!([
            { "type": "Available", "status": "True" },
            { "type": "mine", "status": "False" },
            { "type": "other", "status": "Unknown" },
        ]);
        assert_eq!(admit_status(&set(), &given), Ok(expected));
        assert_eq!(admit_status(&json!({ "metadata": {} }), &json!({})), Ok(json!({})));
    }

    #[test]
    fn conditions_have_a_bound() {
        let many: Vec<Value> = (0..31).map(|n| json!({ "type": format!("t{n}"), "status": "True" })).collect();
        let violations = admit_status(&set(), &json!({ "conditions": many })).expect_err("33 are too many");
        assert_eq!(violations[0].message, "Invalid value: 33: at most 32 conditions are kept");
    }
}
