//! StopAll as an effect: done once per operation, fenced, within one store; all of it across restarts.

use std::path::Path;
use std::sync::Arc;

use api::proto::pod_runtime::v1::StopAllRequest;
use api::proto::pod_runtime::v1::pod_runtime_service_server::PodRuntimeService as _;
use service_kit::CancellationToken;
use service_kit::effects::Effects;
use service_kit::status::reason;
use tonic::{Code, Request};

use super::fake::{Coordinator, Machine, Runtime};
use super::{ready, web};
use crate::server::PodRuntime;

/// A runtime that has just started, with its server.
struct Started {
    runtime: Runtime,
    server: PodRuntime,
}

impl Started {
    async fn new(machine: &Machine, coordinator: &Coordinator, state: &Path) -> Self {
        let runtime = Runtime::start(machine, coordinator, state);
        let effects = Effects::open(&state.join("operations")).unwrap();
        let backend = Arc::new(machine.clone());
        let server = PodRuntime::new(backend, runtime.pods.clone(), effects, CancellationToken::new());
        coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
        Self { runtime, server }
    }

    /// How many pods were stopped, or the code and reason of the refusal.
    async fn stop_all(&self, operation: &str, store: &str, epoch: u64, generation: u64) -> Result<u32, (Code, String)> {
        let request = StopAllRequest { operation_id: operation.into(), epoch, generation, store_id: store.into() };
        let answer = self.server.stop_all(Request::new(request)).await;
        answer.map(|answer| answer.into_inner().stopped).map_err(|status| (status.code(), reason(&status)))
    }
}

#[tokio::test]
async fn a_machine_is_stopped_once_per_operation_and_not_by_who_is_late() {
    let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
    let fenced = Err((Code::Aborted, "FENCED".to_owned()));
    coordinator.assign(web("u1", &["run"]));
    let first = Started::new(&machine, &coordinator, state.path()).await;
    assert_eq!(first.stop_all("op-1", "s", 3, 7).await, Ok(1));
    assert!(!machine.exists("u1"));
    first.runtime.stop().await;

    // The next start brings the pods back. Whoever asks again, or is late, does not stop them.
    coordinator.forget_reports();
    let second = Started::new(&machine, &coordinator, state.path()).await;
    assert_eq!(second.stop_all("op-1", "s", 3, 7).await, Ok(1), "what was recorded");
    assert_eq!(second.stop_all("op-2", "s", 3, 6).await, fenced, "a lower generation");
    assert_eq!(second.stop_all("op-3", "s", 2, 99).await, fenced, "a lower epoch");
    assert!(machine.runs("u1", "c"));

    // A store that was made anew begins at epoch 1, and is followed instead of the one before.
    assert_eq!(second.stop_all("op-1", "anew", 1, 1).await, Ok(1));
    assert!(!machine.exists("u1"));
    second.runtime.stop().await;
    coordinator.forget_reports();
    let third = Started::new(&machine, &coordinator, state.path()).await;
    assert_eq!(third.stop_all("op-4", "s", 4, 1).await, fenced, "it was replaced");
    assert!(machine.runs("u1", "c"));
    third.runtime.stop().await;
}
