//! What is known of every method: whether it streams, which deadlines and spans treat differently, and whether it may be
//! called twice.

use std::collections::HashMap;
use std::sync::OnceLock;

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// How a method answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One request, one response: it has a deadline.
    Unary,
    /// Either side streams, or the method is not ours and may: no deadline but its caller's.
    Streaming,
}

/// The shape of the method at `path`, such as `/setkeeper.coordinator.v1.PodService/Logs`.
pub(crate) fn shape(path: &str) -> Shape {
    known().get(path).map_or(Shape::Streaming, |method| method.shape)
}

/// Whether a caller of the method at `path` goes on sending after its first message; also where it is not ours and may.
pub(crate) fn streams_requests(path: &str) -> bool {
    known().get(path).is_none_or(|method| method.streams_requests)
}

#[derive(Debug, Clone, Copy)]
struct Method {
    shape: Shape,
    streams_requests: bool,
}

fn known() -> &'static HashMap<String, Method> {
    static METHODS: OnceLock<HashMap<String, Method>> = OnceLock::new();
    METHODS.get_or_init(|| methods(api::proto::DESCRIPTORS))
}

/// The path of every method there is.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    known().keys().map(String::as_str)
}

/// Unary methods whose repetition changes nothing, so that a call without an answer may be made again: they only read or
/// plan, or say what is to be and not what is to be done.
const IDEMPOTENT: [&str; 28] = [
    "/setkeeper.coordinator.v1.NodeService/RegisterNode",
    "/setkeeper.coordinator.v1.NodeService/ReportPodStatus",
    "/setkeeper.coordinator.v1.ObjectService/Apply",
    "/setkeeper.coordinator.v1.ObjectService/Get",
    "/setkeeper.coordinator.v1.ObjectService/List",
    "/setkeeper.coordinator.v1.PodService/Apply",
    "/setkeeper.coordinator.v1.PodService/Get",
    "/setkeeper.coordinator.v1.PodService/List",
    "/setkeeper.coordinator.v1.StatefulSetService/Apply",
    "/setkeeper.coordinator.v1.StatefulSetService/Get",
    "/setkeeper.coordinator.v1.StatefulSetService/History",
    "/setkeeper.coordinator.v1.StatefulSetService/List",
    "/setkeeper.coordinator.v1.StatefulSetService/Pause",
    "/setkeeper.coordinator.v1.StatefulSetService/Resume",
    "/setkeeper.coordinator.v1.StatefulSetService/Scale",
    "/setkeeper.coordinator.v1.StatefulSetService/UpdateStatus",
    "/setkeeper.coordinator.v1.SystemService/GetSystem",
    "/setkeeper.identity_dns.v1.IdentityDnsService/Assign",
    "/setkeeper.identity_dns.v1.IdentityDnsService/GetZone",
    "/setkeeper.identity_dns.v1.IdentityDnsService/Publish",
    "/setkeeper.ordinal_scheduler.v1.OrdinalSchedulerService/Plan",
    "/setkeeper.pod_runtime.v1.PodRuntimeService/ListPods",
    "/setkeeper.pod_runtime.v1.PodRuntimeService/StopAll",
    "/setkeeper.update_planner.v1.UpdatePlannerService/Plan",
    "/setkeeper.volume_claim.v1.VolumeClaimService/Deprovision",
    "/setkeeper.volume_claim.v1.VolumeClaimService/PlanSet",
    "/setkeeper.volume_claim.v1.VolumeClaimService/PlanVolumes",
    "/setkeeper.volume_claim.v1.VolumeClaimService/Provision",
];

/// Whether a call of the method at `path` may be made again where its answer was lost.
pub(crate) fn idempotent(path: &str) -> bool {
    IDEMPOTENT.binary_search(&path).is_ok()
}

fn methods(descriptors: &[u8]) -> HashMap<String, Method> {
    let descriptors = FileDescriptorSet::decode(descriptors).expect("the descriptors come from our own build");
    let mut methods = HashMap::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams_requests = method.client_streaming();
                let streams = streams_requests || method.server_streaming();
                let shape = if streams { Shape::Streaming } else { Shape::Unary };
                methods.insert(path, Method { shape, streams_requests });
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unary methods that are never repeated. What a second Delete or Undo meets is not what the first met, a Restart is a
    /// restart each time, an event would be counted twice, and what was true of a machine may not be any more.
    const ONCE: [&str; 7] = [
        "/setkeeper.coordinator.v1.NodeService/ReportEvent",
        "/setkeeper.coordinator.v1.ObjectService/Delete",
        "/setkeeper.coordinator.v1.PodService/Delete",
        "/setkeeper.coordinator.v1.StatefulSetService/Delete",
        "/setkeeper.coordinator.v1.StatefulSetService/Restart",
        "/setkeeper.coordinator.v1.StatefulSetService/Undo",
        "/setkeeper.coordinator.v1.SystemService/FenceNode",
    ];

    #[test]
    fn every_unary_method_is_known_to_be_repeatable_or_not() {
        assert!(IDEMPOTENT.is_sorted());
        let mut unary: Vec<_> = paths().filter(|path| shape(path) == Shape::Unary).collect();
        unary.sort_unstable();
        let mut known: Vec<_> = IDEMPOTENT.into_iter().chain(ONCE).collect();
        known.sort_unstable();
        assert_eq!(unary, known, "a method was added or removed: say whether it may be called twice");
        assert!(ONCE.iter().all(|path| !idempotent(path)) && IDEMPOTENT.iter().all(|path| idempotent(path)));
        assert!(!idempotent("/grpc.health.v1.Health/Watch"));
    }

    #[test]
    fn shapes_come_from_the_protocol() {
        assert_eq!(shape("/setkeeper.coordinator.v1.ObjectService/Apply"), Shape::Unary);
        assert_eq!(shape("/setkeeper.coordinator.v1.ObjectService/Watch"), Shape::Streaming);
        assert_eq!(shape("/setkeeper.pod_runtime.v1.PodRuntimeService/Logs"), Shape::Streaming);
        assert_eq!(shape("/setkeeper.pod_runtime.v1.PodRuntimeService/PortForward"), Shape::Streaming);
        assert_eq!(shape("/grpc.health.v1.Health/Watch"), Shape::Streaming);
        assert!(streams_requests("/setkeeper.pod_runtime.v1.PodRuntimeService/PortForward"));
        assert!(!streams_requests("/setkeeper.coordinator.v1.ObjectService/Watch"));
    }
}
