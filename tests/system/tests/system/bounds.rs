//! Input without bounds is refused quickly, in bounded memory, with the field's path.

use std::time::{Duration, Instant};

use support::{Output, Product};

use super::product;

/// Nothing here may take longer. Not a benchmark: the bound tells refusing from grinding.
const QUICK: Duration = Duration::from_secs(30);

/// Resident memory that the services may have used at most while they refused, in KiB.
const MEMORY_MAX_KIB: u64 = 1024 * 1024;

/// Resident memory that the command line may use at most to be refused, in KiB. Its own code and threads take a part of
/// it; a manifest of 100 MB that is kept, even once, does not fit.
const CLIENT_MEMORY_MAX_KIB: u64 = 64 * 1024;

#[expect(clippy::disallowed_methods, reason = "a test measures its own time")]
async fn refused(product: &Product, what: &str, manifest: &str, says: &[&str]) {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a temporary file");
    std::fs::write(file.path(), manifest).expect("a temporary file");
    for source in [file.path().to_str().expect("is text"), "-"] {
        let begun = Instant::now();
        let (output, peak) = product.run_measured(&["apply", "-f", source], file.path()).await;
        let took = begun.elapsed();
        println!("{what} from {source}: refused in {took:?} with {peak} KiB: {}", output.stderr.trim_end());
        assert!(took < QUICK, "{what}: {took:?}");
        assert!(peak < CLIENT_MEMORY_MAX_KIB, "{what}: {peak} KiB");
        is_refusal(what, &output, says);
    }
}

fn is_refusal(what: &str, output: &Output, says: &[&str]) {
    assert_eq!(output.code, 1, "{what}: {output:?}");
    assert!(says.iter().all(|part| output.stderr.contains(part)), "{what}: {}", output.stderr);
    assert!(output.stderr.len() < 64 * 1024, "{what}: an answer of {} bytes", output.stderr.len());
}

fn set(name: &str, replicas: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: x\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: x}}}}\n  template:\n    metadata: {{labels: {{app: x}}}}\n    spec: {{containers: \
         [{{name: x, image: busybox, command: [sleep, \"1000\"]}}]}}\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn unbounded_manifests_are_refused_quickly() {
    let product = product().await;
    refused(&product, "10^9 replicas", &set("web", "1000000000", ""), &["spec.replicas"]).await;
    refused(&product, "a pod name of 64", &set(&"w".repeat(62), "100", ""), &["metadata.name"]).await;
    refused(&product, "negative replicas", &set("web", "-1", ""), &["spec.replicas", "greater than or equal to 0"])
        .await;
    refused(&product, "100 MB", &format!("# {}\n", "x".repeat(100_000_000)), &["16777216 bytes", "the most"]).await;
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    refused(&product, "deep nesting", &deep, &[":1:", "recursion limit"]).await;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
    }
    refused(&product, "alias bomb", &bomb, &[":5:", "alias"]).await;
    let used = product.peak_memory_kib();
    assert!(used < MEMORY_MAX_KIB, "{used} KiB");
    // And it goes on serving.
    product.ok(&["get", "sts"]).await;
}
