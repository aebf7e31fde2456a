//! Rules for values, with the texts of the Kubernetes API.

use domain::{InvalidName, Switches};
use serde_json::Value;

use super::field::Field;
use super::violation::Report;
use super::{Kind, selector};

mod config;
mod container;
mod pod;
mod service;
mod set;
mod volume;

pub(super) use set::REPLICAS_MAX;

/// The most bytes of all annotations of one object.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

/// The most labels of one object. Kubernetes has no bound; every listing and every selector pays for each.
const LABELS_MAX: usize = 1_000;

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and \
     end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Checks a defaulted object. `report` may already hold what is wrong with its shape.
pub(super) fn validate(kind: Kind, value: &Value, switches: Switches, report: &mut Report) {
    let object = Field::root(value);
    metadata(kind, &object.get("metadata"), report);
    match kind {
        Kind::StatefulSet => set::validate(&object, switches, report),
        Kind::Service => service::validate(&object.get("spec"), report),
        Kind::Pod => pod::validate(&object, report),
        Kind::PersistentVolume => volume::volume(&object.get("spec"), report),
        Kind::PersistentVolumeClaim => volume::claim(&object.get("spec"), report),
        Kind::StorageClass => volume::class(&object, report),
        Kind::ConfigMap | Kind::Secret => config::validate(kind, &object, report),
        Kind::Namespace | Kind::Event | Kind::ControllerRevision | Kind::Decision | Kind::Node => {}
    }
}

fn metadata(kind: Kind, metadata: &Field<'_>, report: &mut Report) {
    let name = metadata.get("name");
    if name.is_empty() {
        let violation = report.required(&name.path, "name or generateName is required");
        if metadata.get("generateName").is_set() {
            violation.hint = Some("a generated name cannot be applied again: write metadata.name".to_owned());
        }
    } else {
        match kind {
            Kind::StatefulSet | Kind::Service | Kind::Namespace => label_name(&name, report),
            _ => subdomain(&name, report),
        }
    }
    if kind.namespaced() {
        label_name(&metadata.get("namespace"), report);
    }
    labels(&metadata.get("labels"), report);
    annotations(&metadata.get("annotations"), report);
    owner_references(&metadata.get("ownerReferences"), report);
}

/// An owner that is not wholly named is never found, and nobody could tell when it is gone.
fn owner_references(references: &Field<'_>, report: &mut Report) {
    let mut controller = None;
    for owner in references.items() {
        let text = |field: &str| owner.value.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion");
        let mut require = |field: &str, filled: bool, why: &str| {
            if !filled {
                report.invalid(&format!("{}.{field}", owner.path), &text(field).into(), why);
            }
        };
        let of_version = version.split_once('/').map_or(version, |(_, version)| version);
        require("apiVersion", !of_version.is_empty() && !of_version.contains('/'), "version must not be empty");
        for field in ["kind", "name", "uid"] {
            require(field, !text(field).is_empty(), "must not be empty");
        }
        if (version, text("kind")) == ("v1", "Event") {
            report.invalid(&owner.path, owner.value, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").flag() {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => {
                    let why = "Only one reference can have Controller set to true. Found \"true\" in references for";
                    report.invalid(&owner.path, owner.value, format_args!("{why} {first} and {this}"));
                }
                None => controller = Some(this),
            }
        }
    }
}

/// Checks the syntax of labels.
fn labels(labels: &Field<'_>, report: &mut Report) {
    if labels.entries().count() > LABELS_MAX {
        report.invalid(&labels.path, &Value::Null, format_args!("must have at most {LABELS_MAX} items"));
        return;
    }
    for (key, value) in labels.entries() {
        qualified_name(&labels.path, key, report);
        if let Some(why) = label_value_error(value.as_str().unwrap_or_default()) {
            report.invalid(&labels.path, value, why);
        }
    }
}

fn annotations(annotations: &Field<'_>, report: &mut Report) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        qualified_name(&annotations.path, &key.to_ascii_lowercase(), report);
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        report.invalid(
            &annotations.path,
            &Value::Null,
            format_args!("must have at most {ANNOTATIONS_BYTES_MAX} bytes"),
        );
    }
}

/// Why a text cannot be the value of a label.
pub(super) fn label_value_error(text: &str) -> Option<String> {
    if text.len() > domain::DNS_LABEL_LENGTH_MAX {
        return Some("must be no more than 63 characters".to_owned());
    }
    (!text.is_empty() && !is_name_part(text)).then(|| LABEL_VALUE.to_owned())
}

/// Checks a key of labels: a name, perhaps after a DNS name and a slash.
pub(super) fn qualified_name(path: &str, key: &str, report: &mut Report) {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let quoted = Value::from(key);
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            report.invalid(path, &quoted, "prefix part must be non-empty");
        } else if domain::is_dns_subdomain(prefix).is_err() {
            report.invalid(path, &quoted, format_args!("prefix part {SUBDOMAIN}"));
        }
    }
    if name.is_empty() {
        report.invalid(path, &quoted, "name part must be non-empty");
    } else if name.len() > domain::DNS_LABEL_LENGTH_MAX {
        report.invalid(path, &quoted, "name part must be no more than 63 characters");
    } else if !is_name_part(name) {
        report.invalid(path, &quoted, QUALIFIED_NAME);
    }
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inside)
}

/// Checks an RFC 1123 label.
fn label_name(name: &Field<'_>, report: &mut Report) {
    let text = name.text();
    if text.contains('.') {
        report.invalid(&name.path, name.value, "must not contain dots");
        return;
    }
    match domain::is_dns_label(text) {
        Ok(()) | Err(InvalidName::Empty) => {}
        Err(error) => {
            let bad_characters = || text.chars().any(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            if matches!(error, InvalidName::TooLong { .. }) && bad_characters() {
                report.invalid(&name.path, name.value, InvalidName::NotALabel);
            }
            report.invalid(&name.path, name.value, error);
        }
    }
}

/// Checks an RFC 1123 subdomain.
fn subdomain(name: &Field<'_>, report: &mut Report) {
    match domain::is_dns_subdomain(name.text()) {
        Ok(()) => {}
        Err(InvalidName::TooLong { max }) if name.text().len() > max => {
            report.invalid(&name.path, name.value, format_args!("must be no more than {max} characters"));
        }
        Err(_) => {
            report.invalid(&name.path, name.value, SUBDOMAIN);
        }
    }
}

/// Checks that the text, if there is one, is among those that are known.
fn one_of(field: &Field<'_>, supported: &[&str], report: &mut Report) {
    if field.is_set() && !supported.contains(&field.text()) {
        report.unsupported(&field.path, field.value, supported);
    }
}

/// Checks that the number, if there is one, is not negative.
fn not_negative(field: &Field<'_>, report: &mut Report) {
    if field.integer().is_some_and(|number| number < 0) {
        report.invalid(&field.path, field.value, "must be greater than or equal to 0");
    }
}

/// Checks the number of a port.
fn port_number(field: &Field<'_>, report: &mut Report) {
    if field.integer().is_some_and(|number| !(1..=65_535).contains(&number)) {
        report.invalid(&field.path, field.value, "must be between 1 and 65535, inclusive");
    }
}

/// Checks a path below another: relative, and never upwards.
fn relative_path(field: &Field<'_>, report: &mut Report) {
    if field.text().starts_with('/') {
        report.invalid(&field.path, field.value, "must be a relative path");
    }
    no_backsteps(field, report);
}

fn no_backsteps(field: &Field<'_>, report: &mut Report) {
    if field.text().split('/').any(|part| part == "..") {
        report.invalid(&field.path, field.value, "must not contain '..'");
    }
}

/// Checks the syntax of a label selector.
fn label_selector(field: &Field<'_>, report: &mut Report) {
    selector::validate(field, report);
}
