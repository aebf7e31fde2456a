//! Names as others see them: asked with `dig` at the served port.

use std::net::SocketAddr;
use std::process::Command;

use support::{available, until};

use super::{mark, product, sleepers};

fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let (host, port) = (format!("@{}", server.ip()), server.port().to_string());
    let output = Command::new("dig").args([&host, "-p", &port, "+short"]).args(arguments).output();
    String::from_utf8_lossy(&output.expect("dig runs").stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_finds_pods_by_name_and_loses_them_when_they_go() {
    if !available(&["dig"]) {
        return;
    }
    let product = product().await;
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark("dig"), 2, "Parallel")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    let servers = product.dns().await;
    let pod = product.get(&["pod", "sleepers-0"]).await.expect("exists");
    let ip = pod["status"]["podIP"].as_str().expect("has an address").to_owned();
    for &server in &servers {
        // Readiness was readable, so the name is served: no second look.
        assert_eq!(dig(server, &["sleepers-0.sleepers.default.svc.cluster.local"]), ip);
        assert_eq!(dig(server, &["+tcp", "sleepers-0.sleepers.default.svc.cluster.local"]), ip);
        assert_eq!(dig(server, &["sleepers-0.sleepers.default.svc.cluster.local", "AAAA"]), "");
        assert_eq!(dig(server, &["sleepers.default.svc.cluster.local"]).lines().count(), 2);
    }
    product.ok(&["scale", "sts", "sleepers", "--replicas=1"]).await;
    for server in servers {
        until("the name of the pod that goes is withdrawn", || async {
            match dig(server, &["sleepers-1.sleepers.default.svc.cluster.local"]).as_str() {
                "" => Ok(()),
                still => Err(still.to_owned()),
            }
        })
        .await;
    }
}
