//! Every example applies unchanged and reaches the state it stands for; every bad manifest is refused well.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use support::{Product, in_pod, until};

use super::{example, product, volume};

/// Programs of the examples that the run of all checks installs. (etcd and redis have tests of their own.)
const INSTALLED_BY_CI: [&str; 1] = ["nginx"];

/// Every example. Those of the demo, etcd and redis are looked at elsewhere: they need more than this.
const EXAMPLES: [&str; 12] = [
    "demo.yaml",
    "emqx.yaml",
    "etcd.yaml",
    "mysql.yaml",
    "nginx-two.yaml",
    "nginx.yaml",
    "ordinals.yaml",
    "own.yaml",
    "partition.yaml",
    "pod-with-claim.yaml",
    "redis.yaml",
    "retention.yaml",
];

/// Applies an example to a fresh product; applying it again must change nothing.
async fn applied(name: &str) -> Product {
    let product = product().await;
    let applied = product.run_with(&["apply", "-f", "-"], &example(name)).await;
    assert_eq!(applied.code, 0, "{name}: {applied:?}");
    let again = product.run_with(&["apply", "-f", "-"], &example(name)).await;
    assert!(again.stdout.lines().all(|line| line.ends_with("unchanged")), "{name}: {again:?}");
    product
}

/// Whether a program of the catalogue is installed, by the directories that the catalogue looks in. Where `CI=true`, what
/// the run installs has to be.
fn installed(program: &str) -> bool {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = directories.iter().any(|directory| Path::new(directory).join(program).is_file());
    #[expect(clippy::disallowed_methods, reason = "tests ask for CI themselves")]
    let must_be = INSTALLED_BY_CI.contains(&program) && std::env::var("CI").as_deref() == Ok("true");
    assert!(found || !must_be, "{program} is not installed");
    found
}

/// Returns when the pods of a set are as they have to be here: all ready where one of `programs` is installed, else the
/// first one waiting with the reason and the remedy, and no other begun. Gives whether they are ready.
async fn settled(product: &Product, programs: &[&str], pods: &[&str], remedy: &str) -> bool {
    if programs.iter().any(|program| installed(program)) {
        product.ready(pods).await;
        return true;
    }
    let first = pods[0];
    until(&format!("{first} says what to do"), || async {
        let pod = product.get(&["pod", first]).await.ok_or("does not exist")?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let says_so = waiting["message"].as_str().is_some_and(|message| message.contains(remedy));
        match waiting["reason"] == "ErrImageNeverPull" && says_so {
            true => Ok(()),
            false => Err(pod["status"].to_string()),
        }
    })
    .await;
    for later in &pods[1..] {
        assert!(product.get(&["pod", later]).await.is_none(), "{later} waits for {first}");
    }
    false
}

/// What a pod of this machine gets that asks `host` for its page, by bash alone. `name` names the asking pod.
async fn page(product: &Product, name: &str, host: &str) -> String {
    let ask = format!("exec 3<>/dev/tcp/{host}/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "OnFailure", "containers": [
            {"name": "main", "image": "bash", "command": ["bash", "-c", ask]},
        ]},
    });
    let applied = product.run_with(&["apply", "-f", "-"], &pod.to_string()).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    until(&format!("{name} has got its page"), || async {
        let pod = product.get(&["pod", name]).await.ok_or("does not exist")?;
        match pod["status"]["phase"].as_str() {
            Some("Succeeded") => Ok(()),
            phase => Err(format!("{phase:?}: {:?}", product.run(&["logs", name]).await)),
        }
    })
    .await;
    product.ok(&["logs", name]).await
}

/// The revision of a pod, by its label.
async fn revision(product: &Product, name: &str) -> String {
    let pod = product.get(&["pod", name]).await.unwrap_or_default();
    pod["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap_or_default().to_owned()
}

async fn gone(product: &Product, kind: &str, name: &str) {
    until(&format!("{kind} {name} is gone"), || async {
        match product.get(&[kind, name]).await {
            None => Ok(()),
            Some(object) => Err(object["metadata"].to_string()),
        }
    })
    .await;
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

#[test]
fn every_example_is_looked_at() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");
    let files = std::fs::read_dir(directory).expect("is there").flatten().map(|entry| entry.file_name());
    let found: BTreeSet<_> = files.map(|name| name.into_string().expect("is text")).collect();
    assert_eq!(found, EXAMPLES.iter().map(|name| (*name).to_owned()).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_says_that_its_class_is_missing_and_serves_once_it_is_there() {
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
    if !settled(&product, &["nginx"], &["web-0", "web-1", "web-2"], "apt-get install nginx-light").await {
        return;
    }
    until("all three are available, which takes minReadySeconds", || async {
        let set = product.get(&["sts", "web"]).await.ok_or("does not exist")?;
        if set["status"]["availableReplicas"] == 3 { Ok(()) } else { Err(set["status"].to_string()) }
    })
    .await;
    let since = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one["type"] == "Ready").unwrap_or_default();
        ready["lastTransitionTime"].as_str().unwrap_or_default().to_owned()
    };
    let first = product.get(&["pod", "web-0"]).await.expect("exists");
    let second = product.get(&["pod", "web-1"]).await.expect("exists");
    // Both as RFC 3339 in UTC with whole seconds, so that their order is that of their texts.
    assert!(since(&first).as_str() < second["metadata"]["creationTimestamp"].as_str().unwrap_or_default());
    std::fs::write(volume(&product, "www-web-2").await.join("index.html"), "the page of ordinal 2\n").expect("a page");
    assert!(page(&product, "client", "web-2.nginx").await.ends_with("the page of ordinal 2\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_two_binds_the_volumes_that_were_made_by_hand_and_serves_what_is_on_them() {
    let product = applied("nginx-two.yaml").await;
    let first = bound(&product, "www-web-0").await;
    assert_eq!(first["metadata"]["name"], "pv001");
    assert_eq!(
        (&first["spec"]["persistentVolumeReclaimPolicy"], &first["status"]["phase"]),
        (&"Retain".into(), &"Bound".into())
    );
    if !settled(&product, &["nginx"], &["web-0", "web-1"], "apt-get install nginx-light").await {
        return;
    }
    assert_eq!(bound(&product, "www-web-1").await["metadata"]["name"], "pv002");
    for (pod, volume) in [("web-0", "pv001"), ("web-1", "pv002")] {
        std::fs::write(format!("/tmp/{volume}/index.html"), format!("the page of {volume}\n")).expect("a page");
        let address = product.get(&["pod", pod]).await.expect("exists")["status"]["podIP"].clone();
        let host = address.as_str().expect("has an address");
        let page = page(&product, &format!("client-of-{pod}"), host).await;
        assert!(page.ends_with(&format!("the page of {volume}\n")), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_takes_its_domain_from_the_service_and_its_names_from_the_set() {
    let product = applied("mysql.yaml").await;
    let pods = ["stateful-mysql-0", "stateful-mysql-1", "stateful-mysql-2"];
    settled(&product, &["mariadbd", "mysqld"], &pods, "apt-get install mariadb-server").await;
    let pod = product.get(&["pod", "stateful-mysql-0"]).await.expect("exists");
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&"stateful-mysql-0".into(), &"none-service".into())
    );
    let service = product.get(&["svc", "none-service"]).await.expect("exists");
    assert_eq!((&service["spec"]["clusterIP"], &service["spec"]["ports"][0]["port"]), (&"None".into(), &80.into()));
    let claims = product.get(&["pvc"]).await.expect("can be listed");
    assert_eq!(claims["items"].as_array().map(Vec::len), Some(0), "a set without claims");
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_keeps_the_lowest_ordinal_on_its_revision() {
    let product = applied("partition.yaml").await;
    let pods = ["stateful-nginx-0", "stateful-nginx-1", "stateful-nginx-2"];
    let set = product.get(&["sts", "stateful-nginx"]).await.expect("exists");
    assert_eq!(set["spec"]["podManagementPolicy"], "OrderedReady");
    assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 1);
    if !settled(&product, &["nginx"], &pods, "apt-get install nginx-light").await {
        return;
    }
    let before = revision(&product, pods[0]).await;
    let first = product.get(&["pod", pods[0]]).await.expect("exists");
    let changed = example("partition.yaml").replace("image: nginx", "image: nginx:1.27");
    let applied = product.run_with(&["apply", "-f", "-"], &changed).await;
    assert!(applied.stdout.contains("stateful-nginx configured"), "{applied:?}");
    until("two of three pods are updated and ready", || async {
        let set = product.get(&["sts", "stateful-nginx"]).await.ok_or("does not exist")?;
        let status = &set["status"];
        let done = status["updatedReplicas"] == 2 && status["readyReplicas"] == 3 && status["replicas"] == 3;
        if done && status["currentRevision"] != status["updateRevision"] { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let after = revision(&product, pods[1]).await;
    assert_ne!(before, after);
    let revisions = [revision(&product, pods[0]).await, revision(&product, pods[2]).await];
    assert_eq!(revisions, [before.clone(), after], "1 and 2 changed, 0 did not");
    let still = product.get(&["pod", pods[0]]).await.expect("exists");
    assert_eq!(still["metadata"]["uid"], first["metadata"]["uid"], "0 was not touched");
    let said = product.ok(&["rollout", "status", "sts/stateful-nginx", "--timeout=60s"]).await;
    assert!(said.contains("partitioned roll out complete: 2 new pods"), "{said}");
    // Below the partition a pod comes back as it was.
    product.ok(&["delete", "pod", pods[0]]).await;
    product.ready(&pods).await;
    assert_eq!(revision(&product, pods[0]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_claims_carry_the_labels_of_template_and_selector() {
    let product = applied("emqx.yaml").await;
    let volume = bound(&product, "emqx-data-emqx-ee-0").await;
    assert_eq!(volume["spec"]["storageClassName"], "standard");
    let claim = product.get(&["pvc", "emqx-data-emqx-ee-0"]).await.expect("exists");
    let labels = &claim["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/name"], "emqx-ee");
    assert_eq!(labels["app.kubernetes.io/instance"], "emqx-ee");
    // No program of any distribution: always to be told.
    assert!(!settled(&product, &[], &["emqx-ee-0", "emqx-ee-1", "emqx-ee-2"], "add a `command`").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinals_begin_at_five_and_all_start_at_once() {
    let product = applied("ordinals.yaml").await;
    product.ready(&["shard-5", "shard-6", "shard-7"]).await;
    let pods = product.get(&["pods"]).await.expect("can be listed");
    let items = pods["items"].as_array().cloned().unwrap_or_default();
    let of = |path: &str| items.iter().map(|pod| pod.pointer(path).cloned().unwrap_or_default()).collect::<Vec<_>>();
    assert_eq!(of("/metadata/name"), ["shard-5", "shard-6", "shard-7"]);
    assert_eq!(of("/metadata/labels/apps.kubernetes.io~1pod-index"), ["5", "6", "7"]);
    let set = product.get(&["sts", "shard"]).await.expect("exists");
    assert_eq!(
        (&set["spec"]["ordinals"]["start"], &set["spec"]["podManagementPolicy"]),
        (&5.into(), &"Parallel".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_our_own_leaves_out_what_it_reserves() {
    let product = applied("own.yaml").await;
    product.ready(&["queue-0", "queue-2", "queue-3"]).await;
    assert!(product.get(&["pod", "queue-1"]).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_the_claim_of_a_scaled_down_ordinal_only() {
    let product = applied("retention.yaml").await;
    product.ready(&["cache-0", "cache-1", "cache-2"]).await;
    let claim = |ordinal: u8| format!("data-cache-{ordinal}");
    let uid = async |name: &str| product.get(&["pvc", name]).await.map(|claim| claim["metadata"]["uid"].clone());
    let before = [uid(&claim(0)).await, uid(&claim(1)).await, uid(&claim(2)).await];
    product.ok(&["scale", "sts", "cache", "--replicas=2"]).await;
    gone(&product, "pvc", &claim(2)).await;
    assert!(product.get(&["pod", "cache-2"]).await.is_none(), "a claim goes after its pod");
    // Scaled up again, the ordinal begins with nothing.
    product.ok(&["scale", "sts", "cache", "--replicas=3"]).await;
    product.ready(&["cache-2"]).await;
    assert_ne!(uid(&claim(2)).await, before[2]);
    let starts = std::fs::read_to_string(volume(&product, &claim(2)).await.join("starts")).expect("it was started");
    assert_eq!(starts.lines().count(), 1);
    // Deleted, the set leaves every claim.
    product.ok(&["delete", "sts", "cache"]).await;
    gone(&product, "sts", "cache").await;
    assert_eq!([uid(&claim(0)).await, uid(&claim(1)).await], before[..2]);
    assert!(uid(&claim(2)).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_mounts_a_claim_of_its_own() {
    let product = applied("pod-with-claim.yaml").await;
    bound(&product, "pvc-example").await;
    if !settled(&product, &["nginx"], &["pod-example"], "apt-get install nginx-light").await {
        return;
    }
    let pod = product.get(&["pod", "pod-example"]).await.expect("exists");
    let page = page(&product, "client", pod["status"]["podIP"].as_str().expect("has an address")).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    // Its mount is the claim's directory, as the program in the pod sees it.
    let data = volume(&product, "pvc-example").await;
    std::fs::write(data.join("mark"), "").expect("a file");
    let [nginx] = &in_pod(&["HOSTNAME=pod-example"])[..] else { panic!("one nginx runs there") };
    assert!(Path::new(&format!("/proc/{}/root/var/www/html/mark", nginx.pid)).exists());
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
