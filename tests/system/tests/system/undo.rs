//! A bad update, undone: at full availability, and without a hand on any pod. Start times come from the kernel.

use std::collections::BTreeMap;

use support::{Process, Product, in_pod, until};

use super::{mark, product, sleepers};

/// How many pods the set has.
const PODS: u32 = 5;

/// The pod that the update begins with.
const HIGHEST: &str = "sleepers-4";

/// The main process of each pod, by pod name.
fn running(mark: &str) -> BTreeMap<String, Process> {
    let of = |name: &String| {
        let processes = in_pod(&[&format!("MARK={mark}"), &format!("POD_NAME={name}")]);
        processes.into_iter().find(|process| process.command.first().is_some_and(|command| command == "sleep"))
    };
    let names = (0..PODS).map(|ordinal| format!("sleepers-{ordinal}"));
    names.filter_map(|name| Some((name.clone(), of(&name)?))).collect()
}

/// The status of the set once `holds` of it.
async fn status(product: &Product, what: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    until(what, || async {
        let set = product.get(&["sts", "sleepers"]).await.ok_or("it is not there")?;
        if holds(&set) { Ok(set) } else { Err(set["status"].to_string()) }
    })
    .await
}

fn complete(set: &serde_json::Value) -> bool {
    let status = &set["status"];
    let all = ["readyReplicas", "availableReplicas", "updatedReplicas"].iter().all(|count| status[count] == PODS);
    all && status["observedGeneration"] == set["metadata"]["generation"]
}

/// Pushes an image that exists nowhere, waits until the update has come to a stop, and undoes it.
async fn survives_a_bad_image(policy: &str) {
    let product = product().await;
    let mark = mark(&format!("undo-{policy}"));
    let good = sleepers(&mark, PODS, policy);
    assert_eq!(product.run_with(&["apply", "-f", "-"], &good).await.code, 0);
    status(&product, "the good revision is complete", complete).await;
    let before = running(&mark);
    assert_eq!(before.len(), PODS as usize, "{before:?}");

    let command = r#"command: ["sh", "-c", "echo start >> /data/starts; exec sleep 1000000"]"#;
    assert!(good.contains(command));
    let bad = good.replace(command, "").replace("image: busybox", "image: registry.example/no-such-thing:9");
    let applied = product.run_with(&["apply", "-f", "-"], &bad).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    until("the pod says that its image is missing", || async {
        let pod = product.get(&["pod", HIGHEST]).await.ok_or("it is gone")?;
        let reason = pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
        if reason == "ErrImageNeverPull" { Ok(()) } else { Err(pod["status"].to_string()) }
    })
    .await;
    let stuck = running(&mark);
    let healthy: BTreeMap<_, _> = before.clone().into_iter().filter(|(name, _)| name != HIGHEST).collect();
    assert_eq!(stuck, healthy, "the update took down one pod and stopped there");

    let undone = product.ok(&["rollout", "undo", "sts/sleepers"]).await;
    assert!(undone.contains("rolled back"), "{undone}");
    let set = status(&product, "the undone set is complete", complete).await;
    assert_eq!(set["status"]["currentRevision"], set["status"]["updateRevision"]);
    let after = running(&mark);
    assert_eq!(after.len(), PODS as usize, "{after:?}");
    for (name, process) in &healthy {
        assert_eq!(&after[name], process, "{name} was restarted");
    }
    let events = product.ok(&["describe", "sts", "sleepers"]).await;
    assert!(events.contains("healing"), "nobody says that a pod was healed:\n{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_is_undone_and_healthy_pods_never_restart() {
    survives_a_bad_image("OrderedReady").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_is_undone_under_parallel_too() {
    survives_a_bad_image("Parallel").await;
}
