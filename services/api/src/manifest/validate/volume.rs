//! Claims, volumes and classes (volume rules 1.1 to 1.4).

use domain::{Quantity, quantity_nanos};
use serde_json::Value;

use super::super::field::Field;
use super::super::violation::Report;
use super::{label_selector, no_backsteps, one_of, pod, subdomain};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Everything a volume can be made of.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// The most parameters of a class, and the most bytes of them.
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 << 10;

/// Checks the spec of a claim, or of a claim template.
pub(super) fn claim(spec: &Field<'_>, report: &mut Report) {
    access_modes(&spec.get("accessModes"), report);
    let resources = spec.get("resources");
    let size = resources.get("requests").get("storage");
    let storage = Field { path: resources.entry("storage").path, value: size.value };
    if size.is_set() {
        positive(&storage, report);
    } else {
        let violation = report.required(&storage.path, "");
        violation.hint = Some(format!("{} is missing", size.path));
    }
    one_of(&spec.get("volumeMode"), &["Block", "Filesystem"], report);
    class_name(&spec.get("storageClassName"), report);
    let selector = spec.get("selector");
    if selector.is_set() {
        label_selector(&selector, report);
    }
}

fn access_modes(modes: &Field<'_>, report: &mut Report) {
    if modes.is_empty() {
        report.required(&modes.path, "at least 1 access mode is required");
    }
    for mode in modes.items() {
        if !ACCESS_MODES.contains(&mode.text()) {
            report.unsupported(&modes.path, mode.value, &ACCESS_MODES);
        }
    }
    let alone = modes.items().count() == 1;
    if !alone && modes.items().any(|mode| mode.text() == "ReadWriteOncePod") {
        report.forbidden(&modes.path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn positive(size: &Field<'_>, report: &mut Report) {
    match quantity_nanos(size.text()) {
        Ok(0) => {
            report.invalid(&size.path, size.value, "must be greater than zero");
        }
        Ok(nanos) if !nanos.is_multiple_of(1_000_000_000) => {
            let bytes = size.text().parse::<Quantity>().map_or(0, |quantity| quantity.0);
            report.warn(&size.path, format_args!("{} is rounded up to {bytes} bytes", size.text()));
        }
        // What is no quantity was reported when its form was looked at.
        Ok(_) | Err(_) => {}
    }
}

fn class_name(name: &Field<'_>, report: &mut Report) {
    if !name.is_empty() {
        subdomain(name, report);
    }
}

/// Checks the spec of a volume.
pub(super) fn volume(spec: &Field<'_>, report: &mut Report) {
    access_modes(&spec.get("accessModes"), report);
    capacity(&spec.get("capacity"), report);
    class_name(&spec.get("storageClassName"), report);
    one_of(&spec.get("volumeMode"), &["Block", "Filesystem"], report);
    let policy = spec.get("persistentVolumeReclaimPolicy");
    one_of(&policy, &["Delete", "Recycle", "Retain"], report);
    let sources: Vec<_> = SOURCES.iter().map(|source| spec.get(source)).filter(Field::is_set).collect();
    if sources.is_empty() {
        report.required(&spec.path, "must specify a volume type");
    }
    for extra in sources.iter().skip(1) {
        report.forbidden(&extra.path, "may not specify more than 1 volume type");
    }
    let host_path = spec.get("hostPath");
    pod::host_path(&host_path, report);
    if policy.text() == "Recycle" && host_path.get("path").text().trim_end_matches('/').is_empty() && host_path.is_set()
    {
        report.forbidden(&policy.path, "may not be 'recycle' for a hostPath mount of '/'");
    }
    local(spec, report);
    csi(&spec.get("csi"), report);
    let claim = spec.get("claimRef");
    for name in ["namespace", "name"] {
        if claim.is_set() && claim.get(name).is_empty() {
            report.required(&claim.get(name).path, "");
        }
    }
}

fn capacity(capacity: &Field<'_>, report: &mut Report) {
    if capacity.is_empty() {
        report.required(&capacity.path, "");
        return;
    }
    for (resource, _) in capacity.entries() {
        if resource == "storage" {
            positive(&capacity.entry("storage"), report);
        } else {
            report.unsupported(&capacity.path, &Value::from(resource), &["storage"]);
        }
    }
}

fn local(spec: &Field<'_>, report: &mut Report) {
    let local = spec.get("local");
    if !local.is_set() {
        return;
    }
    let path = local.get("path");
    if path.is_empty() {
        report.required(&path.path, "");
    }
    no_backsteps(&path, report);
    let affinity = spec.get("nodeAffinity");
    if !affinity.get("required").is_set() {
        report.required(&affinity.path, "Local volume requires node affinity");
    }
}

fn csi(csi: &Field<'_>, report: &mut Report) {
    if !csi.is_set() {
        return;
    }
    let driver = csi.get("driver");
    if driver.is_empty() {
        report.required(&driver.path, "");
    } else if driver.text().len() > 63 {
        report.invalid(&driver.path, driver.value, "must be no more than 63 characters");
    } else {
        let lower = Value::from(driver.text().to_ascii_lowercase());
        subdomain(&Field { path: driver.path.clone(), value: &lower }, report);
    }
    let handle = csi.get("volumeHandle");
    if handle.is_empty() {
        report.required(&handle.path, "");
    }
    const SECRETS: [&str; 5] = [
        "controllerExpandSecretRef",
        "controllerPublishSecretRef",
        "nodeExpandSecretRef",
        "nodePublishSecretRef",
        "nodeStageSecretRef",
    ];
    for secret in SECRETS.iter().map(|name| csi.get(name)).filter(Field::is_set) {
        for name in ["name", "namespace"] {
            if secret.get(name).is_empty() {
                report.required(&secret.get(name).path, "");
            }
        }
    }
}

/// Checks a class.
pub(super) fn class(class: &Field<'_>, report: &mut Report) {
    let provisioner = class.get("provisioner");
    if provisioner.is_empty() {
        report.required(&provisioner.path, "");
    } else {
        super::qualified_name(&provisioner.path, &provisioner.text().to_ascii_lowercase(), report);
    }
    one_of(&class.get("reclaimPolicy"), &["Delete", "Retain"], report);
    one_of(&class.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"], report);
    let parameters = class.get("parameters");
    let bytes: usize = parameters.entries().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if parameters.entries().count() > PARAMETERS_MAX || bytes > PARAMETERS_BYTES_MAX {
        let why = format!("must have at most {PARAMETERS_MAX} items and {PARAMETERS_BYTES_MAX} bytes");
        report.invalid(&parameters.path, &Value::Null, why);
    }
}
