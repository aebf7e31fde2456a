//! The first minute of a new user.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use support::{Options, Product, until};

use super::BINARY;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_three_ready_pods_and_a_name() {
    let options = Options { arguments: vec!["--demo".to_owned()], ..Options::new(BINARY) };
    let product = Product::start(options).await;
    product.ready(&["web-0", "web-1", "web-2"]).await;
    until("the name is shown with its address", || async {
        let pod = product.get(&["pod", "web-0"]).await.ok_or("web-0 does not exist")?;
        let ip = pod["status"]["podIP"].as_str().ok_or("no address yet")?.to_owned();
        let log = product.log_tail();
        let shown = log.contains("web-0.web.default.svc.cluster.local") && log.contains(&ip);
        if shown { Ok(()) } else { Err(log) }
    })
    .await;
    // What kubectl hands expect.
    let pods = product.ok(&["get", "pods"]).await;
    assert!(pods.starts_with("NAME") && pods.matches("1/1").count() == 3, "{pods}");
    let sets = product.ok(&["get", "sts"]).await;
    assert!(sets.contains("3/3"), "{sets}");
    let wide = product.ok(&["get", "pods", "-o", "name"]).await;
    assert_eq!(wide.lines().collect::<Vec<_>>(), ["pod/web-0", "pod/web-1", "pod/web-2"]);
    let claims = product.ok(&["get", "pvc"]).await;
    assert_eq!(claims.matches("Bound").count(), 3, "{claims}");
    let described = product.ok(&["describe", "sts", "web"]).await;
    assert!(described.contains("SuccessfulCreate"), "{described}");
    assert!(product.ok(&["logs", "web-0"]).await.contains("web-0"));
    let connected = connected_ports(&product.endpoints().await);
    assert!(connected.is_empty(), "services of one process call each other in memory, not at {connected:?}");
}

/// Ports of the services on which there is a TCP connection.
fn connected_ports(endpoints: &serde_json::Value) -> Vec<u16> {
    let services =
        ["coordinator", "ordinal-scheduler", "volume-claim", "update-planner", "identity-dns", "pod-runtime"];
    let port = |service: &&str| {
        let address: SocketAddr = endpoints[service].as_str().and_then(|text| text.parse().ok()).expect("an address");
        address.port()
    };
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", endpoints["pid"])).expect("its network");
    // Columns: number, local address, remote address, state. Addresses are `address:port` in hexadecimal.
    let established = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let established = established.filter(|columns| columns.get(3) == Some(&"01"));
    let local = established.filter_map(|columns| u16::from_str_radix(columns[1].rsplit_once(':')?.1, 16).ok());
    let local: BTreeSet<u16> = local.collect();
    services.iter().map(port).filter(|port| local.contains(port)).collect()
}
