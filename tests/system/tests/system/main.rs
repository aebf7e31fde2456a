//! The whole product, started as a user starts it: real services, real processes, real volumes, real names.
//!
//! **Layouts.** With `SETKEEPER_TEST_LAYOUT=mesh` every test that does not depend on a layout runs in the one of a mesh:
//! each service as its own process, planners and identity-dns twice, mutual TLS, and on every hop a proxy that reads HTTP/2
//! ([`support::Proxy`]). These are about a layout of their own, and are the same whatever the environment asks for:
//!
//! - `doors`, `metrics`, `unit`, `up`, and of `traces` those of one process and without a collector: what `setkeeper up` is
//!   to who runs it: its token, its file of endpoints, its one page of metrics, its signals, its demo;
//! - `hosts`: a network of hosts, one service on each;
//! - `rolling`: replicas that the channel balances, without a proxy; `mesh` has the same behind one;
//! - `strangers`: a server's own port, at which a proxy would take the blows.

mod backups;
mod bounds;
mod doors;
mod etcd;
mod examples;
mod fleet;
mod forward;
mod grpcurl;
mod hosts;
mod jaeger;
mod keepalive;
mod keeping;
mod mesh;
mod metrics;
mod names;
mod once;
mod redis;
mod resolvers;
mod rolling;
mod secured;
mod strangers;
mod tiers;
mod traces;
mod undo;
mod unit;
mod up;

use std::path::PathBuf;

use support::{Layout, Options, Product, User};

/// The product's binary.
const BINARY: &str = env!("CARGO_BIN_EXE_setkeeper-under-test");

/// How a test starts the product that holds for every layout: in this one, or in the one that the environment asks for.
fn options(layout: Layout) -> Options {
    Options { layout: Layout::asked().unwrap_or(layout), ..Options::new(BINARY) }
}

/// All services in one process, as whoever runs the tests.
async fn product() -> Product {
    Product::start(options(Layout::OneProcess)).await
}

/// The same whatever the environment asks for.
async fn one_process() -> Product {
    Product::start(Options::new(BINARY)).await
}

/// Each service as its own process.
async fn separate() -> Product {
    Product::start(options(Layout::Separate)).await
}

/// Each service as its own process, over TCP with mutual TLS.
async fn secured(arguments: &[&str]) -> Product {
    let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    Product::start(Options { arguments, ..options(Layout::Secured) }).await
}

/// As an ordinary user.
async fn ordinary() -> Product {
    Product::start(Options { user: an_ordinary_user(), ..options(Layout::OneProcess) }).await
}

/// Where root runs the tests another one, else whoever runs them.
fn an_ordinary_user() -> User {
    if rustix::process::geteuid().is_root() { User::Ordinary } else { User::Myself }
}

/// The directory of a claim that is bound.
async fn volume(product: &Product, claim: &str) -> PathBuf {
    let claim = product.get(&["pvc", claim]).await.expect("the claim exists");
    let volume = claim["spec"]["volumeName"].as_str().expect("is bound").to_owned();
    let volume = product.get(&["pv", &volume]).await.expect("exists");
    volume["spec"]["hostPath"]["path"].as_str().expect("a directory").into()
}

/// A file of `deploy/examples`.
fn example(name: &str) -> String {
    let path = format!("{}/../../deploy/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A set of plain sleeping pods with one claim each, without any program to install. Its processes can be told by the
/// variable `MARK`.
fn sleepers(mark: &str, replicas: u32, policy: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: sleepers}}
spec: {{clusterIP: None, selector: {{app: sleepers}}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: sleepers}}
spec:
  serviceName: sleepers
  replicas: {replicas}
  podManagementPolicy: {policy}
  selector: {{matchLabels: {{app: sleepers}}}}
  template:
    metadata: {{labels: {{app: sleepers}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: main
          image: busybox
          command: ["sh", "-c", "echo start >> /data/starts; exec sleep 1000000"]
          env:
            - {{name: MARK, value: "{mark}"}}
            - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
          volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"#
    )
}

/// A text that no other test run uses.
fn mark(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}
