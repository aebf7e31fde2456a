//! Closed to strangers: every service on its own, over mutual TLS, with users who may do some things and not others.

use serde_json::Value;
use support::{Collector, Output, Product, until};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{mark, secured, sleepers};

/// What nobody must find anywhere but where it belongs.
const SECRET: &str = "xyzzy-plugh-4711";

/// The same in base64, as manifests and answers carry it.
const SECRET_BASE64: &str = "eHl6enktcGx1Z2gtNDcxMQ==";

const ANN: &str = r#"
users:
- {name: admin, grants: [{namespaces: ["*"], verbs: ["*"], kinds: ["*"]}]}
- name: ann
  grants:
  - {namespaces: [shop], verbs: [get, list, watch, apply, scale]}
"#;

/// One setting, in a namespace.
fn setting(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{a: b}}\n---\n"
    )
}

/// Returns when the policy was read that was written last. It is read with a call, and that is not one of its users'.
pub(super) async fn new_policy_holds(product: &Product) {
    until("the new policy holds", || async {
        product.ok(&["version"]).await;
        if product.log().contains("file=\"policy\"") { Ok(()) } else { Err(product.log_tail()) }
    })
    .await;
}

async fn as_holder(product: &Product, holder: &str, arguments: &[&str], input: &str) -> Output {
    let own = product.as_holder(holder);
    let arguments: Vec<&str> = arguments.iter().copied().chain(own.iter().map(String::as_str)).collect();
    product.run_with(&arguments, input).await
}

fn audit(product: &Product) -> Vec<Value> {
    let text = std::fs::read_to_string(product.data().join("audit.log")).expect("the coordinator writes it");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn six_services_run_a_set_over_mutual_tls_and_take_new_certificates() {
    let mut product = secured(&[]).await;
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark("secured"), 2, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    product.ok(&["logs", "sleepers-0"]).await;

    product.certify(&[]).await;
    for service in ["ordinal-scheduler", "volume-claim", "pod-runtime", "coordinator"] {
        product.kill(service);
        product.serve(service);
    }
    product.answers().await;
    product.ok(&["scale", "sts/sleepers", "--replicas", "3"]).await;
    product.ready(&["sleepers-2"]).await;
    assert!(product.interrupt_all().await, "{}", product.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_does_what_the_policy_says_and_all_of_it_is_recorded() {
    let product = secured(&[]).await;
    product.ok(&["version"]).await;
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    assert_eq!(product.run_with(&["apply", "-f", "-"], namespace).await.code, 0);

    let unknown = as_holder(&product, "users/ann", &["get", "cm", "-n", "shop"], "").await;
    assert!(unknown.code != 0 && unknown.stderr.contains("you are user/ann"), "{unknown:?}");
    std::fs::write(product.policy_path(), ANN).expect("the policy can be written");
    // Not asked as her: refusals beyond a bound are not recorded, and this test counts them.
    new_policy_holds(&product).await;

    let ann = async |arguments: &[&str], input: &str| as_holder(&product, "users/ann", arguments, input).await;
    let applied = ann(&["apply", "-f", "-"], &setting("shop", "one")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let both = ann(&["apply", "-f", "-"], &[setting("shop", "two"), setting("default", "two")].concat()).await;
    assert!(both.code != 0 && both.stderr.contains("namespace \"default\""), "{both:?}");
    assert!(product.get(&["cm", "two", "-n", "shop"]).await.is_none(), "all or nothing");
    for refused in [
        &["get", "cm", "-n", "default"][..],
        &["get", "cm", "-A"],
        &["get", "secret", "-n", "shop"],
        &["get", "pv"],
        &["delete", "cm", "one", "-n", "shop"],
        &["logs", "nobody", "-n", "shop"],
        &["version"],
    ] {
        let output = ann(refused, "").await;
        let said = [output.stdout.as_str(), &output.stderr].concat();
        assert!(said.contains("you are user/ann"), "{refused:?}: {output:?}");
    }
    for service in ["pod-runtime", "ordinal-scheduler"] {
        let output = as_holder(&product, service, &["get", "cm", "-n", "shop"], "").await;
        assert!(output.code != 0 && output.stderr.contains("only users may"), "{service}: {output:?}");
    }

    let records = audit(&product);
    let of = |caller: &str, verb: &str| -> Vec<&Value> {
        records.iter().filter(|record| record["caller"] == caller && record["verb"] == verb).collect()
    };
    let applied = of("user/ann", "apply");
    assert_eq!(applied.len(), 2, "{applied:?}");
    assert_eq!((applied[0]["outcome"].as_str(), applied[1]["outcome"].as_str()), (Some("OK"), Some("FORBIDDEN")));
    let object = &applied[0]["objects"][0];
    assert_eq!(
        (&object["kind"], &object["namespace"], &object["name"]),
        (&"ConfigMap".into(), &"shop".into(), &"one".into())
    );
    let stored = product.get(&["cm", "one", "-n", "shop"]).await.expect("is there");
    assert_eq!(object["uid"], stored["metadata"]["uid"]);
    assert_eq!(of("user/admin", "apply").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_follows_ends_with_the_grant() {
    let product = secured(&[]).await;
    std::fs::write(product.policy_path(), ANN).expect("the policy can be written");
    new_policy_holds(&product).await;
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";
    let both = [namespace, &setting("shop", "one")].concat();
    assert_eq!(product.run_with(&["apply", "-f", "-"], &both).await.code, 0);
    let own = product.as_holder("users/ann");
    let follow = ["get", "cm", "-n", "shop", "--watch"].into_iter().chain(own.iter().map(String::as_str));
    let mut child = product.begin(&follow.collect::<Vec<_>>());
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let following = async {
        while let Some(line) = lines.next_line().await.expect("is text") {
            if line.contains("one") {
                std::fs::write(product.policy_path(), "users: []").expect("the policy can be written");
            }
        }
        child.wait_with_output().await.expect("ends")
    };
    let output = tokio::time::timeout(support::WAIT_MAX, following).await.expect("it ends with the grant");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("does not give you \"watch\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_nowhere_but_in_itself_and_in_its_pod() {
    let collector = Collector::start();
    let product = secured(&["--log", "trace,h2=info,hyper_util=info", "--otlp-endpoint", collector.endpoint()]).await;
    let manifest = format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: key}}
data: {{password: {SECRET_BASE64}}}
---
{}"#,
        sleepers(&mark("secret"), 1, "OrderedReady").replace(
            "          env:\n",
            "          env:\n            - {name: PASSWORD, valueFrom: {secretKeyRef: {name: key, key: password}}}\n",
        )
    );
    let applied = product.run_with(&["apply", "-f", "-"], &manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0"]).await;
    let changed = manifest.replace("name: PASSWORD", "name: PASSWORD2");
    assert_eq!(product.run_with(&["apply", "-f", "-"], &changed).await.code, 0);
    product.ok(&["rollout", "status", "sts/sleepers"]).await;
    let secret = product.get(&["secret", "key"]).await.expect("is there");
    assert_eq!(secret["data"]["password"], SECRET_BASE64, "its own Get shows it");

    let traced = |record: &Value| record["traceId"].as_str().is_some_and(|id| id.len() == 32);
    assert!(audit(&product).iter().all(traced), "every change names its trace");

    let mut found = vec![("log", product.log())];
    found.push(("audit", std::fs::read_to_string(product.data().join("audit.log")).expect("is there")));
    found.push(("spans", format!("{:?}", collector.spans())));
    found.push(("apply", applied.stdout + &applied.stderr));
    for kind in ["sts", "pod", "controllerrevision", "decision", "event", "pvc", "node", "svc"] {
        found.push((kind, product.ok(&["get", kind, "-A", "-o", "json"]).await));
    }
    found.push(("describe pod", product.ok(&["describe", "pod", "sleepers-0"]).await));
    found.push(("describe secret", product.ok(&["describe", "secret", "key"]).await));
    found.push(("get secret", product.ok(&["get", "secret"]).await));
    for (place, text) in found {
        assert!(text.len() > 10, "{place} was looked at");
        for secret in [SECRET, SECRET_BASE64] {
            let here = text.find(secret).map(|at| &text[at.saturating_sub(200)..at]);
            assert_eq!(here, None, "the secret is in {place}");
        }
    }
}
