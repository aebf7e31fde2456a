//! Real redis: replicas follow the pod of ordinal 0 by its name.

use support::{available, until};

use super::{example, product};

#[tokio::test(flavor = "multi_thread")]
async fn redis_replicas_follow_the_first_pod_by_name() {
    if !available(&["redis-server", "redis-cli"]) {
        return;
    }
    let product = product().await;
    let applied = product.run_with(&["apply", "-f", "-"], &example("redis.yaml")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["redis-0", "redis-1", "redis-2"]).await;
    let manifest = r#"
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: OnFailure
  containers:
    - name: main
      image: redis
      command:
        - sh
        - -ec
        - |
          redis-cli -h redis-0.redis set kept yes
          redis-cli -h redis-0.redis info replication | grep -q connected_slaves:2
          redis-cli -h redis-0.redis wait 2 10000
          redis-cli -h redis-1.redis get kept
          redis-cli -h redis-2.redis.default.svc.cluster.local get kept
"#;
    let applied = product.run_with(&["apply", "-f", "-"], manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    until("the client has ended well", || async {
        let pod = product.get(&["pod", "client"]).await.ok_or("does not exist")?;
        match pod["status"]["phase"].as_str() {
            Some("Succeeded") => Ok(()),
            phase => Err(format!("{phase:?}: {:?}", product.run(&["logs", "client"]).await)),
        }
    })
    .await;
    let log = product.ok(&["logs", "client"]).await;
    assert!(log.trim_end().ends_with("yes\nyes"), "{log}");
}
