//! Sets as a person applies them, and the wait for what was asked.

use std::collections::BTreeSet;

use anyhow::Context as _;
use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::system_service_client::SystemServiceClient;
use api::proto::coordinator::v1::{ApplyRequest, GetSystemRequest, ScaleStatefulSetRequest, WatchRequest};
use serde_json::{Value, json};
use service_kit::Channel;

/// Whether pods come one after the other, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    OrderedReady,
    Parallel,
    /// One after the other, each with a claim.
    WithClaims,
}

impl Shape {
    /// As a figure names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OrderedReady => "OrderedReady",
            Self::Parallel => "Parallel",
            Self::WithClaims => "OrderedReady, claims",
        }
    }
}

/// A set and its headless Service.
pub(crate) fn manifests(name: &str, replicas: u32, shape: Shape, image: &str) -> Vec<Value> {
    let labels = json!({ "app": name });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "clusterIP": "None", "selector": labels, "ports": [{ "port": 80, "name": "web" }] },
    });
    let container = json!({
        "name": "main", "image": image, "command": ["sleep", "infinity"],
        "ports": [{ "containerPort": 80, "name": "web" }],
    });
    let policy = if shape == Shape::Parallel { "Parallel" } else { "OrderedReady" };
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": name },
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": policy,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    });
    if shape == Shape::WithClaims {
        set["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": { "name": "data" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
        }]);
    }
    vec![service, set]
}

/// Applies objects, all or nothing.
pub(crate) async fn apply(channel: &Channel, objects: &[Value]) -> anyhow::Result<()> {
    let mut client = service_kit::sized_client!(ObjectServiceClient::new(channel.clone()));
    let objects = objects.iter().map(api::object::to_struct).collect();
    client.apply(ApplyRequest { objects, ..ApplyRequest::default() }).await?;
    Ok(())
}

/// Asks for so many replicas.
pub(crate) async fn scale(channel: &Channel, name: &str, replicas: i32) -> anyhow::Result<()> {
    let request = ScaleStatefulSetRequest { name: name.to_owned(), replicas, ..ScaleStatefulSetRequest::default() };
    StatefulSetServiceClient::new(channel.clone()).scale(request).await?;
    Ok(())
}

/// Revision of the store: how many commits it has seen.
pub(crate) async fn revision(channel: &Channel) -> anyhow::Result<u64> {
    let system = SystemServiceClient::new(channel.clone()).get_system(GetSystemRequest {}).await?;
    Ok(system.into_inner().revision)
}

/// Returns when so many sets say that all they were asked for, up to now, is done.
pub(crate) async fn complete(channel: &Channel, sets: usize) -> anyhow::Result<()> {
    let mut client = service_kit::sized_client!(ObjectServiceClient::new(channel.clone()));
    let request = WatchRequest { kind: "StatefulSet".to_owned(), ..WatchRequest::default() };
    let mut stream = client.watch(request).await?.into_inner();
    let mut done = BTreeSet::new();
    while done.len() < sets {
        let change = stream.message().await?.context("the watch ended")?;
        let Some(set) = change.object.map(api::object::from_struct) else { continue };
        let name = set["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if is_complete(&set) {
            done.insert(name)
        } else {
            done.remove(&name)
        };
    }
    Ok(())
}

fn is_complete(set: &Value) -> bool {
    let conditions = set.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let progressing = conditions.into_iter().find(|condition| condition["type"] == "Progressing");
    set["status"]["observedGeneration"] == set["metadata"]["generation"]
        && set["status"]["replicas"] == set["spec"]["replicas"]
        && progressing.is_some_and(|condition| condition["reason"] == "Complete")
}
