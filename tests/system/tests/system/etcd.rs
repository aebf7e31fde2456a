//! Three real etcd members find each other by their pods' names, and keep what was written.

use support::{Product, available, until};

use super::{example, ordinary, product};

const MEMBERS: [&str; 3] = ["etcd-0", "etcd-1", "etcd-2"];

/// Runs `etcdctl` in a pod of its own, as a user of the cluster would, and gives what it printed.
async fn etcdctl(product: &Product, name: &str, arguments: &str) -> String {
    let manifest = format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: etcd
      env: [{{name: ETCDCTL_API, value: "3"}}]
      command: [sh, -c, "etcdctl --endpoints=http://etcd-0.etcd:2379,http://etcd-2.etcd:2379 --command-timeout=30s {arguments}"]
"#
    );
    let applied = product.run_with(&["apply", "-f", "-"], &manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    until(&format!("pod {name} has ended well"), || async {
        let pod = product.get(&["pod", name]).await.ok_or("does not exist")?;
        match pod["status"]["phase"].as_str() {
            Some("Succeeded") => Ok(()),
            phase => Err(format!("{phase:?}: {:?}", product.run(&["logs", name]).await)),
        }
    })
    .await;
    let log = product.ok(&["logs", name]).await;
    product.ok(&["delete", "pod", name]).await;
    log
}

pub(super) async fn forms_a_quorum(product: &Product) {
    let applied = product.run_with(&["apply", "-f", "-"], &example("etcd.yaml")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&MEMBERS).await;
    let members = etcdctl(product, "members", "member list").await;
    for member in MEMBERS {
        assert!(members.contains(member), "{members}");
    }
    assert!(etcdctl(product, "put", "put kept yes").await.contains("OK"));

    let before = product.get(&["pod", "etcd-1"]).await.expect("exists");
    product.ok(&["delete", "pod", "etcd-1"]).await;
    product.ready(&["etcd-1"]).await;
    let after = product.get(&["pod", "etcd-1"]).await.expect("exists");
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(before["spec"]["volumes"], after["spec"]["volumes"]);

    let members = etcdctl(product, "members-after", "member list").await;
    assert_eq!(members.matches("started").count(), 3, "{members}");
    assert!(etcdctl(product, "get", "get kept").await.contains("yes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_members_form_a_quorum_and_keep_their_data() {
    if available(&["etcd", "etcdctl"]) {
        forms_a_quorum(&product().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_members_form_a_quorum_for_an_ordinary_user() {
    if available(&["etcd", "etcdctl"]) {
        forms_a_quorum(&ordinary().await).await;
    }
}
