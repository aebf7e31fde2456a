//! Claims and volumes.

mod enumeration;
mod model;
mod set_claims;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::{BTreeMap, HashMap};

use domain::volume::AccessMode;
use domain::{ObjectRef, Quantity, Uid};

use super::Violations;
use super::planning::ordinal;
use crate::proto::volume_claim::v1 as proto;

/// Notes a violation if `text` is empty.
fn filled(violations: &mut Violations, field: &str, text: String) -> String {
    violations.require(!text.is_empty(), field, "is required");
    text
}

fn sorted(map: HashMap<String, String>) -> BTreeMap<String, String> {
    map.into_iter().collect()
}

fn unsorted(map: BTreeMap<String, String>) -> HashMap<String, String> {
    map.into_iter().collect()
}

fn to_modes(modes: Vec<AccessMode>) -> Vec<i32> {
    modes.into_iter().map(|mode| proto::AccessMode::from(mode).into()).collect()
}

fn from_modes(violations: &mut Violations, field: &str, modes: Vec<i32>) -> Vec<AccessMode> {
    let decode =
        |(place, number)| violations.enumeration::<proto::AccessMode, AccessMode>(&format!("{field}[{place}]"), number);
    modes.into_iter().enumerate().filter_map(decode).collect()
}

fn to_wire<D, P: From<D>>(values: Vec<D>) -> Vec<P> {
    values.into_iter().map(P::from).collect()
}

impl From<ObjectRef> for proto::ObjectRef {
    fn from(object: ObjectRef) -> Self {
        Self { kind: object.kind, namespace: object.namespace, name: object.name, uid: object.uid.0 }
    }
}

impl TryFrom<proto::ObjectRef> for ObjectRef {
    type Error = Violations;

    fn try_from(object: proto::ObjectRef) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let kind = filled(&mut violations, "kind", object.kind);
        let name = filled(&mut violations, "name", object.name);
        violations.finish(Some(Self { kind, namespace: object.namespace, name, uid: Uid(object.uid) }))
    }
}

fn quantity(bytes: u64) -> Quantity {
    Quantity(bytes)
}
