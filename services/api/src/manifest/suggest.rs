//! What somebody meant who wrote a field that does not exist.

use serde_json::Value;

use super::strict::Trail;
use super::violation::{Violation, ViolationKind};

/// Fields that belong into `metadata`.
const METADATA: [&str; 4] = ["annotations", "labels", "name", "namespace"];

/// Fields that belong into a `spec`.
const SPEC: [&str; 30] = [
    "accessModes",
    "capacity",
    "clusterIP",
    "containers",
    "dataSource",
    "externalName",
    "hostPath",
    "initContainers",
    "minReadySeconds",
    "nodeAffinity",
    "ordinals",
    "paused",
    "persistentVolumeClaimRetentionPolicy",
    "persistentVolumeReclaimPolicy",
    "podManagementPolicy",
    "ports",
    "progressDeadlinePolicy",
    "progressDeadlineSeconds",
    "replicas",
    "reserveOrdinals",
    "resources",
    "revisionHistoryLimit",
    "selector",
    "serviceName",
    "storageClassName",
    "template",
    "terminationGracePeriodSeconds",
    "updateStrategy",
    "volumeClaimTemplates",
    "volumes",
];

/// Describes the unknown field `name` at `trail`, whose parent is the struct it was found in.
pub(super) fn unknown_field(name: &str, path: String, trail: &Trail<'_>) -> Violation {
    let around: Vec<_> = trail.around().collect();
    let inside = around.first().copied();
    let fields = inside.map_or(&[][..], Trail::fields);
    let top = around.len() == 1;
    let mut message = if top { format!("unknown top-level field {name}") } else { format!("unknown field \"{path}\"") };
    let parent = inside.map(Trail::path).unwrap_or_default();
    let member = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };

    let section = [("metadata", &METADATA[..]), ("spec", &SPEC[..])]
        .into_iter()
        .find(|(section, names)| fields.contains(section) && names.contains(&name))
        .map(|(section, _)| section);
    let hint = if let Some(section) = section {
        if let Some(missing) = missing_below(inside, section, name) {
            message = format!("{message}; {} is missing", member(&missing));
        }
        Some(format!("did you mean to indent it under {}?", member(section)))
    } else if name == "spec" && inside.is_some_and(|inside| inside.value().get("volumeClaimTemplates").is_some()) {
        Some(format!("did you mean to indent it under {}?", member("volumeClaimTemplates[0]")))
    } else if let Some(nearest) = nearest(name, fields) {
        Some(format!("did you mean {}?", member(nearest)))
    } else {
        let owner = around.iter().skip(1).find(|trail| trail.fields().contains(&name));
        owner.map(|owner| {
            let path = owner.path();
            format!("did you mean {}?", if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") })
        })
    };
    let violation = Violation::new(ViolationKind::UnknownField, path, message);
    match hint {
        Some(hint) => violation.hint(hint),
        None => violation,
    }
}

/// What a misplaced field leaves missing in the section where it belongs.
fn missing_below(inside: Option<&Trail<'_>>, section: &str, name: &str) -> Option<String> {
    let there = inside?.value().get(section).and_then(|section| section.get(name));
    let missing = there.is_none_or(Value::is_null);
    let is_claim = inside?.value().pointer("/spec/accessModes").is_some() || name == "resources";
    let path = match name {
        "resources" if is_claim => format!("{section}.resources.requests.storage"),
        _ => format!("{section}.{name}"),
    };
    missing.then_some(path)
}

/// The field that differs least from `name`, if it differs little.
pub(super) fn nearest(name: &str, fields: &[&'static str]) -> Option<&'static str> {
    /// No field name is longer; keeps the comparison of nonsense cheap.
    const NAME_LENGTH_MAX: usize = 64;
    if name.len() > NAME_LENGTH_MAX {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let allowed = (name.len() / 3).clamp(1, 3);
    let distances = fields.iter().map(|field| (distance(&lower, &field.to_ascii_lowercase()), *field));
    distances.min().filter(|(distance, _)| *distance <= allowed).map(|(_, field)| field)
}

/// Edit distance: insert, delete, replace, swap of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let replace = above[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            row[j] = replace.min(above[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_field() {
        let fields = ["replicas", "serviceName", "selector", "template"];
        for (typed, meant) in [
            ("replica", Some("replicas")),
            ("relpicas", Some("replicas")),
            ("servicename", Some("serviceName")),
            ("tempalte", Some("template")),
            ("containers", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, &fields), meant, "{typed}");
        }
    }
}
