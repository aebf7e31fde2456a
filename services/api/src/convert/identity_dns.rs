//! Identities, and the facts that become names.

mod facts;
#[cfg(test)]
mod tests;

use domain::zone::{ObjectName, Publication, ZoneChange};
use domain::{Ordinal, PodIdentity};

use super::Violations;
use crate::proto::identity_dns::v1 as proto;

/// Longest operation id or store id, in bytes: as for every other effect.
const KEY_BYTES_MAX: usize = 512;

impl From<PodIdentity> for proto::PodIdentity {
    fn from(identity: PodIdentity) -> Self {
        Self {
            ordinal: identity.ordinal.0,
            name: identity.name,
            hostname: identity.hostname,
            subdomain: identity.subdomain,
            labels: identity.labels.into_iter().collect(),
            dns_names: identity.dns_names,
        }
    }
}

impl TryFrom<proto::PodIdentity> for PodIdentity {
    type Error = Violations;

    fn try_from(identity: proto::PodIdentity) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        violations.require(identity.ordinal <= Ordinal::MAX.0, "ordinal", "must be at most 2147483647");
        violations.require(!identity.name.is_empty(), "name", "is required");
        violations.finish(Some(Self {
            ordinal: Ordinal(identity.ordinal),
            name: identity.name,
            hostname: identity.hostname,
            subdomain: identity.subdomain,
            labels: identity.labels.into_iter().collect(),
            dns_names: identity.dns_names,
        }))
    }
}

impl From<ObjectName> for proto::ObjectName {
    fn from(name: ObjectName) -> Self {
        Self { namespace: name.namespace, name: name.name }
    }
}

impl TryFrom<proto::ObjectName> for ObjectName {
    type Error = Violations;

    fn try_from(name: proto::ObjectName) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let name = object_name(&mut violations, name.namespace, name.name);
        violations.finish(Some(name))
    }
}

/// The namespace has to be a label. The name of an object may have dots; where it becomes a label, that is checked.
fn object_name(violations: &mut Violations, namespace: String, name: String) -> ObjectName {
    label(violations, "namespace", &namespace);
    if let Err(error) = domain::is_dns_subdomain(&name) {
        violations.add("name", error.to_string());
    }
    ObjectName { namespace, name }
}

fn label(violations: &mut Violations, field: &str, text: &str) {
    if let Err(error) = domain::is_dns_label(text) {
        violations.add(field, error.to_string());
    }
}

fn optional_label(violations: &mut Violations, field: &str, text: &str) {
    if !text.is_empty() {
        label(violations, field, text);
    }
}

impl From<Publication> for proto::PublishRequest {
    fn from(publication: Publication) -> Self {
        fn all<A, B: From<A>>(values: Vec<A>) -> Vec<B> {
            values.into_iter().map(Into::into).collect()
        }
        let change = publication.change;
        Self {
            operation_id: publication.operation_id,
            store_id: publication.store,
            epoch: publication.epoch,
            generation: publication.generation,
            base_generation: publication.base_generation.unwrap_or_default(),
            full: publication.base_generation.is_none(),
            namespaces: change.namespaces,
            removed_namespaces: change.removed_namespaces,
            services: all(change.services),
            removed_services: all(change.removed_services),
            pods: all(change.pods),
            removed_pods: all(change.removed_pods),
            endpoint_slices: all(change.slices),
            removed_endpoint_slices: all(change.removed_slices),
        }
    }
}

impl TryFrom<proto::PublishRequest> for Publication {
    type Error = Violations;

    fn try_from(request: proto::PublishRequest) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        violations.require(!request.operation_id.is_empty(), "operation_id", "is required");
        for (field, text) in [("operation_id", &request.operation_id), ("store_id", &request.store_id)] {
            violations.require(text.len() <= KEY_BYTES_MAX, field, "must be at most 512 bytes");
        }
        violations.require(request.epoch > 0, "epoch", "must be at least 1");
        violations.require(request.generation > 0, "generation", "must be at least 1");
        let rises = request.full || request.base_generation < request.generation;
        violations.require(rises, "base_generation", "must be below generation");
        for (field, namespaces) in
            [("namespaces", &request.namespaces), ("removed_namespaces", &request.removed_namespaces)]
        {
            for (place, namespace) in namespaces.iter().enumerate() {
                label(&mut violations, &format!("{field}[{place}]"), namespace);
            }
        }
        let change = ZoneChange {
            services: violations.list("services", request.services),
            removed_services: violations.list("removed_services", request.removed_services),
            pods: violations.list("pods", request.pods),
            removed_pods: violations.list("removed_pods", request.removed_pods),
            slices: violations.list("endpoint_slices", request.endpoint_slices),
            removed_slices: violations.list("removed_endpoint_slices", request.removed_endpoint_slices),
            namespaces: request.namespaces,
            removed_namespaces: request.removed_namespaces,
        };
        violations.finish(Some(Self {
            operation_id: request.operation_id,
            store: request.store_id,
            epoch: request.epoch,
            generation: request.generation,
            base_generation: (!request.full).then_some(request.base_generation),
            change,
        }))
    }
}
