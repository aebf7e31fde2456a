//! Who gets in: the public API by grpcurl with the token, and not without; a second instance not at all.

use std::process::Command;

use support::{Product, available};

use super::{mark, one_process, sleepers};

/// A harmless method of every service, and what an empty request is answered with: nothing, or a refusal of what it says.
const METHODS: [(&str, &str, Option<&str>); 6] = [
    ("coordinator", "setkeeper.coordinator.v1.SystemService/GetSystem", None),
    ("ordinal-scheduler", "setkeeper.ordinal_scheduler.v1.OrdinalSchedulerService/Plan", Some("InvalidArgument")),
    ("update-planner", "setkeeper.update_planner.v1.UpdatePlannerService/Plan", Some("InvalidArgument")),
    ("volume-claim", "setkeeper.volume_claim.v1.VolumeClaimService/PlanSet", Some("InvalidArgument")),
    ("identity-dns", "setkeeper.identity_dns.v1.IdentityDnsService/GetZone", None),
    ("pod-runtime", "setkeeper.pod_runtime.v1.PodRuntimeService/ListPods", None),
];

async fn address(product: &Product, service: &str) -> String {
    product.endpoints().await[service].as_str().expect("names the service's address").to_owned()
}

fn grpcurl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("grpcurl").arg("-plaintext").args(arguments).output().expect("grpcurl runs");
    let text = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_openly_and_calls_with_the_token_only() {
    if !available(&["grpcurl"]) {
        return;
    }
    let product = one_process().await;
    let address = address(&product, "coordinator").await;
    let (listed, services) = grpcurl(&[&address, "list"]);
    assert!(listed, "{services}");
    for service in ["ObjectService", "StatefulSetService", "PodService", "NodeService", "SystemService"] {
        assert!(services.contains(&format!("setkeeper.coordinator.v1.{service}")), "{services}");
    }
    let (healthy, answer) = grpcurl(&[&address, "grpc.health.v1.Health/Check"]);
    assert!(healthy && answer.contains("SERVING"), "{answer}");
    let (let_in, answer) = grpcurl(&[&address, "setkeeper.coordinator.v1.StatefulSetService/List"]);
    assert!(!let_in && answer.contains("Unauthenticated"), "{answer}");

    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark("grpcurl"), 0, "Parallel")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let token = std::fs::read_to_string(product.data().join("token")).expect("up writes it");
    let header = format!("authorization: Bearer {}", token.trim());
    let call = |method: &str, body: &str| {
        grpcurl(&["-H", &header, "-d", body, &address, &format!("setkeeper.coordinator.v1.{method}")])
    };
    let (ok, answer) = call("StatefulSetService/Get", r#"{"name": "sleepers"}"#);
    assert!(ok, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("is JSON");
    // A manifest goes in as it came out: its JSON is that of its Kubernetes kind.
    let mut set = answer["statefulSet"].clone();
    set["spec"]["replicas"] = 2.into();
    let metadata = set["metadata"].as_object_mut().expect("is an object");
    metadata.retain(|field, _| field == "name");
    let body = serde_json::json!({ "statefulSet": { "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": set["metadata"], "spec": set["spec"] } });
    let (ok, answer) = call("StatefulSetService/Apply", &body.to_string());
    assert!(ok && answer.contains("configured"), "{answer}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    let (ok, answer) = call("StatefulSetService/Get", r#"{"name": "missing"}"#);
    assert!(!ok && answer.contains("NotFound") && answer.contains("missing"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_tells_openly_what_it_offers_and_does_it_with_the_token_only() {
    if !available(&["grpcurl"]) {
        return;
    }
    let product = one_process().await;
    let token = std::fs::read_to_string(product.data().join("token")).expect("up writes it");
    let header = format!("authorization: Bearer {}", token.trim());
    for (service, harmless, refusal) in METHODS {
        let address = address(&product, service).await;
        let (listed, all) = grpcurl(&[&address, "list"]);
        assert!(listed && all.contains("grpc.health.v1.Health"), "{service}: {all}");
        let own: Vec<_> = all.lines().filter(|line| line.starts_with("setkeeper.")).collect();
        assert!(own.iter().all(|name| harmless.starts_with(name.rsplit_once('.').expect("a package").0)), "{own:?}");
        assert!(own.iter().any(|name| harmless.starts_with(name)), "{service}: {all}");
        for name in own {
            let (described, text) = grpcurl(&[&address, "describe", name]);
            assert!(described && text.contains("rpc "), "{name}: {text}");
            let (healthy, answer) =
                grpcurl(&["-d", &format!(r#"{{"service": "{name}"}}"#), &address, "grpc.health.v1.Health/Check"]);
            assert!(healthy && answer.contains("\"SERVING\""), "{name}: {answer}");
            let (_, methods) = grpcurl(&[&address, "list", name]);
            assert!(methods.lines().count() > 0, "{name} has methods");
            for method in methods.lines() {
                let (let_in, answer) = grpcurl(&[&address, method]);
                assert!(!let_in && answer.contains("Code: Unauthenticated"), "{method}: {answer}");
            }
        }
        let (healthy, answer) = grpcurl(&[&address, "grpc.health.v1.Health/Check"]);
        assert!(healthy && answer.contains("\"SERVING\""), "{service}: {answer}");
        let (done, answer) = grpcurl(&["-H", "authorization: Bearer wrong", &address, harmless]);
        assert!(!done && answer.contains("Code: Unauthenticated"), "{harmless}: {answer}");
        let (done, answer) = grpcurl(&["-H", &header, &address, harmless]);
        match refusal {
            None => assert!(done, "{harmless}: {answer}"),
            Some(code) => assert!(!done && answer.contains(&format!("Code: {code}")), "{harmless}: {answer}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_the_same_data_is_refused() {
    let product = one_process().await;
    let second = product.run(&["up", "--port-base", "0", "--dns-listen", "127.0.0.1:0"]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains(&product.data().display().to_string()), "{}", second.stderr);
    product.ok(&["get", "sts"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_command_line_says_what_to_do() {
    let mut product = one_process().await;
    product.interrupt().await;
    let output = product.run(&["get", "pods"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("setkeeper up"), "{}", output.stderr);
}
