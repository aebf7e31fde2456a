//! Reading manifests: from text to checked objects.
//!
//! [`parse`] reads YAML or JSON within fixed bounds; [`admit_create`] checks a document's fields against the Kubernetes
//! types, brings it into canonical form, fills in defaults and applies the rules of its kind; [`admit_update`] lays it
//! over the stored object. All of it is pure. Whatever is wrong is reported at once, each violation with its field, its
//! line and, where it can be guessed, what was meant.

use std::collections::BTreeMap;

use domain::Switches;
use serde_json::Value;

mod defaults;
mod field;
mod kind;
mod normalize;
mod own;
mod read;
mod revision;
mod schema;
pub mod selector;
mod status;
mod strict;
mod suggest;
#[cfg(test)]
mod tests;
mod update;
mod validate;
mod view;
mod violation;

pub use kind::Kind;
pub use own::PAUSED_ANNOTATION;
pub use read::{DOCUMENTS_MAX, MANIFEST_BYTES_MAX, RawDocument, parse, parse_values};
pub use revision::{redefault_template, template_from_revision, template_revision_data};
pub use status::admit_status;
pub use update::{Update, admit_update};
pub use view::{default_storage_class, labels, set_spec};
pub use violation::{Violation, ViolationKind};

use violation::{Report, quote};

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The largest object, in bytes: a Secret with a mebibyte of data, which base64 makes a third longer, and some room.
pub const OBJECT_BYTES_MAX: usize = 2 << 20;

/// The most replicas of one set.
pub const REPLICAS_MAX: i64 = validate::REPLICAS_MAX;

/// Fields of metadata that the system writes; in a manifest they are left out of what is created.
const SYSTEM_METADATA: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
];

/// An object that may be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// Canonical JSON, with defaults. Without uid, generation, creation time and resource version, which the system
    /// gives.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
    /// `metadata.resourceVersion` as written: the stored object must still have it.
    pub resource_version: Option<String>,
    /// `metadata.uid` as written: the stored object must have it.
    pub uid: Option<String>,
    /// Whether `spec.replicas` was left out: an update leaves the stored number alone, if the manifest before left it
    /// out as well.
    pub unset_replicas: bool,
    /// Whether `spec.paused` was left out: an update leaves a stored pause alone.
    pub unset_paused: bool,
}

impl Manifest {
    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// Namespace; empty for kinds that have none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    fn metadata(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }
}

/// Where an object was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// Index of the document in the manifest, from 0.
    pub document: usize,
    /// Line where it begins, from 1; absent for objects that were not text.
    pub line: Option<usize>,
}

impl Origin {
    fn object_of(self, kind: Kind, value: &Value) -> String {
        object_label(kind.name(), value, self.document)
    }
}

/// A whole manifest that may be stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// Its objects, in the order of the text.
    pub objects: Vec<Manifest>,
    /// What is suspicious, each with its object.
    pub warnings: Vec<String>,
}

/// Checks all documents of a manifest.
///
/// # Errors
/// Every violation of every document. One is enough to refuse the whole manifest.
pub fn admit_all(
    documents: Vec<RawDocument>,
    default_namespace: &str,
    switches: Switches,
) -> Result<Parsed, Vec<Violation>> {
    let (mut parsed, mut violations) = (Parsed::default(), Vec::new());
    let mut seen: BTreeMap<(Kind, String, String), usize> = BTreeMap::new();
    for document in documents {
        match admit_create(document, default_namespace, switches) {
            Err(found) => violations.extend(found),
            Ok((manifest, warnings)) => {
                parsed.warnings.extend(warnings);
                let key = (manifest.kind, manifest.namespace().to_owned(), manifest.name().to_owned());
                match seen.get(&key).map(|&index| &parsed.objects[index]) {
                    None => {
                        seen.insert(key, parsed.objects.len());
                        parsed.objects.push(manifest);
                    }
                    // Bundles repeat their namespace; the same twice is the same once.
                    Some(first) if first.value == manifest.value => {}
                    Some(first) => violations.push(written_twice(first, &manifest)),
                }
            }
        }
    }
    if violations.is_empty() { Ok(parsed) } else { Err(violations) }
}

fn written_twice(first: &Manifest, second: &Manifest) -> Violation {
    let name = &second.value["metadata"]["name"];
    let mut violation =
        Violation::new(ViolationKind::Duplicate, "metadata.name", format!("Duplicate value: {}", quote(name)));
    violation.hint = first.origin.line.map(|line| format!("the object in line {line} has this name and differs"));
    violation.object = Some(second.origin.object_of(second.kind, &second.value));
    (violation.document, violation.line) = (second.origin.document, second.origin.line);
    violation
}

/// Fills in what a pod leaves out that no manifest made, so that it can be read, changed and applied like any other.
pub fn default_pod(pod: &mut Value) {
    defaults::default_object(Kind::Pod, pod);
}

/// Checks one document as an object to be created, and fills in its defaults. Returns warnings beside it. `switches`
/// say what is refused that Kubernetes takes.
///
/// # Errors
/// Every violation of the document.
pub fn admit_create(
    mut document: RawDocument,
    default_namespace: &str,
    switches: Switches,
) -> Result<(Manifest, Vec<String>), Vec<Violation>> {
    let mut report = Report::default();
    let mut value = std::mem::take(&mut document.value);
    let kind = kind_of(&value, &mut report).filter(|_| small_enough(&value, &mut report));
    let admitted = kind.map(|kind| admit(kind, &mut value, default_namespace, switches, &mut report));
    let kind_name = value["kind"].as_str().unwrap_or_default();
    let object = object_label(kind_name, &value, document.index);
    if let (Some(kind), Some(rest), true) = (kind, admitted, report.violations.is_empty()) {
        let warnings = report.warnings.into_iter().map(|warning| format!("{object}: {warning}")).collect();
        let origin = Origin { document: document.index, line: document.line };
        let Preconditions { resource_version, uid, unset_replicas, unset_paused } = rest;
        let manifest = Manifest { kind, value, origin, resource_version, uid, unset_replicas, unset_paused };
        return Ok((manifest, warnings));
    }
    let place = |violation: Violation| Violation {
        document: document.index,
        line: document.line_of(&violation.field).or(document.line),
        object: Some(object.clone()),
        ..violation
    };
    Err(report.violations.into_iter().map(place).collect())
}

/// Whether the object may be stored at all. Looks at an object once, before anything looks at it many times.
fn small_enough(value: &Value, report: &mut Report) -> bool {
    /// What a value costs beside its text.
    const NODE_BYTES: usize = 16;
    fn weight(value: &Value) -> usize {
        NODE_BYTES
            + match value {
                Value::String(text) => text.len(),
                Value::Array(items) => items.iter().map(weight).sum(),
                Value::Object(members) => members.iter().map(|(name, member)| name.len() + weight(member)).sum(),
                Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            }
    }
    let bytes = weight(value);
    if bytes > OBJECT_BYTES_MAX {
        let message = format!("Too long: the object has about {bytes} bytes: must have at most {OBJECT_BYTES_MAX}");
        report.push(Violation::new(ViolationKind::Invalid, "", message));
    }
    bytes <= OBJECT_BYTES_MAX
}

struct Preconditions {
    resource_version: Option<String>,
    uid: Option<String>,
    unset_replicas: bool,
    unset_paused: bool,
}

fn admit(
    kind: Kind,
    value: &mut Value,
    default_namespace: &str,
    switches: Switches,
    report: &mut Report,
) -> Preconditions {
    // What a manifest says of the status is discarded, as a whole: objects that were read can be applied as they are.
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    let unset_paused = value.pointer("/spec/paused").is_none_or(Value::is_null);
    schema::check_shape(kind, value, report);
    let misshapen: Vec<String> = report.violations.iter().map(|violation| violation.field.clone()).collect();
    normalize::normalize(value, "", report);
    let unset_replicas = value.pointer("/spec/replicas").is_none_or(Value::is_null);
    let (resource_version, uid) = prepare_metadata(kind, value, default_namespace, report);
    defaults::default_object(kind, value);
    let mut rules = Report::default();
    validate::validate(kind, value, switches, &mut rules);
    report.warnings.append(&mut rules.warnings);
    // Where a value has the wrong type, or a misplaced field is named with what it leaves missing, one message is enough.
    let quantities = report.violations.iter().map(|violation| violation.field.clone()).collect::<Vec<_>>();
    for violation in rules.violations {
        let field = violation.field.as_str();
        let below = |outer: &String| {
            !outer.is_empty()
                && field
                    .strip_prefix(outer.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !misshapen.iter().any(below) && !quantities.iter().any(below) {
            report.push(violation);
        }
    }
    if kind == Kind::StatefulSet {
        own::sort_reserved(value);
        if unset_replicas {
            update::note_unset_replicas(value);
        }
    }
    Preconditions { resource_version, uid, unset_replicas, unset_paused }
}

/// Takes out what only the system writes, and puts in the namespace.
fn prepare_metadata(
    kind: Kind,
    value: &mut Value,
    default_namespace: &str,
    report: &mut Report,
) -> (Option<String>, Option<String>) {
    let Some(object) = value.as_object_mut() else { return (None, None) };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return (None, None) };
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    let resource_version = text(metadata.get("resourceVersion").cloned());
    let uid = text(metadata.remove("uid"));
    for field in SYSTEM_METADATA {
        metadata.remove(field);
    }
    if kind.namespaced() {
        let default = if default_namespace.is_empty() { DEFAULT_NAMESPACE } else { default_namespace };
        metadata.entry("namespace").or_insert_with(|| Value::from(default));
    } else if let Some(namespace) = metadata.remove("namespace") {
        report.warn("metadata.namespace", format_args!("{} is ignored: a {kind} has no namespace", quote(&namespace)));
    }
    (resource_version, uid)
}

/// What the document says that it is.
fn kind_of(value: &Value, report: &mut Report) -> Option<Kind> {
    if !value.is_object() {
        let message = "must be an object with apiVersion, kind and metadata";
        report.push(Violation::new(ViolationKind::TypeError, "", message));
        return None;
    }
    let (kind_name, version) = (&value["kind"], &value["apiVersion"]);
    for (field, value) in [("apiVersion", version), ("kind", kind_name)] {
        match value {
            Value::Null => {
                report.required(field, "");
            }
            Value::String(_) => {}
            other => {
                let message = format!("must be a string, not {}", quote(other));
                report.push(Violation::new(ViolationKind::TypeError, field, message));
            }
        }
    }
    let name = kind_name.as_str()?;
    let Some(kind) = Kind::all().find(|kind| kind.writable() && kind.name() == name) else {
        unknown_kind(value, name, report);
        return None;
    };
    let version_text = version.as_str()?;
    if !kind.api_versions().contains(&version_text) {
        let hint = format!("write apiVersion: {}", kind.api_version());
        report.unsupported("apiVersion", version, kind.api_versions()).hint = Some(hint);
        return None;
    }
    Some(kind)
}

fn unknown_kind(value: &Value, name: &str, report: &mut Report) {
    let writable: Vec<_> = Kind::all().filter(|kind| kind.writable()).map(Kind::name).collect();
    let hint = if value.pointer("/spec/volumeClaimTemplates").is_some() {
        Some("only StatefulSets have claim templates".to_owned())
    } else {
        match Kind::from_text(name) {
            Some(kind) if kind.writable() => Some(format!("did you mean {kind}?")),
            Some(kind) => Some(format!("a {kind} is written by the system only")),
            None => None,
        }
    };
    report.unsupported("kind", &value["kind"], &writable).hint = hint;
}

fn object_label(kind: &str, value: &Value, document: usize) -> String {
    let kind = if kind.is_empty() { "object" } else { kind };
    match value.pointer("/metadata/name").and_then(Value::as_str) {
        Some(name) => format!("{kind} {}", quote(&Value::from(name))),
        None => format!("{kind} of document {}", document + 1),
    }
}
