//! Plain processes, where namespaces are refused: pods still find each other by name, and what is missing is said.

use support::{Layout, Options, Product, available, until};

use super::{an_ordinary_user, options};

/// In the process tier, as an ordinary user: no port 53, so names come from hosts files.
async fn plain() -> Product {
    let (user, arguments) = (an_ordinary_user(), vec!["--runtime=process".to_owned()]);
    Product::start(Options { user, arguments, ..options(Layout::OneProcess) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_processes_find_each_other_by_name_and_say_what_is_degraded() {
    let product = plain().await;
    let node = until("the machine says how it runs pods", || async {
        let nodes = product.run(&["describe", "node"]).await;
        if nodes.stdout.contains("port 53") { Ok(nodes.stdout) } else { Err(format!("{nodes:?}")) }
    })
    .await;
    assert!(node.contains("process") && node.contains("hosts file"), "{node}");
    let applied = product.run_with(&["apply", "-f", "-"], &peers()).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    // Each is ready once it has resolved all three, by the short name and by the whole one.
    product.ready(&["peers-0", "peers-1", "peers-2"]).await;
    let pod = product.get(&["pod", "peers-1"]).await.expect("exists");
    let address = pod["status"]["podIP"].as_str().expect("has an address");
    assert!(address.starts_with("127.77."), "{address}");
    let before = product.ok(&["logs", "peers-0"]).await;
    assert!(before.contains(&format!("peers-1 {address}")), "{before}");

    // A pod that comes back is found where it is now, by pods that never restarted.
    product.ok(&["delete", "pod", "peers-1"]).await;
    product.ready(&["peers-1"]).await;
    let pod = product.get(&["pod", "peers-1"]).await.expect("exists");
    let now = format!("peers-1 {}", pod["status"]["podIP"].as_str().expect("has an address"));
    until("peers-0 knows where peers-1 is now", || async {
        let log = product.ok(&["logs", "peers-0"]).await;
        let last = log.lines().rev().find(|line| line.starts_with("peers-1 ")).unwrap_or_default().to_owned();
        if last == now { Ok(()) } else { Err(last) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_members_form_a_quorum_as_plain_processes_of_an_ordinary_user() {
    if !available(&["etcd", "etcdctl"]) {
        return;
    }
    let product = plain().await;
    super::etcd::forms_a_quorum(&product).await;
}

/// Three pods that look each other up by two spellings of their names until all are known, and then go on.
fn peers() -> String {
    r#"
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: peers}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: peers}
spec:
  serviceName: peers
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: peers}}
  template:
    metadata: {labels: {app: peers}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: main
          image: busybox
          command:
            - sh
            - -c
            - |
              while :; do
                known=0
                for n in 0 1 2; do
                  short=$(getent hosts peers-$n.peers) && full=$(getent hosts peers-$n.peers.default.svc.cluster.local) &&
                    echo peers-$n ${short%% *} && test "${short%% *}" = "${full%% *}" && known=$((known + 1))
                done
                test $known = 3 && : > /data/known
                sleep 0.5
              done
          volumeMounts: [{name: data, mountPath: /data}]
          readinessProbe: {exec: {command: [test, -e, /data/known]}, periodSeconds: 1}
      volumes: [{name: data, emptyDir: {}}]
"#
    .to_owned()
}
