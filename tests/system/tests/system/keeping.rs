//! Order, identity and data through scaling, deletion, faults of services, and the whole process killed.

use std::collections::BTreeSet;

use support::{Process, Product, in_pod, until};

use super::{mark, product, separate, sleepers, volume};

/// The main process of each pod of the set, by pod name. Panics where one ordinal runs twice.
fn running(mark: &str, replicas: u32) -> Vec<(String, Process)> {
    (0..replicas)
        .filter_map(|ordinal| {
            let name = format!("sleepers-{ordinal}");
            let processes = in_pod(&[&format!("MARK={mark}"), &format!("POD_NAME={name}")]);
            let mut sleeping =
                processes.into_iter().filter(|process| process.command.first().is_some_and(|c| c == "sleep"));
            let first = sleeping.next()?;
            assert_eq!(sleeping.next(), None, "{name} runs twice");
            Some((name, first))
        })
        .collect()
}

async fn wait_running(mark: &str, replicas: u32) -> Vec<(String, Process)> {
    until(&format!("{replicas} pods really run"), || async {
        let running = running(mark, replicas);
        if running.len() == replicas as usize { Ok(running) } else { Err(format!("{running:?}")) }
    })
    .await
}

async fn wait_gone(product: &Product, arguments: &[&str]) {
    until(&format!("{arguments:?} is gone"), || async {
        match product.get(arguments).await {
            None => Ok(()),
            Some(object) => Err(object["status"].to_string()),
        }
    })
    .await;
}

/// How often each pod was started, by the file on its volume.
async fn starts(product: &Product, pod: &str) -> usize {
    let starts = std::fs::read_to_string(volume(product, &format!("data-{pod}")).await.join("starts"));
    let starts = starts.expect("it was started");
    starts.lines().count()
}

/// The life of a set, whatever the layout of the services.
async fn keeps_a_set(product: &Product, mark: &str) {
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(mark, 3, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    assert!(applied.stdout.contains("statefulset.apps/sleepers created"), "{}", applied.stdout);
    product.ready(&["sleepers-0", "sleepers-1", "sleepers-2"]).await;
    let first = wait_running(mark, 3).await;
    assert!(first[0].1.started <= first[1].1.started && first[1].1.started <= first[2].1.started, "{first:?}");

    // A deleted pod comes back with its name and its data; the others are not touched.
    product.ok(&["delete", "pod", "sleepers-1"]).await;
    product.ready(&["sleepers-1"]).await;
    let second = wait_running(mark, 3).await;
    assert_ne!(first[1], second[1]);
    assert_eq!((&first[0], &first[2]), (&second[0], &second[2]));
    assert_eq!(starts(product, "sleepers-1").await, 2);

    // Scaled down, the highest goes and its claim stays; scaled up, it finds its data.
    product.ok(&["scale", "sts", "sleepers", "--replicas=1"]).await;
    wait_gone(product, &["pod", "sleepers-2"]).await;
    wait_gone(product, &["pod", "sleepers-1"]).await;
    assert_eq!(wait_running(mark, 1).await[0], first[0]);
    assert!(product.get(&["pvc", "data-sleepers-2"]).await.is_some());
    product.ok(&["scale", "sts", "sleepers", "--replicas=3"]).await;
    product.ready(&["sleepers-1", "sleepers-2"]).await;
    assert_eq!(starts(product, "sleepers-2").await, 2);

    // Deleted, its pods stop in order and its claims stay.
    product.ok(&["delete", "sts", "sleepers"]).await;
    wait_gone(product, &["sts", "sleepers"]).await;
    assert_eq!(in_pod(&[&format!("MARK={mark}")]), []);
    assert!(product.get(&["pvc", "data-sleepers-0"]).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_kept_by_one_process() {
    let product = product().await;
    keeps_a_set(&product, &mark("one")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_kept_by_separate_processes() {
    let product = separate().await;
    keeps_a_set(&product, &mark("separate")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_kept_while_each_planner_is_killed_in_turn() {
    let mut product = separate().await;
    let mark = mark("planners");
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark, 1, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0"]).await;
    let first = wait_running(&mark, 1).await;
    for (place, planner) in ["ordinal-scheduler", "update-planner", "volume-claim", "identity-dns"].iter().enumerate() {
        product.kill(planner);
        let replicas = u32::try_from(place).expect("small") + 2;
        product.ok(&["scale", "sts", "sleepers", &format!("--replicas={replicas}")]).await;
        // The pods that run go on without it.
        assert_eq!(wait_running(&mark, 1).await, first);
        product.serve(planner);
        product.ready(&[&format!("sleepers-{}", replicas - 1)]).await;
    }
    assert_eq!(wait_running(&mark, 5).await[0], first[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_pods_running_and_down_ends_them_in_order() {
    let mut product = product().await;
    let mark = mark("down");
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark, 3, "Parallel")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let names = ["sleepers-0", "sleepers-1", "sleepers-2"];
    product.ready(&names).await;
    let first = wait_running(&mark, 3).await;
    assert!(product.interrupt_all().await, "{}", product.log_tail());
    assert_eq!(wait_running(&mark, 3).await, first, "pods outlive the services");
    product.up().await;
    product.ready(&names).await;
    assert_eq!(wait_running(&mark, 3).await, first, "and are found again");
    product.ok(&["down"]).await;
    assert_eq!(in_pod(&[&format!("MARK={mark}")]), [], "down ends the pods");
    assert!(product.interrupt_all().await, "down has ended the services, or leaves those of their own");
    product.up().await;
    product.ready(&names).await;
    let again: BTreeSet<_> = wait_running(&mark, 3).await.into_iter().collect();
    assert!(first.iter().all(|process| !again.contains(process)), "the next start brings new processes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_template_replaces_pods_from_the_top() {
    let product = product().await;
    let (before, after) = (mark("before"), mark("after"));
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&before, 3, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1", "sleepers-2"]).await;
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&after, 3, "OrderedReady")).await;
    assert!(applied.stdout.contains("configured"), "{applied:?}");
    let status = product.ok(&["rollout", "status", "sts/sleepers", "--timeout=100s"]).await;
    assert!(status.contains("roll"), "{status}");
    let pods = wait_running(&after, 3).await;
    assert!(pods[2].1.started <= pods[1].1.started && pods[1].1.started <= pods[0].1.started, "{pods:?}");
    assert_eq!(in_pod(&[&format!("MARK={before}")]), []);
}
