//! StatefulSets (StatefulSet rules, sections 2 and 3.5).

use std::collections::BTreeSet;

use domain::{Ordinal, Switches};
use serde_json::Value;

use super::super::field::Field;
use super::super::own;
use super::super::selector::Selector;
use super::super::violation::{Report, quote};
use super::{label_name, label_selector, label_value_error, labels, not_negative, one_of, pod, qualified_name, volume};

/// The most pods of one set. Kubernetes names no number; every pass looks at every pod, and ten thousand is an order of
/// magnitude above the largest sets in use.
pub(in super::super) const REPLICAS_MAX: i64 = 10_000;

/// The most claim templates of one set. Each costs a claim and a mount per pod.
const CLAIM_TEMPLATES_MAX: usize = 100;

/// The most bytes of a template as JSON. Each kept revision holds one.
const TEMPLATE_BYTES_MAX: usize = 1 << 20;

/// The longest set name whose revision label, `<set>-<10 characters>`, fits.
const NAME_LENGTH_SAFE: usize = 52;

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
     '93%', regex used for validation is '[0-9]+%')";

pub(super) fn validate(set: &Field<'_>, switches: Switches, report: &mut Report) {
    let spec = set.get("spec");
    numbers(&spec, report);
    name_fits(&set.get("metadata").get("name"), &spec, switches, report);
    own::validate(&spec, report);
    one_policy(&spec.get("podManagementPolicy"), report);
    update_strategy(&spec.get("updateStrategy"), report);
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        one_of(&retention.get(when), &["Retain", "Delete"], report);
    }
    let service = spec.get("serviceName");
    if service.is_empty() {
        report.warn(&service.path, "is empty: the pods get no stable DNS names");
    }
    label_name(&service, report);
    selector(&spec, report);
    claim_templates(&spec, report);
    template(&spec, report);
    suspicious_numbers(&spec, report);
}

fn numbers(spec: &Field<'_>, report: &mut Report) {
    let (replicas, start) = (spec.get("replicas"), spec.get("ordinals").get("start"));
    let rolling = spec.get("updateStrategy").get("rollingUpdate");
    for number in [&replicas, &spec.get("minReadySeconds"), &start, &rolling.get("partition")] {
        not_negative(number, report);
    }
    let count = replicas.integer().unwrap_or(1);
    if count > REPLICAS_MAX {
        report.invalid(&replicas.path, replicas.value, format_args!("must be less than or equal to {REPLICAS_MAX}"));
    }
    let last = last_ordinal(spec);
    if count <= REPLICAS_MAX && last > i64::from(Ordinal::MAX.0) {
        let most = start.integer().unwrap_or(0) - (last - i64::from(Ordinal::MAX.0));
        report.invalid(
            &start.path,
            start.value,
            format_args!("must be less than or equal to {most} for {count} replicas"),
        );
    }
}

/// The largest ordinal, reserved ones counted; of a set without replicas that of its first pod.
fn last_ordinal(spec: &Field<'_>) -> i64 {
    let start = spec.get("ordinals").get("start").integer().unwrap_or(0);
    let replicas = spec.get("replicas").integer().unwrap_or(1).clamp(1, REPLICAS_MAX);
    let reserved = own::reserved(spec).into_iter().map(|ordinal| i64::from(ordinal.0));
    reserved
        .filter(|ordinal| *ordinal >= start)
        .fold(start + replicas - 1, |last, reserved| last + i64::from(reserved <= last))
}

/// Pod names are labels, hostnames and label values, so the longest of them has to fit.
fn name_fits(name: &Field<'_>, spec: &Field<'_>, switches: Switches, report: &mut Report) {
    let last = last_ordinal(spec).clamp(0, i64::from(Ordinal::MAX.0));
    let most = domain::DNS_LABEL_LENGTH_MAX - 1 - last.to_string().len();
    let length = name.text().len();
    if length > most && length <= domain::DNS_LABEL_LENGTH_MAX {
        let why = format!("the name of its last pod, {}-{last}, would have more than 63 characters", name.text());
        if !switches.refuse_long_names {
            report.warn(&name.path, format_args!("{why}: it cannot be created"));
            return;
        }
        let violation = report.invalid(&name.path, name.value, why);
        violation.hint = Some(format!("use a name of at most {} characters", most.min(NAME_LENGTH_SAFE)));
    } else if (NAME_LENGTH_SAFE + 1..=most).contains(&length) {
        let message = "has more than 52 characters: with more replicas, names of its pods and revisions may not fit";
        report.warn(&name.path, message);
    }
}

fn one_policy(policy: &Field<'_>, report: &mut Report) {
    if policy.is_set() && !["OrderedReady", "Parallel"].contains(&policy.text()) {
        report.invalid(&policy.path, policy.value, "must be 'OrderedReady' or 'Parallel'");
    }
}

fn update_strategy(strategy: &Field<'_>, report: &mut Report) {
    let block = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "RollingUpdate" => max_unavailable(&block.get("maxUnavailable"), report),
        "OnDelete" if block.is_set() => {
            report.invalid(&block.path, block.value, "only allowed for updateStrategy 'RollingUpdate'");
        }
        "OnDelete" => {}
        _ => {
            report.invalid(&strategy.path, strategy.value, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

fn max_unavailable(field: &Field<'_>, report: &mut Report) {
    let number = match field.value {
        Value::String(text) => {
            let digits = text.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
            if digits.is_none() {
                report.invalid(&field.path, field.value, PERCENT);
            }
            // Too many digits are more than 100 as well.
            let percent = digits.map_or(0, |digits| digits.parse().unwrap_or(u32::MAX));
            if percent > 100 {
                report.invalid(&field.path, field.value, "must not be greater than 100%");
            }
            i64::from(percent)
        }
        other => {
            not_negative(field, report);
            other.as_i64().unwrap_or(1)
        }
    };
    if number == 0 {
        report.invalid(&field.path, field.value, "cannot be 0");
    }
}

fn selector(spec: &Field<'_>, report: &mut Report) {
    let field = spec.get("selector");
    let labels = spec.get("template").get("metadata").get("labels");
    if !field.is_set() {
        report.required(&field.path, "");
    } else {
        label_selector(&field, report);
        if field.get("matchLabels").is_empty() && field.get("matchExpressions").is_empty() {
            report.invalid(&field.path, field.value, "empty selector is invalid for statefulset");
        }
    }
    let parsed = Selector::from_label_selector(field.value);
    let matched = field.is_set() && parsed.as_ref().is_ok_and(|selector| selector.matches_value(labels.value));
    if !matched && (parsed.is_ok() || !field.is_set()) {
        let empty = Value::Object(serde_json::Map::new());
        let shown = if labels.is_set() { labels.value } else { &empty };
        let violation = report.invalid(&labels.path, shown, "`selector` does not match template `labels`");
        if field.is_set() {
            violation.hint = Some(format!("spec.selector is {}", quote(field.value)));
        }
    }
}

fn template(spec: &Field<'_>, report: &mut Report) {
    let template = spec.get("template");
    if template.value.to_string().len() > TEMPLATE_BYTES_MAX {
        report.invalid(
            &template.path,
            &Value::Null,
            format_args!("must have at most {TEMPLATE_BYTES_MAX} bytes as JSON"),
        );
        return;
    }
    // The path that the Kubernetes API reports has no `metadata` in it.
    let template_labels = template.get("metadata").get("labels");
    labels(&Field { path: format!("{}.labels", template.path), value: template_labels.value }, report);
    let claims: BTreeSet<&str> =
        spec.get("volumeClaimTemplates").items().map(|claim| claim.get("metadata").get("name").text()).collect();
    let pod = template.get("spec");
    pod::validate_spec(&pod, &claims, report);
    let restart = pod.get("restartPolicy");
    if restart.is_set() && ["OnFailure", "Never"].contains(&restart.text()) {
        report.unsupported(&restart.path, restart.value, &["Always"]);
    }
    let deadline = pod.get("activeDeadlineSeconds");
    if deadline.is_set() {
        report.forbidden(&deadline.path, "activeDeadlineSeconds in StatefulSet is not Supported");
    }
    let ephemeral = pod.get("ephemeralContainers");
    if ephemeral.is_set() {
        report.forbidden(&ephemeral.path, "ephemeral containers not allowed in pod template");
    }
    for name in ["hostname", "subdomain"] {
        let field = pod.get(name);
        if field.is_set() {
            report.warn(&field.path, "is overwritten in every pod: the pod's name and serviceName are used");
        }
    }
}

fn claim_templates(spec: &Field<'_>, report: &mut Report) {
    let field = spec.get("volumeClaimTemplates");
    if field.items().count() > CLAIM_TEMPLATES_MAX {
        report.invalid(&field.path, &Value::Null, format_args!("must have at most {CLAIM_TEMPLATES_MAX} items"));
        return;
    }
    if field.is_empty() {
        report.warn(&field.path, "is empty: what the pods write is lost with them");
    }
    let pod = spec.get("template").get("spec");
    let lists = ["containers", "initContainers"].map(|list| pod.get(list));
    let mounted: BTreeSet<&str> = lists
        .iter()
        .flat_map(Field::items)
        .flat_map(|container| ["volumeMounts", "volumeDevices"].map(|mounts| container.get(mounts)))
        .flat_map(|mounts| mounts.items().map(|mount| mount.get("name").text()).collect::<Vec<_>>())
        .collect();
    let volumes: BTreeSet<&str> = pod.get("volumes").items().map(|volume| volume.get("name").text()).collect();
    let mut names = BTreeSet::new();
    for template in field.items() {
        let name = template.get("metadata").get("name");
        if name.is_empty() {
            report.required(&name.path, "the claims and the volume of the pods are named after it");
        } else {
            label_name(&name, report);
            if !names.insert(name.text()) {
                report.warn(&name.path, format_args!("{:?} is there twice: only one of them is used", name.text()));
            }
            if !mounted.contains(name.text()) {
                report.warn(&name.path, format_args!("no container mounts {:?}", name.text()));
            }
            if volumes.contains(name.text()) {
                report.warn(&name.path, format_args!("{:?} takes the place of a volume of the template", name.text()));
            }
        }
        for (key, value) in template.get("metadata").get("labels").entries() {
            let path = template.get("metadata").get("labels").path;
            qualified_name(&path, key, report);
            if let Some(why) = label_value_error(value.as_str().unwrap_or_default()) {
                report.invalid(&path, value, why);
            }
        }
        volume::claim(&template.get("spec"), report);
    }
}

fn suspicious_numbers(spec: &Field<'_>, report: &mut Report) {
    let replicas = spec.get("replicas").integer().unwrap_or(1);
    let block = spec.get("updateStrategy").get("rollingUpdate");
    let partition = block.get("partition");
    if partition.integer().is_some_and(|partition| partition > replicas) {
        report.warn(&partition.path, "is greater than replicas: no pod is updated");
    }
    let max_unavailable = block.get("maxUnavailable");
    if max_unavailable.integer().is_some_and(|number| number > replicas.max(1)) {
        report.warn(&max_unavailable.path, "is greater than replicas: all pods may be down at once");
    }
    let limit = spec.get("revisionHistoryLimit");
    if limit.integer().is_some_and(|limit| limit < 0) {
        report.warn(&limit.path, "a negative value retains all historical revisions; a value >= 0 is recommended");
    }
}
