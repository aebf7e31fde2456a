//! Every service tells what it does, and its numbers move with what is done.

use std::net::SocketAddr;

use support::{Options, Product, Scrape, get, until};

use super::{BINARY, mark, sleepers};

/// All services in one process, with metrics.
async fn measured() -> (Product, SocketAddr) {
    let arguments = vec!["--metrics-listen".to_owned(), "127.0.0.1:0".to_owned()];
    let product = Product::start(Options { arguments, ..Options::new(BINARY) }).await;
    let endpoints = product.endpoints().await;
    let address = endpoints["metrics"].as_str().expect("it is told").parse().expect("an address");
    (product, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_with_what_is_done() {
    let (product, address) = measured().await;
    assert_eq!(get(address, "/healthz").await.as_deref(), Ok("ok\n"));
    let before = Scrape::of(address).await.expect("it can be read");
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark("metrics"), 2, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    let dns = product.endpoints().await["dns"].as_str().expect("it is told").parse::<SocketAddr>().expect("an address");
    ask(dns).await;

    let applies = ["grpc_method=\"Apply\"", "grpc_code=\"Ok\""];
    for (name, labels, least) in [
        ("setkeeper_coordinator_rpc_server_handled_total", &applies[..], 1.0),
        ("setkeeper_coordinator_rpc_client_handled_total", &["OrdinalScheduler", "grpc_code=\"Ok\""], 2.0),
        ("setkeeper_ordinal_scheduler_rpc_server_handled_total", &["grpc_code=\"Ok\""], 2.0),
        ("setkeeper_update_planner_rpc_server_duration_seconds_count", &[], 2.0),
        ("setkeeper_volume_claim_rpc_server_handled_total", &["grpc_method=\"Provision\""], 2.0),
        ("setkeeper_pod_runtime_rpc_client_handled_total", &["grpc_method=\"ReportPodStatus\""], 2.0),
        ("setkeeper_coordinator_reconcile_passes_total", &[], 4.0),
        ("setkeeper_coordinator_reconcile_duration_seconds_count", &[], 4.0),
        ("setkeeper_coordinator_queue_wait_seconds_count", &[], 4.0),
        ("setkeeper_coordinator_store_commits_total", &[], 4.0),
        ("setkeeper_coordinator_store_group_batches_count", &[], 1.0),
        ("setkeeper_coordinator_store_written_bytes_total", &[], 1000.0),
        ("setkeeper_coordinator_store_revision", &[], 4.0),
        ("setkeeper_identity_dns_queries_total", &["type=\"A\"", "rcode=\"NOERROR\""], 1.0),
        ("setkeeper_identity_dns_query_duration_seconds_count", &[], 1.0),
        ("setkeeper_identity_dns_zone_serial", &[], 1.0),
        ("setkeeper_pod_runtime_starts_total", &[], 2.0),
        ("setkeeper_pod_runtime_pods", &["phase=\"Running\""], 2.0),
    ] {
        until(&format!("{name} has moved"), || async {
            let now = Scrape::of(address).await?;
            let moved = now.sum(name, labels) - before.sum(name, labels);
            if moved >= least { Ok(()) } else { Err(format!("by {moved}, not {least}")) }
        })
        .await;
    }
    let now = Scrape::of(address).await.expect("it can be read");
    let of_objects = now.samples().find(|sample| sample.contains("sleepers"));
    assert_eq!(of_objects, None, "labels come from closed sets");
    assert!((now.sum("setkeeper_coordinator_store_failures_total", &[])).abs() < f64::EPSILON);
}

/// One question about a name that is served, until it is answered.
async fn ask(dns: SocketAddr) {
    // A question for the A records of sleepers.default.svc.cluster.local, as it is on the wire.
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["sleepers", "default", "svc", "cluster", "local"] {
        question.push(u8::try_from(label.len()).expect("short"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    until("the name is served", || async {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        socket.send_to(&question, dns).await.map_err(|error| error.to_string())?;
        let mut answer = [0; 512];
        let received = tokio::time::timeout(std::time::Duration::from_secs(1), socket.recv(&mut answer)).await;
        received.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if answer[3] & 0x0f == 0 { Ok(()) } else { Err(format!("code {}", answer[3] & 0x0f)) }
    })
    .await;
}
