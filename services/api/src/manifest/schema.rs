//! Which Kubernetes type each kind is checked against.
//!
//! One plain function, so that the many generated types are compiled once.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::strict::check;
use super::violation::{Report, Violation, ViolationKind};
use super::{Kind, own, suggest};

/// Members of the root that were looked at before.
const CHECKED_BEFORE: &[&str] = &["apiVersion", "kind"];

/// Path of what is in a spec.
const SPEC: &str = "spec.";

/// Reports every field of `value` that `kind` does not have, and every value of the wrong type.
///
/// `apiVersion` and `kind` were looked at before.
pub(super) fn check_shape(kind: Kind, value: &Value, report: &mut Report) {
    let check = match kind {
        Kind::StatefulSet if own::is_own(value) => return own_set(value, report),
        Kind::StatefulSet => return plain_set(value, report),
        Kind::Service => check::<Service>,
        Kind::Pod => check::<Pod>,
        Kind::PersistentVolume => check::<PersistentVolume>,
        Kind::PersistentVolumeClaim => check::<PersistentVolumeClaim>,
        Kind::StorageClass => check::<StorageClass>,
        Kind::ConfigMap => check::<ConfigMap>,
        Kind::Secret => check::<Secret>,
        Kind::Namespace => check::<Namespace>,
        Kind::Event | Kind::ControllerRevision | Kind::Decision | Kind::Node => return,
    };
    check(value, CHECKED_BEFORE, report);
}

/// A set of our own group has the spec of `apps/v1`, and a few fields more.
fn own_set(value: &Value, report: &mut Report) {
    let mut plain = value.clone();
    let ours = own::take_fields(&mut plain);
    check::<StatefulSet>(&plain, CHECKED_BEFORE, report);
    check::<own::Shape>(&ours, CHECKED_BEFORE, report);
    for violation in unknown_of_spec(report) {
        let name = violation.field.trim_start_matches(SPEC);
        if let Some(nearest) = suggest::nearest(name, &own::FIELDS) {
            violation.hint = Some(format!("did you mean {SPEC}{nearest}?"));
        }
    }
}

/// A set of `apps/v1`. Who writes a field of our own group is told what it takes.
fn plain_set(value: &Value, report: &mut Report) {
    check::<StatefulSet>(value, CHECKED_BEFORE, report);
    let own = own::API_VERSION;
    for violation in unknown_of_spec(report) {
        let name = violation.field.trim_start_matches(SPEC);
        if own::FIELDS.contains(&name) {
            violation.hint = Some(format!("it is a field of our own group: write apiVersion: {own}"));
        } else if violation.hint.is_none()
            && let Some(nearest) = suggest::nearest(name, &own::FIELDS)
        {
            violation.hint = Some(format!("did you mean {SPEC}{nearest}? it needs apiVersion: {own}"));
        }
    }
}

/// What is said of fields directly in `spec` that do not exist.
fn unknown_of_spec(report: &mut Report) -> impl Iterator<Item = &mut Violation> {
    let of_spec = |field: &str| field.strip_prefix(SPEC).is_some_and(|name| !name.contains(['.', '[']));
    report
        .violations
        .iter_mut()
        .filter(move |violation| violation.kind == ViolationKind::UnknownField && of_spec(&violation.field))
}
