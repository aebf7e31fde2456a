//! What people see in Jaeger: a real one receives the rollouts of real pods.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use support::{FreePorts, Layout, Options, Product, available, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::traces::completed;
use super::{mark, options, sleepers};

/// Jaeger in one process, as its project releases it.
const PROGRAM: &str = "jaeger-all-in-one";

/// Pods of the set.
const PODS: [&str; 3] = ["sleepers-0", "sleepers-1", "sleepers-2"];

/// A running Jaeger, in memory. It ends when it is dropped.
struct Jaeger {
    _process: Child,
    otlp: SocketAddr,
    query: SocketAddr,
}

/// A span as Jaeger shows it.
#[derive(Debug)]
struct Shown {
    id: String,
    parent: String,
    name: String,
    service: String,
}

impl Jaeger {
    async fn start() -> Self {
        let [otlp, query, others @ ..]: [SocketAddr; 10] = FreePorts::new().take(10).try_into().expect("ten");
        let mut command = Command::new(PROGRAM);
        command.arg(format!("--collector.otlp.grpc.host-port={otlp}"));
        command.arg(format!("--query.http-server.host-port={query}"));
        command.arg("--collector.otlp.enabled=true");
        let flags = [
            "collector.otlp.http.host-port",
            "collector.grpc-server.host-port",
            "collector.http-server.host-port",
            "query.grpc-server.host-port",
            "admin.http.host-port",
            "http-server.host-port",
            "processor.jaeger-compact.server-host-port",
            "processor.jaeger-binary.server-host-port",
        ];
        command.args(flags.iter().zip(others).map(|(flag, address)| format!("--{flag}={address}")));
        command.arg("--processor.zipkin-compact.server-host-port=127.0.0.1:0");
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let jaeger = Self { _process: command.spawn().expect("Jaeger runs"), otlp, query };
        until("Jaeger answers", || async { jaeger.get("/api/services").await.map(|_| ()) }).await;
        jaeger
    }

    /// Asks its query API.
    async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = async {
            let mut stream = TcpStream::connect(self.query).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: jaeger\r\n\r\n").as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.map(|_| String::from_utf8_lossy(&answer).into_owned())
        };
        let answer: String = answer.await.map_err(|error: std::io::Error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| answer.clone())?;
        if !head.contains(" 200 ") {
            return Err(format!("{head} {body}"));
        }
        serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))
    }

    /// Whether a span of this name has arrived in a trace that is under way.
    async fn told(&self, trace: &str, name: &str) -> Result<(), String> {
        let found = self.get(&format!("/api/traces/{trace}")).await?;
        let spans = found["data"].as_array().into_iter().flatten().flat_map(spans);
        let names: BTreeSet<String> = spans.map(|span| span.name).collect();
        if names.contains(name) { Ok(()) } else { Err(format!("{names:?}")) }
    }

    /// The trace of a rollout, once all of it has arrived that `whole` asks for. It must be one trace.
    async fn rollout(&self, trace: &str, whole: impl Fn(&[Shown]) -> Result<(), String>) -> Vec<Shown> {
        until("Jaeger has the rollout", || async {
            let found = self.get("/api/traces?service=coordinator&operation=rollout%20sleepers&limit=100").await?;
            let found = found["data"].as_array().cloned().unwrap_or_default();
            let own: Vec<&Value> = found.iter().filter(|one| one["traceID"] == trace).collect();
            assert!(own.len() <= 1, "one rollout is {} traces: {own:?}", own.len());
            let spans = own.first().map(|one| spans(one)).ok_or_else(|| format!("{} other traces", found.len()))?;
            whole(&spans).map(|()| spans)
        })
        .await
    }
}

fn spans(trace: &Value) -> Vec<Shown> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shown = |span: &Value| Shown {
        id: text(&span["spanID"]),
        parent: text(&span["references"][0]["spanID"]),
        name: text(&span["operationName"]),
        service: text(&trace["processes"][span["processID"].as_str().unwrap_or_default()]["serviceName"]),
    };
    trace["spans"].as_array().into_iter().flatten().map(shown).collect()
}

/// One root, below it one span of each ordinal, below that one of each phase; and at least five services have a part.
fn waterfall(spans: &[Shown], phases: &[&str]) -> Result<(), String> {
    let one = |name: &str, parent: Option<&Shown>| {
        let below = |span: &&Shown| span.name == name && parent.is_none_or(|parent| span.parent == parent.id);
        match spans.iter().filter(below).collect::<Vec<_>>()[..] {
            [span] => Ok(span),
            ref others => Err(format!("{} spans of {name} below {parent:?}, not one: {spans:?}", others.len())),
        }
    };
    let root = one("rollout sleepers", None)?;
    for pod in PODS {
        let ordinal = one(pod, Some(root))?;
        phases.iter().try_for_each(|phase| one(phase, Some(ordinal)).map(|_| ()))?;
    }
    let services: BTreeSet<&str> = spans.iter().map(|span| &*span.service).collect();
    if services.len() >= 5 { Ok(()) } else { Err(format!("services: {services:?}")) }
}

/// Every span hangs on another of the trace.
fn connected(spans: &[Shown]) -> Result<(), String> {
    let ids: BTreeSet<&str> = spans.iter().map(|span| &*span.id).collect();
    let lost = spans.iter().filter(|span| !span.parent.is_empty() && !ids.contains(&*span.parent));
    let lost: Vec<_> = lost.collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("without their parents: {lost:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn jaeger_shows_a_rollout_as_one_trace_though_the_coordinator_is_killed() {
    if !available(&[PROGRAM]) {
        return;
    }
    let jaeger = Jaeger::start().await;
    let arguments = vec!["--otlp-endpoint".to_owned(), format!("http://{}", jaeger.otlp)];
    let mut product = Product::start(Options { arguments, ..options(Layout::Separate) }).await;
    let manifest = sleepers(&mark("jaeger"), 3, "OrderedReady");
    let applied = product.run_with(&["apply", "-f", "-"], &manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&PODS).await;
    let first = completed(&product).await;
    let phases = ["volume", "start", "ready", "DNS"];
    jaeger.rollout(&first, |spans| waterfall(spans, &phases).and_then(|()| connected(spans))).await;

    // The second pod does not go before the first has been ready for a while.
    let soaking = manifest.replacen("  replicas: 3\n", "  replicas: 3\n  minReadySeconds: 5\n", 1);
    let applied = product.run_with(&["apply", "-f", "-"], &soaking).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ok(&["rollout", "restart", "sts/sleepers"]).await;
    until("the first pod is another", || async {
        let set = product.get(&["sts", "sleepers"]).await.ok_or("no set")?;
        let updated = set["status"]["updatedReplicas"].as_i64().unwrap_or(0);
        let trace = set["status"]["rollout"]["traceId"].as_str().filter(|trace| *trace != first.as_str());
        let began = trace.filter(|_| (1..3).contains(&updated)).ok_or_else(|| set["status"].to_string())?;
        // A process that is killed takes with it what it has not sent yet.
        jaeger.told(began, "ready").await
    })
    .await;
    product.kill("coordinator");
    product.serve("coordinator");
    product.answers().await;
    let second = completed(&product).await;
    assert_ne!(first, second);
    let spans = jaeger.rollout(&second, |spans| waterfall(spans, &["start", "ready"])).await;
    assert!(spans.iter().any(|span| span.name == "wait: no coordinator"), "the gap has a name: {spans:?}");
}
