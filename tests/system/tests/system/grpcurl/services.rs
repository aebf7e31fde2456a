//! The services that only the coordinator and machines call.

use serde_json::{Value, json};

use super::Run;
use super::public::{ask_for_health, has_ended, text};

/// A set of one replica that has no pods yet.
fn snapshot() -> Value {
    json!({
        "set": {"namespace": "default", "name": "db", "uid": "6c1b7a52-0b4e-4d7c-8a53-5d2b64a3a7f1"},
        "generation": "1",
        "spec": {
            "replicas": 1,
            "policy": "POD_MANAGEMENT_POLICY_ORDERED_READY",
            "strategy": "UPDATE_STRATEGY_ROLLING_UPDATE",
            "revisionHistoryLimit": 10,
            "whenDeleted": "RETENTION_RULE_RETAIN",
            "whenScaled": "RETENTION_RULE_RETAIN",
            "progressDeadlinePolicy": "DEADLINE_POLICY_HOLD"
        },
        "intent": "INTENT_KEEP",
        "now": "2026-01-01T00:00:00Z"
    })
}

pub(super) async fn planners(run: &mut Run) {
    let template = r#"{"spec":{"template":{"spec":{"containers":[{"image":"busybox","name":"main"}]}}}}"#;
    let plan = json!({"snapshot": snapshot(), "template": template});
    let plan = run.answers("update_planner.v1.UpdatePlannerService/Plan", plan).await;
    let revision = &plan["revisions"][0]["create"]["name"];
    assert!(revision.as_str().is_some_and(|name| name.starts_with("db-")), "{plan}");
    assert_eq!(&plan["targets"][0]["revision"], revision, "{plan}");
    let plan = json!({"snapshot": snapshot(), "targets": plan["targets"]});
    let plan = run.answers("ordinal_scheduler.v1.OrdinalSchedulerService/Plan", plan).await;
    assert_eq!((&plan["create"][0]["ordinal"], &plan["create"][0]["revision"]), (&0.into(), revision), "{plan}");
}

pub(super) async fn claims(run: &mut Run) {
    let plan = json!({
        "set": snapshot()["set"],
        "intent": "INTENT_KEEP",
        "whenDeleted": "RETENTION_RULE_RETAIN",
        "whenScaled": "RETENTION_RULE_RETAIN",
        "matchLabels": {"app": "db"},
        "templates": [{"name": "data"}],
        "ordinals": [{"ordinal": 0, "inRange": true}]
    });
    let plan = run.answers("volume_claim.v1.VolumeClaimService/PlanSet", plan).await;
    assert_eq!((&plan["create"][0]["name"], &plan["create"][0]["labels"]["app"]), (&"data-db-0".into(), &"db".into()));
    let uid = "0f0d5b6e-51f5-4a0e-b1a5-6b9f5f0b9a11";
    let volume = format!("pvc-{uid}");
    let created = "2026-01-01T00:00:00Z";
    let plan = json!({
        "claims": [{
            "namespace": "default", "name": "data-db-0", "uid": uid, "version": "1", "createdAt": created,
            "phase": "CLAIM_PHASE_PENDING", "class": "standard", "accessModes": ["ACCESS_MODE_READ_WRITE_ONCE"],
            "requestBytes": "1024", "volumeMode": "VOLUME_MODE_FILESYSTEM"
        }],
        "classes": [{
            "name": "standard", "provisioner": "setkeeper.dev/directory", "reclaimPolicy": "RECLAIM_POLICY_DELETE",
            "bindingMode": "BINDING_MODE_IMMEDIATE", "isDefault": true, "createdAt": created
        }],
        "node": {"name": "here"},
        "now": created
    });
    let plan = run.answers("volume_claim.v1.VolumeClaimService/PlanVolumes", plan).await;
    assert_eq!(plan["actions"][0]["provision"]["volume"], volume, "{plan}");
    let operation =
        |id: &str| json!({"operationId": id, "epoch": "1000", "generation": "1", "volume": volume, "claimUid": uid});
    let provisioned = run.answers("volume_claim.v1.VolumeClaimService/Provision", operation("make")).await;
    let path = provisioned["path"].as_str().expect("says where").to_owned();
    assert!(path.ends_with(&volume) && std::path::Path::new(&path).is_dir(), "{provisioned}");
    let removed = run.answers("volume_claim.v1.VolumeClaimService/Deprovision", operation("remove")).await;
    assert_eq!((&removed["done"], std::path::Path::new(&path).exists()), (&true.into(), false));
}

pub(super) async fn names(run: &mut Run) {
    let assign = json!({
        "set": snapshot()["set"], "serviceName": "db", "ordinals": [{"ordinal": 0, "revision": "db-5d4f"}]
    });
    let assigned = run.answers("identity_dns.v1.IdentityDnsService/Assign", assign).await;
    let name = &assigned["identities"][0]["dnsNames"][0];
    assert_eq!(name, "db-0.db.default.svc.cluster.local", "{assigned}");
    let zone = run.answers("identity_dns.v1.IdentityDnsService/GetZone", json!({})).await;
    assert_eq!((&zone["zone"], &zone["loaded"]), (&"cluster.local".into(), &true.into()));
    // Whoever publishes what was served long ago is refused, and nothing changes.
    let stale = json!({
        "operationId": "stale", "storeId": zone["storeId"], "epoch": zone["epoch"], "generation": "1", "full": true
    });
    run.refuses("identity_dns.v1.IdentityDnsService/Publish", stale, "Aborted", "").await;
}

/// What a machine says and is told, in the name of the machine that there is.
pub(super) async fn machine(run: &mut Run, system: &Value) {
    let node = &system["nodes"][0];
    let name = &node["metadata"]["name"];
    let register = json!({
        "name": name,
        "runtimeAddress": node["metadata"]["annotations"]["setkeeper.dev/runtime-address"],
        "hostIp": "127.0.0.1",
        "tier": "process"
    });
    let registered = run.answers("coordinator.v1.NodeService/RegisterNode", register).await;
    assert_eq!(registered["storeId"], system["storeId"]);
    let synced = |sent: &[Value]| sent.iter().any(|message| message["synced"].is_object());
    let sent = run.streams("coordinator.v1.NodeService/WatchAssignments", &[json!({"node": name})], synced).await;
    assert!(sent[0]["assignment"].is_object(), "{sent:?}");
    let status = "eyJwaGFzZSI6IlJ1bm5pbmcifQ=="; // {"phase":"Running"}
    let gone = json!({"node": name, "namespace": "default", "name": "web-9", "uid": "nobody", "status": status});
    run.refuses("coordinator.v1.NodeService/ReportPodStatus", gone, "NotFound", "web-9").await;
    let pod = run.product.get(&["pod", "web-0"]).await.expect("exists");
    let event = json!({
        "node": name, "namespace": "default", "name": "web-0", "uid": pod["metadata"]["uid"], "type": "Normal",
        "reason": "Seen", "message": "by grpcurl"
    });
    run.answers("coordinator.v1.NodeService/ReportEvent", event).await;
    let events = run.product.ok(&["get", "events"]).await;
    assert!(events.contains("by grpcurl"), "{events}");

    let listed = run.answers("pod_runtime.v1.PodRuntimeService/ListPods", json!({})).await;
    let running = listed["pods"].as_array().into_iter().flatten();
    assert!(running.into_iter().any(|pod| pod["name"] == "web-0" && pod["running"] == true), "{listed}");
    let log = json!({"namespace": "default", "pod": "web-0", "follow": true});
    run.streams("pod_runtime.v1.PodRuntimeService/Logs", &[log], |pieces| !pieces.is_empty()).await;
    let open = json!({"namespace": "default", "pod": "web-0", "port": 8080});
    let requests = [open, ask_for_health()];
    let pieces = run.streams("pod_runtime.v1.PodRuntimeService/PortForward", &requests, has_ended).await;
    assert!(text(&pieces).starts_with("HTTP/1."), "{pieces:?}");
}

/// The machine stops what runs, which after a drain is nothing, and refuses who is not the latest.
pub(super) async fn stop(run: &mut Run, system: &Value) {
    let stop = |id: &str, epoch: &str| json!({"operationId": id, "storeId": system["storeId"], "epoch": epoch, "generation": "1"});
    let stopped = run.answers("pod_runtime.v1.PodRuntimeService/StopAll", stop("stop", "1000")).await;
    assert_eq!(stopped["stopped"], 0);
    run.refuses("pod_runtime.v1.PodRuntimeService/StopAll", stop("late", "1"), "Aborted", "").await;
}
