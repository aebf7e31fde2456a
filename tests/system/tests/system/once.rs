//! No ordinal ever runs twice, whenever the whole product is killed: looked after by the programs in the pods, all the time.
//!
//! Each pod runs the program of the demo. It holds a lock on its volume for its whole life, counts its starts there, and
//! leaves a mark for good if it ever finds the lock held.

use std::path::Path;
use std::process::Stdio;

use support::{Process, Product, in_pod, until};

use super::{BINARY, mark, product, volume};

/// When in a scale-up by two pods the product is killed; `lower` and `higher` are the ordinals to come.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// As soon as the new scale is accepted.
    Accepted,
    /// When the claim of the lower exists.
    Claimed,
    /// When the pod of the lower exists.
    Created,
    /// When the program of the lower runs.
    Running,
    /// When the lower is ready.
    Ready,
    /// When the program of the higher runs.
    HigherRunning,
}

/// Each kill is followed by a start, and the next scale-up begins before this one has ended.
const MOMENTS: [Moment; 6] =
    [Moment::Accepted, Moment::Claimed, Moment::Created, Moment::Running, Moment::Ready, Moment::HigherRunning];

/// A set whose pods look after themselves. Its processes can be told by the variable `MARK`.
fn keepers(mark: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: keepers}}
spec:
  serviceName: keepers
  replicas: 1
  selector: {{matchLabels: {{app: keepers}}}}
  template:
    metadata: {{labels: {{app: keepers}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: main
          image: setkeeper/demo
          env:
            - {{name: MARK, value: "{mark}"}}
            - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
            - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
          volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"#
    )
}

fn name(ordinal: usize) -> String {
    format!("keepers-{ordinal}")
}

/// The programs in the pods, without the shims around them.
fn programs(mark: &str, ordinal: usize) -> Vec<Process> {
    let mut found = in_pod(&[&format!("MARK={mark}"), &format!("POD_NAME={}", name(ordinal))]);
    found.retain(|process| process.command.get(1).is_some_and(|argument| argument == "demo-workload"));
    found
}

async fn reached(product: &Product, mark: &str, moment: Moment, lower: usize) {
    let exists = |kind: &'static str, name: String| async move {
        product.get(&[kind, &name]).await.map(|_| ()).ok_or(format!("no {kind} {name}"))
    };
    let runs = |ordinal| match programs(mark, ordinal).len() {
        0 => Err(format!("{ordinal} does not run")),
        _ => Ok(()),
    };
    match moment {
        Moment::Accepted => {}
        Moment::Ready => product.ready(&[&name(lower)]).await,
        moment => {
            until(&format!("{moment:?}"), || async {
                match moment {
                    Moment::Claimed => exists("pvc", format!("data-{}", name(lower))).await,
                    Moment::Created => exists("pod", name(lower)).await,
                    Moment::HigherRunning => runs(lower + 1),
                    _ => runs(lower),
                }
            })
            .await;
        }
    }
}

/// How often a program was started on this volume, and the mark of those that found another one there.
fn starts(volume: &Path) -> (String, Option<String>) {
    let starts = std::fs::read_to_string(volume.join("starts")).unwrap_or_default();
    (starts.trim().to_owned(), std::fs::read_to_string(volume.join("ran-twice")).ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ordinal_runs_twice_whenever_in_a_scale_up_the_product_is_killed() {
    let mut product = product().await;
    let mark = mark("once");
    let applied = product.run_with(&["apply", "-f", "-"], &keepers(&mark)).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&[&name(0)]).await;
    let mut replicas = 1;
    let mut seen = Vec::new();
    for moment in MOMENTS {
        product.ok(&["scale", "sts", "keepers", &format!("--replicas={}", replicas + 2)]).await;
        reached(&product, &mark, moment, replicas).await;
        replicas += 2;
        product.kill_all();
        let running: Vec<_> = (0..replicas).flat_map(|ordinal| programs(&mark, ordinal)).collect();
        seen.extend(running);
        product.up().await;
    }
    let names: Vec<_> = (0..replicas).map(name).collect();
    product.ready(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let last: Vec<_> = (0..replicas).flat_map(|ordinal| programs(&mark, ordinal)).collect();
    assert_eq!(last.len(), replicas, "{last:?}");
    assert!(seen.iter().all(|process| last.contains(process)), "pods were restarted: {seen:?} became {last:?}");
    for name in names {
        let volume = volume(&product, &format!("data-{name}")).await;
        assert_eq!(starts(&volume), ("1".to_owned(), None), "{name}: starts, and who found another one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_program_on_the_same_volume_leaves_its_mark() {
    let product = product().await;
    let applied = product.run_with(&["apply", "-f", "-"], &keepers(&mark("twice"))).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&[&name(0)]).await;
    let volume = volume(&product, "data-keepers-0").await;
    assert_eq!(starts(&volume), ("1".to_owned(), None));
    let second = tokio::process::Command::new(BINARY)
        .arg("demo-workload")
        .envs([("DATA_DIR", volume.as_os_str()), ("POD_NAME", "second".as_ref()), ("POD_IP", "127.0.0.1".as_ref())])
        .env("PORT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let second = tokio::time::timeout(support::WAIT_MAX, second).await.expect("ends at once").expect("can be run");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another program runs on this volume"), "{second:?}");
    let (starts, mark) = starts(&volume);
    assert_eq!(starts, "1", "it did not begin");
    assert!(mark.is_some_and(|mark| mark.starts_with("second, process ")), "and left its mark");
}
