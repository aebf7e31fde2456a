//! Pods, and the pod part of templates (pod rules 7.3, 11 and 12).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::field::Field;
use super::super::violation::Report;
use super::{
    container, label_name, label_value_error, no_backsteps, not_negative, one_of, qualified_name, relative_path,
};

/// The most containers of one pod, of each sort. Each is a process with pipes and files.
const CONTAINERS_MAX: usize = 100;

/// The most volumes of one pod.
const VOLUMES_MAX: usize = 500;

pub(super) fn validate(pod: &Field<'_>, report: &mut Report) {
    let spec = pod.get("spec");
    validate_spec(&spec, &BTreeSet::new(), report);
    label_name(&spec.get("hostname"), report);
    label_name(&spec.get("subdomain"), report);
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.integer().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        report.invalid(&deadline.path, deadline.value, "must be between 1 and 2147483647, inclusive");
    }
    let ephemeral = spec.get("ephemeralContainers");
    if ephemeral.is_set() {
        report.forbidden(&ephemeral.path, "cannot be set on create");
    }
}

/// Checks a pod spec. `claims` are volumes that it has from elsewhere: the claim templates of its set.
pub(super) fn validate_spec(spec: &Field<'_>, claims: &BTreeSet<&str>, report: &mut Report) {
    let volumes = volumes(&spec.get("volumes"), claims, report);
    containers(spec, &volumes, report);
    one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"], report);
    dns(spec, report);
    let grace = spec.get("terminationGracePeriodSeconds");
    match grace.integer() {
        Some(0) => report.warn(&grace.path, "is 0: a pod is killed at once, and two of one name may write at a time"),
        Some(..0) => report.warn(&grace.path, "is negative: 1 is used"),
        _ => {}
    }
    for (key, value) in spec.get("nodeSelector").entries() {
        let path = format!("{}.nodeSelector", spec.path);
        qualified_name(&path, key, report);
        if let Some(why) = label_value_error(value.as_str().unwrap_or_default()) {
            report.invalid(&path, value, why);
        }
    }
    for alias in spec.get("hostAliases").items() {
        address(&alias.get("ip"), report);
    }
    let context = spec.get("securityContext");
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        not_negative(&context.get(name), report);
    }
    for group in context.get("supplementalGroups").items() {
        not_negative(&group, report);
    }
    one_of(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], report);
}

fn containers(spec: &Field<'_>, volumes: &BTreeSet<&str>, report: &mut Report) {
    let (regular, init) = (spec.get("containers"), spec.get("initContainers"));
    if regular.is_empty() {
        report.required(&regular.path, "");
    }
    let mut names = BTreeSet::new();
    for (list, is_init) in [(&init, true), (&regular, false)] {
        if list.items().count() > CONTAINERS_MAX {
            let count = serde_json::Value::from(list.items().count());
            report.invalid(&list.path, &count, format_args!("must have at most {CONTAINERS_MAX} items"));
            continue;
        }
        for item in list.items() {
            let name = item.get("name");
            if name.is_empty() {
                report.required(&name.path, "");
            } else if !names.insert(name.text()) {
                report.duplicate(&name.path, name.value);
            }
            container::validate(&item, is_init, volumes, report);
        }
    }
}

fn dns(spec: &Field<'_>, report: &mut Report) {
    let policy = spec.get("dnsPolicy");
    one_of(&policy, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], report);
    let config = spec.get("dnsConfig");
    let servers = config.get("nameservers");
    if policy.text() == "None" && servers.is_empty() {
        report.required(&servers.path, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if servers.items().count() > 3 {
        report.invalid(&servers.path, servers.value, "must not have more than 3 nameservers");
    }
    for server in servers.items() {
        address(&server, report);
    }
    let searches = config.get("searches");
    if searches.items().count() > 32 {
        report.invalid(&searches.path, searches.value, "must not have more than 32 search paths");
    }
    for option in config.get("options").items() {
        let name = option.get("name");
        if name.is_empty() {
            report.required(&name.path, "must not be empty");
        }
    }
}

fn address(field: &Field<'_>, report: &mut Report) {
    if field.text().parse::<IpAddr>().is_err() {
        report.invalid(&field.path, field.value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

/// Checks the volumes and returns the names that containers can mount.
fn volumes<'a>(list: &Field<'a>, claims: &BTreeSet<&'a str>, report: &mut Report) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    if list.items().count() > VOLUMES_MAX {
        let count = serde_json::Value::from(list.items().count());
        report.invalid(&list.path, &count, format_args!("must have at most {VOLUMES_MAX} items"));
    }
    for volume in list.items().take(VOLUMES_MAX) {
        let name = volume.get("name");
        if name.is_empty() {
            report.required(&name.path, "");
        } else {
            label_name(&name, report);
            if !names.insert(name.text()) {
                report.duplicate(&name.path, name.value);
            }
        }
        // Fields that do not exist are reported elsewhere; one source is what is left.
        for (extra, _) in volume.entries().filter(|(key, _)| *key != "name").skip(1) {
            report.forbidden(&volume.get(extra).path, "may not specify more than 1 volume type");
        }
        source(&volume, report);
    }
    names.extend(claims);
    names
}

fn source(volume: &Field<'_>, report: &mut Report) {
    let claim = volume.get("persistentVolumeClaim");
    required_member(&claim, "claimName", report);
    required_member(&volume.get("secret"), "secretName", report);
    required_member(&volume.get("configMap"), "name", report);
    host_path(&volume.get("hostPath"), report);
    one_of(&volume.get("emptyDir").get("medium"), &["", "Memory", "HugePages"], report);
    for name in ["secret", "configMap", "downwardAPI"] {
        files(&volume.get(name), report);
    }
    for projected in volume.get("projected").get("sources").items() {
        for name in ["secret", "configMap", "downwardAPI"] {
            files(&projected.get(name), report);
        }
    }
}

fn required_member(source: &Field<'_>, name: &str, report: &mut Report) {
    let member = source.get(name);
    if source.is_set() && member.is_empty() {
        report.required(&member.path, "");
    }
}

/// Checks a directory of the machine, as a pod's volume or as a persistent one.
pub(super) fn host_path(source: &Field<'_>, report: &mut Report) {
    if !source.is_set() {
        return;
    }
    let path = source.get("path");
    if path.is_empty() {
        report.required(&path.path, "");
    }
    no_backsteps(&path, report);
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    one_of(&source.get("type"), &TYPES, report);
}

/// Checks the files that a volume makes of keys.
fn files(source: &Field<'_>, report: &mut Report) {
    let mode = |field: &Field<'_>, report: &mut Report| {
        if field.integer().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
            report.invalid(&field.path, field.value, "must be a number between 0 and 0777 (octal), both inclusive");
        }
    };
    mode(&source.get("defaultMode"), report);
    for item in source.get("items").items() {
        mode(&item.get("mode"), report);
        let path = item.get("path");
        if path.is_empty() {
            report.required(&path.path, "");
        }
        relative_path(&path, report);
    }
}
