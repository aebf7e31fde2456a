//! Every example applies unchanged and reaches the state it stands for; every bad manifest is refused well.

use serde_json::Value;
use support::{Product, until};

use super::{example, product};

/// Applies an example to a fresh product; applying it again must change nothing.
async fn applied(name: &str) -> Product {
    let product = product().await;
    let applied = product.run_with(&["apply", "-f", "-"], &example(name)).await;
    assert_eq!(applied.code, 0, "{name}: {applied:?}");
    let again = product.run_with(&["apply", "-f", "-"], &example(name)).await;
    assert!(again.stdout.lines().all(|line| line.ends_with("unchanged")), "{name}: {again:?}");
    product
}

/// Returns when pod `name` is ready or, where the program of its image is not installed here, says so with the remedy.
/// Gives whether it is ready.
async fn ready_or_not_installed(product: &Product, name: &str) -> bool {
    until(&format!("{name} is ready, or says what to install"), || async {
        let pod = product.get(&["pod", name]).await.ok_or("does not exist")?;
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.clone().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let remedy = |message: &str| message.contains("install") || message.contains("add a `command`");
        let says_so = waiting["message"].as_str().is_some_and(remedy);
        match (ready, waiting["reason"] == "ErrImageNeverPull" && says_so) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(pod["status"].to_string()),
        }
    })
    .await
}

/// Returns when a claim is bound, and gives its volume.
async fn bound(product: &Product, claim: &str) -> Value {
    let volume = until(&format!("{claim} is bound"), || async {
        let claim = product.get(&["pvc", claim]).await.ok_or("does not exist")?;
        match (claim["status"]["phase"].as_str(), claim["spec"]["volumeName"].as_str()) {
            (Some("Bound"), Some(volume)) => Ok(volume.to_owned()),
            _ => Err(claim["status"].to_string()),
        }
    })
    .await;
    product.get(&["pv", &volume]).await.expect("a bound volume exists")
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_says_that_its_class_is_missing() {
    let product = applied("nginx.yaml").await;
    until("claim and pod say which class is missing", || async {
        let claim = product.get(&["pvc", "www-web-0"]).await.ok_or("no claim yet")?;
        let pod = product.get(&["pod", "web-0"]).await.ok_or("no pod yet")?;
        let both = claim["status"].to_string().contains("my-storage-class")
            && pod["status"].to_string().contains("my-storage-class");
        if both { Ok(()) } else { Err(format!("{} {}", claim["status"], pod["status"])) }
    })
    .await;
    let class = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: my-storage-class}\n\
                 provisioner: setkeeper.dev/directory\n";
    assert_eq!(product.run_with(&["apply", "-f", "-"], class).await.code, 0);
    bound(&product, "www-web-0").await;
    ready_or_not_installed(&product, "web-0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_two_binds_the_volumes_that_were_made_by_hand() {
    let product = applied("nginx-two.yaml").await;
    let first = bound(&product, "www-web-0").await;
    assert_eq!(first["metadata"]["name"], "pv001");
    assert_eq!(
        (&first["spec"]["persistentVolumeReclaimPolicy"], &first["status"]["phase"]),
        (&"Retain".into(), &"Bound".into())
    );
    if ready_or_not_installed(&product, "web-0").await {
        assert_eq!(bound(&product, "www-web-1").await["metadata"]["name"], "pv002");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_takes_its_domain_from_the_service_and_its_names_from_the_set() {
    let product = applied("mysql.yaml").await;
    ready_or_not_installed(&product, "stateful-mysql-0").await;
    let pod = product.get(&["pod", "stateful-mysql-0"]).await.expect("exists");
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&"stateful-mysql-0".into(), &"none-service".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_keeps_the_lowest_ordinal_on_its_revision() {
    let product = applied("partition.yaml").await;
    ready_or_not_installed(&product, "stateful-nginx-0").await;
    let set = product.get(&["sts", "stateful-nginx"]).await.expect("exists");
    assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 1);
    assert_eq!(set["status"]["currentRevision"], set["status"]["updateRevision"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_claims_carry_the_labels_of_template_and_selector() {
    let product = applied("emqx.yaml").await;
    bound(&product, "emqx-data-emqx-ee-0").await;
    let claim = product.get(&["pvc", "emqx-data-emqx-ee-0"]).await.expect("exists");
    let labels = &claim["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/name"], "emqx-ee");
    assert_eq!(labels["app.kubernetes.io/instance"], "emqx-ee");
    ready_or_not_installed(&product, "emqx-ee-0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinals_begin_at_five() {
    let product = applied("ordinals.yaml").await;
    product.ready(&["shard-5", "shard-6", "shard-7"]).await;
    assert!(product.get(&["pod", "shard-0"]).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_the_claim_of_a_scaled_down_ordinal_only() {
    let product = applied("retention.yaml").await;
    product.ready(&["cache-0", "cache-1", "cache-2"]).await;
    product.ok(&["scale", "sts", "cache", "--replicas=2"]).await;
    until("the claim of ordinal 2 is gone", || async {
        match product.get(&["pvc", "data-cache-2"]).await {
            None => Ok(()),
            Some(claim) => Err(claim["metadata"].to_string()),
        }
    })
    .await;
    assert!(product.get(&["pod", "cache-2"]).await.is_none(), "a claim goes after its pod");
    product.ok(&["delete", "sts", "cache"]).await;
    assert!(product.get(&["pvc", "data-cache-1"]).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_mounts_a_claim_of_its_own() {
    let product = applied("pod-with-claim.yaml").await;
    bound(&product, "pvc-example").await;
    ready_or_not_installed(&product, "pod-example").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_manifests_are_refused_with_the_remedy_and_leave_nothing() {
    let product = product().await;
    let bad = |name: &str| {
        let path = format!("{}/../../services/api/tests/bad/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("is there")
    };
    for (name, says) in [
        ("misplaced-resources", &["resources", "spec.resources.requests.storage"][..]),
        ("second-document-invalid", &["1GB", "1Gi"]),
        ("selector-mismatch", &["spec.template.metadata.labels", "nginx"]),
        ("tab", &["tab", "line"]),
        ("unknown-field", &["spec.replica", "spec.replicas"]),
    ] {
        let refused = product.run_with(&["apply", "-f", "-"], &bad(name)).await;
        assert_eq!(refused.code, 1, "{name}: {refused:?}");
        let said = refused.stderr.to_lowercase();
        assert!(says.iter().all(|part| said.contains(&part.to_lowercase())), "{name}: {}", refused.stderr);
    }
    for kind in ["sts", "svc", "pvc", "pods"] {
        let list = product.get(&[kind, "-A"]).await.expect("can be listed");
        assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{kind}: {list}");
    }
}
