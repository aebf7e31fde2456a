//! Which methods stream. Deadlines and spans treat them differently.

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
    known().get(path).copied().unwrap_or(Shape::Streaming)
}

/// Every method of ours.
#[cfg(test)]
pub(crate) fn paths() -> impl Iterator<Item = String> {
    known().keys().cloned()
}

fn known() -> &'static HashMap<String, Shape> {
    static SHAPES: OnceLock<HashMap<String, Shape>> = OnceLock::new();
    SHAPES.get_or_init(|| shapes(api::proto::DESCRIPTORS))
}

fn shapes(descriptors: &[u8]) -> HashMap<String, Shape> {
    let descriptors = FileDescriptorSet::decode(descriptors).expect("the descriptors come from our own build");
    let mut shapes = HashMap::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams = method.client_streaming() || method.server_streaming();
                shapes.insert(path, if streams { Shape::Streaming } else { Shape::Unary });
            }
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_come_from_the_protocol() {
        assert_eq!(shape("/setkeeper.coordinator.v1.ObjectService/Apply"), Shape::Unary);
        assert_eq!(shape("/setkeeper.coordinator.v1.ObjectService/Watch"), Shape::Streaming);
        assert_eq!(shape("/setkeeper.pod_runtime.v1.PodRuntimeService/Logs"), Shape::Streaming);
        assert_eq!(shape("/setkeeper.pod_runtime.v1.PodRuntimeService/PortForward"), Shape::Streaming);
        assert_eq!(shape("/grpc.health.v1.Health/Watch"), Shape::Streaming);
    }
}
