//! What a stored pod says of itself.

use domain::Phase;
use serde_json::Value;

use crate::world::Object;

/// Phase of a stored pod; Pending where it has none yet.
pub(crate) fn phase(pod: &Object) -> Phase {
    match pod.text("/status/phase") {
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        "Unknown" => Phase::Unknown,
        _ => Phase::Pending,
    }
}

/// Names of the claims a pod's volumes use.
pub(crate) fn claim_names(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
}
