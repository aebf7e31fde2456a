//! What nobody may call, over mutual TLS: every method, by those whom its rule does not name.

use prost_types::DescriptorProto;
use prost_types::field_descriptor_proto::Type;
use serde_json::{Value, json};
use support::{Product, available};

use super::super::secured;
use super::super::secured::new_policy_holds;
use super::tool::{self, Door, Refusal};
use super::{methods, package, protocol};

/// A user who may do everything, but in one namespace only.
const ANN: &str = r#"
users:
- {name: admin, grants: [{namespaces: ["*"], verbs: ["*"], kinds: ["*"]}]}
- {name: ann, grants: [{namespaces: [shop], verbs: ["*"], kinds: ["*"]}]}
"#;

/// A request for a method that is about something in the namespace `default`, where the method is about anything.
fn request(method: &str) -> Value {
    let (service, name) = method.split_once('/').expect("package.Service/Method");
    let files = protocol().file;
    let services = files.iter().flat_map(|file| file.service.iter().map(move |one| (file.package(), one)));
    let mut services = services.filter(|(package, one)| format!("{package}.{}", one.name()) == service);
    let (_, service) = services.next().expect("the protocol has it");
    let method = service.method.iter().find(|one| one.name() == name).expect("the protocol has it");
    let mut messages = files.iter().flat_map(|file| file.message_type.iter().map(move |one| (file.package(), one)));
    let input = messages.find(|(package, one)| format!(".{package}.{}", one.name()) == method.input_type());
    filled(input.expect("the protocol has it").1)
}

fn filled(message: &DescriptorProto) -> Value {
    let mut request = json!({});
    for field in &message.field {
        let value = match (field.name(), field.r#type()) {
            ("namespace", _) => "default".into(),
            ("name" | "pod", Type::String) => "x".into(),
            ("kind", _) => "configmap".into(),
            ("port", _) => 80.into(),
            ("objects", _) => json!([object("v1", "ConfigMap", &json!({}))]),
            ("stateful_set", _) => object("apps/v1", "StatefulSet", &set()),
            ("pod", _) => object("v1", "Pod", &pod()),
            _ => continue,
        };
        request[field.name()] = value;
    }
    request
}

fn object(version: &str, kind: &str, spec: &Value) -> Value {
    let metadata = json!({"name": "x", "namespace": "default"});
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
    if *spec != json!({}) {
        object["spec"] = spec.clone();
    }
    object
}

fn pod() -> Value {
    json!({"containers": [{"name": "c", "image": "busybox"}]})
}

fn set() -> Value {
    let labels = json!({"app": "x"});
    json!({
        "serviceName": "x",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod()},
    })
}

/// Calls a method as the holder of a certificate, and gives how it was refused.
async fn refusal(product: &Product, holder: &str, method: &str) -> Refusal {
    let service = method.split('.').nth(1).expect("setkeeper.<service>.v1").replace('_', "-");
    let door = Door::of_server(product, holder, &service);
    let answer = tool::call(&door, method, &[request(method)], |_| false).await;
    answer.expect_err(&format!("{holder} may not call {method}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_another_namespace_is_refused_by_every_public_method() {
    if !available(&["grpcurl"]) {
        return;
    }
    let product = secured(&[]).await;
    std::fs::write(product.policy_path(), ANN).expect("the policy can be written");
    new_policy_holds(&product).await;
    let public = methods()
        .into_iter()
        .filter(|method| method.starts_with(&package("coordinator")) && !method.contains(".NodeService/"));
    for method in public {
        let refused = refusal(&product, "users/ann", &method).await;
        let says = refused.text.contains("you are user/ann") && refused.text.contains("does not give you");
        assert!(refused.code == "PermissionDenied" && says, "{method}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_service_opens_nothing() {
    if !available(&["grpcurl"]) {
        return;
    }
    let product = secured(&[]).await;
    let coordinator = package("coordinator");
    let node = format!("{coordinator}.NodeService/");
    for method in methods() {
        let mut strangers = vec!["volume-claim"];
        if !method.starts_with(&node) {
            strangers.push("pod-runtime");
        }
        strangers.push(if method.starts_with(&coordinator) { "coordinator" } else { "users/admin" });
        for holder in strangers {
            let refused = refusal(&product, holder, &method).await;
            assert_eq!(refused.code, "PermissionDenied", "{holder}, {method}: {refused:?}");
        }
    }
}
