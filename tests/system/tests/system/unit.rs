//! What systemd does to the unit of `deploy/systemd`, done to the program: it signals the service alone.

use support::{Options, Process, Product, in_pod, until};

use super::{BINARY, an_ordinary_user, mark, sleepers};

/// The main process of every pod.
async fn running(mark: &str, replicas: usize) -> Vec<Process> {
    until(&format!("{replicas} pods run"), || async {
        let mut processes = in_pod(&[&format!("MARK={mark}")]);
        processes.retain(|process| process.command.first().is_some_and(|program| program == "sleep"));
        if processes.len() == replicas { Ok(processes) } else { Err(format!("{processes:?}")) }
    })
    .await
}

async fn starts_again(product: &mut Product, names: &[&str]) {
    product.up().await;
    product.ready(names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_unit_leaves_its_pods_alone_and_a_downed_one_ends_for_good() {
    let unit = include_str!("../../../../deploy/systemd/setkeeper.service");
    for said in ["KillMode=process", "OOMPolicy=continue", "Restart=on-failure", "User=setkeeper"] {
        assert!(unit.lines().any(|line| line == said), "the unit says {said}");
    }
    let mut product = Product::start(Options { user: an_ordinary_user(), ..Options::new(BINARY) }).await;
    let mark = mark("unit");
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark, 2, "Parallel")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let names = ["sleepers-0", "sleepers-1"];
    product.ready(&names).await;
    let first = running(&mark, 2).await;

    assert_eq!(product.terminate("up").await, 0, "a stop is no failure");
    assert_eq!(running(&mark, 2).await, first, "pods outlive a stop");
    starts_again(&mut product, &names).await;
    product.kill("up");
    assert_eq!(running(&mark, 2).await, first, "pods outlive a crash");
    starts_again(&mut product, &names).await;
    assert_eq!(running(&mark, 2).await, first, "and are found again");

    product.ok(&["down"]).await;
    assert_eq!(product.exit("up").await, 0, "which the unit does not undo");
    assert_eq!(in_pod(&[&format!("MARK={mark}")]), []);
}
