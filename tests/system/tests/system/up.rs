//! The first minute of a new user.

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
}
