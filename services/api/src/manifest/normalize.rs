//! One spelling for one meaning: what an object looks like after Kubernetes has read and written it.
//!
//! Two manifests that mean the same must give the same bytes, or applying a different spelling would be a new revision
//! and a needless rollout. So nulls go, and so does every empty value of a field that Kubernetes leaves out when empty;
//! quantities get their canonical form.

use domain::{InvalidQuantity, canonical_quantity};
use serde_json::{Map, Value};

use super::strict::whole;
use super::violation::{Report, Violation, ViolationKind};

/// Maps whose keys are the user's own and whose values are texts.
const TEXT_MAPS: [&str; 10] = [
    "annotations",
    "binaryData",
    "data",
    "labels",
    "matchLabels",
    "nodeSelector",
    "options",
    "parameters",
    "stringData",
    "volumeAttributes",
];

/// Maps of resource names to quantities.
const QUANTITY_MAPS: [&str; 5] = ["capacity", "limits", "overhead", "podFixed", "requests"];

/// Fields that hold one quantity.
const QUANTITIES: [&str; 2] = ["divisor", "sizeLimit"];

/// Flags that mean the same when absent. Other flags tell false from unset.
const FALSE_IS_ABSENT: [&str; 9] = [
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "tty",
];

/// Numbers that mean the same when absent. Other numbers tell 0 from unset.
const ZERO_IS_ABSENT: [&str; 9] = [
    "failureThreshold",
    "healthCheckNodePort",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "periodSeconds",
    "successThreshold",
    "timeoutSeconds",
];

/// Texts that tell the empty one from unset.
const EMPTY_TEXT_IS_KEPT: [&str; 3] = ["service", "serviceName", "storageClassName"];

/// Brings `value` into canonical form. Quantities that cannot be read stay as they are and are reported.
pub(super) fn normalize(value: &mut Value, path: &str, report: &mut Report) {
    let mut walk = Walk { path: path.to_owned(), report };
    walk.members(value, "");
}

struct Walk<'a> {
    path: String,
    report: &'a mut Report,
}

impl Walk<'_> {
    fn members(&mut self, value: &mut Value, parent: &str) {
        match value {
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    self.inside(name, |walk| walk.member(name, member, parent));
                }
                members.retain(|name, member| !is_absent(name, member, parent));
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    self.members(item, parent);
                    self.path.truncate(length);
                }
            }
            Value::Number(number) => {
                if let Some(integer) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                    *value = Value::from(integer);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn inside(&mut self, name: &str, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        f(self);
        self.path.truncate(length);
    }

    fn member(&mut self, name: &str, member: &mut Value, parent: &str) {
        match member {
            Value::Object(entries) if TEXT_MAPS.contains(&name) => null_to_empty(entries),
            Value::Object(entries) if QUANTITY_MAPS.contains(&name) && parent != "metadata" => {
                for (resource, quantity) in entries.iter_mut() {
                    self.inside(resource, |walk| walk.quantity(quantity));
                }
            }
            _ if QUANTITIES.contains(&name) => self.quantity(member),
            _ => self.members(member, name),
        }
    }

    fn quantity(&mut self, quantity: &mut Value) {
        let text = match &*quantity {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return,
        };
        match canonical_quantity(&text) {
            Ok(canonical) => *quantity = Value::String(canonical),
            Err(InvalidQuantity::Negative { .. }) => {
                self.report.invalid(&self.path, quantity, "must be greater than or equal to 0");
            }
            Err(error) => {
                let (text, hint) = match error.to_string().split_once(": ") {
                    Some((text, hint)) => (text.to_owned(), Some(hint.to_owned())),
                    None => (error.to_string(), None),
                };
                let mut violation = Violation::new(ViolationKind::TypeError, self.path.clone(), text);
                violation.hint = hint;
                self.report.push(violation);
            }
        }
    }
}

fn null_to_empty(entries: &mut Map<String, Value>) {
    for value in entries.values_mut().filter(|value| value.is_null()) {
        *value = Value::String(String::new());
    }
}

fn is_absent(name: &str, member: &Value, parent: &str) -> bool {
    match member {
        Value::Null => true,
        Value::Bool(flag) => !flag && FALSE_IS_ABSENT.contains(&name),
        Value::Number(number) => number.as_i64() == Some(0) && ZERO_IS_ABSENT.contains(&name),
        Value::String(text) => {
            let kept = EMPTY_TEXT_IS_KEPT.contains(&name)
                || matches!((parent, name), ("hostPath", "type") | ("httpHeaders", "value"))
                || parent == "selector";
            text.is_empty() && !kept
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty() && (TEXT_MAPS.contains(&name) || QUANTITY_MAPS.contains(&name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spellings_of_one_meaning_become_one() {
        let mut value = json!({
            "metadata": {"labels": {"a": null}, "annotations": {}},
            "spec": {
                "hostNetwork": false, "replicas": 3.0, "storageClassName": "", "command": [], "emptyDir": {},
                "resources": {"limits": {"cpu": "1000m", "memory": "1.5Gi"}, "requests": {}},
                "securityContext": {"runAsNonRoot": false}, "nothing": null,
            },
        });
        let mut report = Report::default();
        normalize(&mut value, "", &mut report);
        let expected = json!({
            "metadata": {"labels": {"a": ""}},
            "spec": {
                "replicas": 3, "storageClassName": "", "emptyDir": {},
                "resources": {"limits": {"cpu": "1", "memory": "1536Mi"}},
                "securityContext": {"runAsNonRoot": false},
            },
        });
        assert_eq!(value, expected);
        assert!(report.violations.is_empty());
    }

    #[test]
    fn bad_quantities_are_reported_with_their_place() {
        let mut report = Report::default();
        let mut value = json!({"spec": [{"resources": {"requests": {"storage": "1GB"}}}]});
        normalize(&mut value, "", &mut report);
        assert_eq!(report.violations[0].field, "spec[0].resources.requests.storage");
        assert_eq!(report.violations[0].description(), "\"1GB\" is not a quantity; did you mean 1Gi or 1G?");
    }
}
