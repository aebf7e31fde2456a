//! Which Kubernetes type each kind is checked against.
//!
//! One plain function, so that the many generated types are compiled once.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::Kind;
use super::strict::check;
use super::violation::Report;

/// Reports every field of `value` that `kind` does not have, and every value of the wrong type.
///
/// `apiVersion` and `kind` were looked at before. A StatefulSet of our own group has the spec of `apps/v1`; fields that
/// only our group has are to be taken out of `value` before it gets here.
pub(super) fn check_shape(kind: Kind, value: &Value, report: &mut Report) {
    const CHECKED_BEFORE: &[&str] = &["apiVersion", "kind"];
    let check = match kind {
        Kind::StatefulSet => check::<StatefulSet>,
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
