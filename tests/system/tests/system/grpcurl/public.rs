//! The public API. Objects go in as the JSON of a manifest.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::example;
use super::Run;

/// The documents of an example as JSON.
fn objects_of(name: &str) -> Vec<Value> {
    let documents = api::manifest::parse(&example(name)).expect("an example is valid");
    documents.into_iter().map(|document| document.value).collect()
}

/// The first object of a kind in an example.
fn object_of(name: &str, kind: &str) -> Value {
    let mut objects = objects_of(name).into_iter();
    objects.find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("{name} has a {kind}"))
}

/// Whether a watch has sent something that exists, and then that this was all.
fn has_begun(answers: &[Value]) -> bool {
    let is = |kind: &str| answers.iter().any(|answer| answer["type"] == kind);
    is("ADDED") && is("BOOKMARK")
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|object| object["metadata"]["name"].as_str()).collect()
}

/// Brings the demo about, and reads it.
pub(super) async fn objects(run: &mut Run) {
    let applied = run.answers("coordinator.v1.ObjectService/Apply", json!({"objects": objects_of("demo.yaml")})).await;
    let results: Vec<_> = applied["objects"].as_array().into_iter().flatten().map(|one| &one["result"]).collect();
    assert_eq!(results, ["created", "created"]);
    run.product.ready(&["web-0", "web-1", "web-2"]).await;
    let got = run.answers("coordinator.v1.ObjectService/Get", json!({"kind": "svc", "name": "web"})).await;
    assert_eq!(got["object"]["spec"]["clusterIP"], "None");
    let listed = run.answers("coordinator.v1.ObjectService/List", json!({"kind": "pvc"})).await;
    assert_eq!(names(&listed["objects"]), ["data-web-0", "data-web-1", "data-web-2"]);
    run.streams("coordinator.v1.ObjectService/Watch", &[json!({"kind": "Service"})], has_begun).await;
    let deleted = json!({"kind": "Service", "name": "web"});
    let deleted = run.answers("coordinator.v1.ObjectService/Delete", deleted).await;
    assert_eq!(deleted["object"]["metadata"]["name"], "web");
}

pub(super) async fn pods(run: &mut Run) {
    let pod = json!({"pod": object_of("pod-with-claim.yaml", "Pod"), "dryRun": true});
    let applied = run.answers("coordinator.v1.PodService/Apply", pod).await;
    assert_eq!((&applied["result"], &applied["pod"]["kind"]), (&"created".into(), &"Pod".into()));
    let got = run.answers("coordinator.v1.PodService/Get", json!({"name": "web-0"})).await;
    assert_eq!(got["pod"]["status"]["phase"], "Running");
    let listed = run.answers("coordinator.v1.PodService/List", json!({"labelSelector": "app=web"})).await;
    assert_eq!(names(&listed["pods"]), ["web-0", "web-1", "web-2"]);
    run.streams("coordinator.v1.PodService/Watch", &[json!({"name": "web-0"})], has_begun).await;
    run.streams("coordinator.v1.PodService/Logs", &[json!({"pod": "web-0", "follow": true})], |pieces| {
        pieces.iter().any(|piece| piece["data"].as_str().is_some_and(|data| !data.is_empty()))
    })
    .await;
    let open = json!({"pod": "web-0", "port": 8080});
    let pieces = run.streams("coordinator.v1.PodService/PortForward", &[open, ask_for_health()], has_ended).await;
    assert!(text(&pieces).starts_with("HTTP/1."), "{pieces:?}");
    let deleted = run.answers("coordinator.v1.PodService/Delete", json!({"name": "web-2"})).await;
    assert!(deleted["pod"]["metadata"]["deletionTimestamp"].is_string(), "{deleted}");
}

/// A request over HTTP, as a piece of a forwarded connection.
pub(super) fn ask_for_health() -> Value {
    // GET /healthz HTTP/1.0, a line's end, and an empty line.
    json!({"data": "R0VUIC9oZWFsdGh6IEhUVFAvMS4wDQoNCg=="})
}

/// Whether the pod has ended its side of a forwarded connection.
pub(super) fn has_ended(pieces: &[Value]) -> bool {
    pieces.last().is_some_and(|piece| piece["end"] == true)
}

/// The bytes of the pieces of a stream, decoded from base64.
pub(super) fn text(pieces: &[Value]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for data in pieces.iter().filter_map(|piece| piece["data"].as_str()) {
        let (mut bits, mut count) = (0_u32, 0);
        for digit in data.bytes().filter_map(|byte| ALPHABET.iter().position(|known| *known == byte)) {
            bits = (bits << 6) | u32::try_from(digit).expect("below 64");
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from((bits >> count) & 0xff).expect("eight bits"));
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) async fn sets(run: &mut Run) {
    let service = "coordinator.v1.StatefulSetService";
    let method = |name: &str| format!("{service}/{name}");
    let of = json!({"name": "web"});
    let set = json!({"statefulSet": object_of("own.yaml", "StatefulSet")});
    let applied = run.answers(&method("Apply"), set).await;
    assert_eq!(applied["result"], "created");
    let got = run.answers(&method("Get"), of.clone()).await;
    assert_eq!(got["statefulSet"]["spec"]["replicas"], 3);
    let listed = run.answers(&method("List"), json!({})).await;
    assert_eq!(names(&listed["statefulSets"]), ["queue", "web"]);
    run.streams(&method("Watch"), std::slice::from_ref(&of), has_begun).await;
    let scaled = run.answers(&method("Scale"), json!({"name": "web", "replicas": 2, "currentReplicas": 3})).await;
    assert_eq!(scaled["statefulSet"]["spec"]["replicas"], 2);
    let told = json!({"conditions": [{"type": "example.com/Healthy", "status": "True"}]});
    let written = run.answers(&method("UpdateStatus"), json!({"name": "web", "status": told})).await;
    assert_eq!(written["changed"], true);
    let paused = run.answers(&method("Pause"), of.clone()).await;
    assert_eq!(paused["changed"], true);
    run.refuses(&method("Restart"), of.clone(), "FailedPrecondition", "paused").await;
    let resumed = run.answers(&method("Resume"), of.clone()).await;
    assert_eq!(resumed["changed"], true);
    let restarted = run.answers(&method("Restart"), of.clone()).await;
    let annotations = &restarted["statefulSet"]["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string(), "{annotations}");
    let over = |told: &[Value]| told.last().is_some_and(|status| status["state"] == "Done");
    let told = run.streams(&method("RolloutStatus"), std::slice::from_ref(&of), over).await;
    assert!(told.iter().all(|status| status["wanted"] == 2 && status["message"].is_string()), "{told:?}");
    let history = run.answers(&method("History"), of.clone()).await;
    let numbers: Vec<_> =
        history["revisions"].as_array().into_iter().flatten().map(|revision| &revision["number"]).collect();
    assert_eq!(numbers, ["1", "2"], "64-bit numbers are text in JSON");
    let undone = run.answers(&method("Undo"), of).await;
    assert_eq!((&undone["result"], &undone["revision"]), (&"rolled_back".into(), &"1".into()));
    run.product.ok(&["rollout", "status", "sts/web", "--timeout=60s"]).await;
    let deleted = run.answers(&method("Delete"), json!({"name": "queue"})).await;
    assert_eq!(deleted["statefulSet"]["metadata"]["name"], "queue");
}

/// What the system says of itself.
pub(super) async fn system(run: &mut Run) -> Value {
    let system = run.answers("coordinator.v1.SystemService/GetSystem", json!({})).await;
    let services = system["services"].as_array().expect("a list");
    assert!(services.iter().all(|service| service["state"] == "SERVING"), "{system}");
    // Each replica of identity-dns is told of.
    let names: BTreeSet<_> = services.iter().filter_map(|service| service["name"].as_str()).collect();
    assert_eq!(names, ["identity-dns", "ordinal-scheduler", "update-planner", "volume-claim"].into(), "{system}");
    system
}

/// A machine that answers is not dead.
pub(super) async fn fence(run: &mut Run, system: &Value) {
    let name = &system["nodes"][0]["metadata"]["name"];
    let method = "coordinator.v1.SystemService/FenceNode";
    run.refuses(method, json!({"name": name, "evidence": "powered off"}), "FailedPrecondition", "answers").await;
    run.refuses(method, json!({"name": name}), "InvalidArgument", "evidence").await;
}

/// Everything that is stored, as bytes.
pub(super) async fn backup(run: &mut Run) {
    let pieces = run.call("coordinator.v1.SystemService/Backup", &[json!({})], |_| false).await;
    let pieces = pieces.expect("ends well");
    let text = text(&pieces);
    assert!(text.contains("StatefulSet") && text.contains("web-0"), "{} bytes", text.len());
}

pub(super) async fn drain(run: &mut Run) {
    // After the last pod of a set comes what belongs to none, and then nothing is left to be named.
    let over = |steps: &[Value]| steps.last().is_some_and(|step| step["remaining"] == 0 && step["stopped"] == "");
    run.streams("coordinator.v1.SystemService/Drain", &[json!({})], over).await;
}
