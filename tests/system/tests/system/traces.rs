//! What a collector sees: a rollout is one trace, across every service that takes part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::proto::coordinator::v1::ListStatefulSetsRequest;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use support::{Collector, Exported, Layout, Options, Product, until};
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::{BINARY, mark, one_process, options, sleepers};

const SERVICES: [&str; 6] =
    ["coordinator", "identity-dns", "ordinal-scheduler", "pod-runtime", "update-planner", "volume-claim"];

/// The trace and the span of a caller who is not part of the product.
const CALLER: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

/// OTLP's number of the kind of a server's span.
const SERVER: i32 = 2;

/// OTLP's number of the kind of a client's span.
const CLIENT: i32 = 3;

/// gRPC's number of the status of a call that its caller gave up.
const CANCELLED: &str = "1";

/// Passes that two pods may take from nothing to ready, and more: a pass for every change that anybody makes.
const PASSES_MAX: usize = 200;

/// Longest end of `up`, whatever the collector does: the services' own drain and the last spans' deadline.
const END_MAX: Duration = Duration::from_secs(20);

async fn traced(collector: &Collector, layout: Options) -> Product {
    let arguments = vec!["--otlp-endpoint".to_owned(), collector.endpoint().to_owned()];
    Product::start(Options { arguments, ..layout }).await
}

/// What was exported, by trace and span.
struct Spans {
    all: Vec<Exported>,
    by_id: BTreeMap<(Vec<u8>, Vec<u8>), usize>,
}

impl Spans {
    fn of(collector: &Collector) -> Self {
        let all = collector.spans();
        let ids = all.iter().enumerate();
        let by_id = ids.map(|(place, one)| ((one.span.trace_id.clone(), one.span.span_id.clone()), place)).collect();
        Self { all, by_id }
    }

    fn parent(&self, child: &Exported) -> Option<&Exported> {
        let id = (child.span.trace_id.clone(), child.span.parent_span_id.clone());
        self.by_id.get(&id).map(|place| &self.all[*place])
    }

    fn children(&self, parent: &Exported) -> Vec<&Exported> {
        let is_child = |one: &&Exported| {
            one.span.trace_id == parent.span.trace_id && one.span.parent_span_id == parent.span.span_id
        };
        self.all.iter().filter(is_child).collect()
    }

    /// Passes over the set `sleepers`.
    fn passes(&self) -> Vec<&Exported> {
        let is_pass =
            |one: &&Exported| one.span.name == "reconcile" && one.attribute("k8s.statefulset.name") == "sleepers";
        self.all.iter().filter(is_pass).collect()
    }
}

/// The service that answers a method, by the method's package.
fn answering(method: &str) -> Option<String> {
    Some(method.strip_prefix("setkeeper.")?.split('.').next()?.replace('_', "-"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From nothing to two available pods, and then each of them anew; gives the trace ids of the two rollouts.
async fn work(product: &Product, collector: &Collector, test: &str) -> [String; 2] {
    let manifest = sleepers(&mark(test), 2, "OrderedReady").replace("  replicas:", "  minReadySeconds: 1\n  replicas:");
    let applied = product.run_with(&["apply", "-f", "-"], &manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    let first = completed(product).await;

    let mut call = Request::new(ListStatefulSetsRequest::default());
    let traceparent = format!("00-{}-{}-01", CALLER.0, CALLER.1);
    call.metadata_mut().insert("traceparent", MetadataValue::try_from(traceparent).expect("text"));
    StatefulSetServiceClient::new(product.channel()).list(call).await.expect("answers");

    product.ok(&["rollout", "restart", "sts/sleepers"]).await;
    let status = product.ok(&["rollout", "status", "sts/sleepers"]).await;
    let second = completed(product).await;
    assert_ne!(first, second);
    assert!(status.contains(&format!("trace {second}")), "{status}");
    let described = product.ok(&["describe", "sts", "sleepers"]).await;
    assert!(described.contains(&second), "{described}");

    // The clock of an idle system is its own check of names, every few seconds. Two of them without a pass: it rests.
    until("no passes without changes", || async {
        let spans = Spans::of(collector);
        let last = spans.passes().iter().map(|pass| pass.span.end_time_unix_nano).max().ok_or("no pass yet")?;
        let is_check = |one: &&Exported| one.span.name.ends_with("/GetZone") && one.span.kind == CLIENT;
        let later = spans.all.iter().filter(is_check).filter(|one| one.span.start_time_unix_nano > last).count();
        if later >= 2 { Ok(()) } else { Err(format!("{later} checks since the last pass")) }
    })
    .await;
    [first, second]
}

/// The trace of the latest rollout of the set, once that is complete.
pub(super) async fn completed(product: &Product) -> String {
    until("the rollout is complete", || async {
        let set = product.get(&["sts", "sleepers"]).await.ok_or("no set")?;
        let rollout = &set["status"]["rollout"];
        let trace = rollout["traceId"].as_str().filter(|_| rollout["completedAt"].is_string());
        trace.map(ToOwned::to_owned).ok_or_else(|| set["status"].to_string())
    })
    .await
}

/// Every service has spans of its own, under an instance for each of its replicas.
fn assert_services(spans: &Spans) {
    let mut instances: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in &spans.all {
        instances.entry(&one.service).or_default().insert(&one.instance);
    }
    for service in SERVICES {
        let of_service = instances.get(service).unwrap_or_else(|| panic!("{service} has no spans: {instances:?}"));
        assert!((1..=2).contains(&of_service.len()) && !of_service.contains(""), "{service}: {of_service:?}");
    }
    let distinct: BTreeSet<_> = instances.values().flatten().collect();
    assert_eq!(distinct.len(), instances.values().map(BTreeSet::len).sum::<usize>(), "{instances:?}");
}

/// No span lost its parent, and each server's parent is the call that it answers.
fn assert_connected(spans: &Spans) {
    for one in &spans.all {
        if one.span.kind == SERVER {
            assert_eq!(answering(&one.span.name).as_deref(), Some(&*one.service), "{}", one.span.name);
        }
        if one.span.parent_span_id.is_empty() {
            continue;
        }
        match spans.parent(one) {
            Some(parent) if one.span.kind == SERVER => {
                assert_eq!((parent.span.kind, &parent.span.name), (CLIENT, &one.span.name));
            }
            Some(_) => {}
            None => assert_eq!((&*one.trace(), &*hexadecimal(&one.span.parent_span_id)), CALLER, "{one:?}"),
        }
    }
    let caller: Vec<_> = spans.all.iter().filter(|one| one.trace() == CALLER.0).collect();
    let [answered] = caller[..] else { panic!("one span: {caller:?}") };
    assert_eq!(answered.span.name, "setkeeper.coordinator.v1.StatefulSetService/List");
    assert_eq!((answered.service.as_str(), answered.span.kind), ("coordinator", SERVER));
    let is_report = |one: &&Exported| one.span.name.ends_with("NodeService/ReportPodStatus");
    let reports: Vec<_> = spans.all.iter().filter(is_report).filter(|one| one.span.kind == CLIENT).collect();
    assert!(!reports.is_empty() && reports.iter().all(|report| report.service == "pod-runtime"), "{reports:?}");
}

/// Every pass has the same shape, and is part of a rollout while one is under way.
fn assert_passes(spans: &Spans, rollouts: &[String]) {
    let passes = spans.passes();
    assert!(passes.len() <= PASSES_MAX, "{} passes", passes.len());
    let mut called: BTreeSet<&str> = BTreeSet::new();
    for pass in &passes {
        match spans.parent(pass) {
            Some(root) => assert_eq!(root.span.name, "rollout sleepers"),
            None => assert!(pass.span.parent_span_id.is_empty() && !rollouts.contains(&pass.trace()), "{pass:?}"),
        }
        assert_eq!((&*pass.service, &*pass.attribute("k8s.namespace.name")), ("coordinator", "default"));
        assert!(!pass.attribute("outcome").is_empty(), "{pass:?}");
        let mut steps = spans.children(pass);
        steps.sort_by_key(|step| step.span.start_time_unix_nano);
        let names: Vec<_> = steps.iter().map(|step| &*step.span.name).collect();
        // One that went along with a report whose names came late was in vain, and ended where it was.
        let ended_early = pass.attribute("outcome") == "stale" && names == ["snapshot", "plan"];
        assert!(ended_early || names == ["snapshot", "plan", "execute"], "{names:?} in {pass:?}");
        for call in spans.children(steps[1]) {
            assert_eq!((&*call.service, call.span.kind), ("coordinator", CLIENT), "{call:?}");
            let answers = spans.children(call);
            // What was asked ahead in vain is waited for by nobody, and may have been given up before it was sent.
            if answers.is_empty() && call.attribute("rpc.grpc.status_code") == CANCELLED {
                continue;
            }
            let [answer] = answers[..] else { panic!("one answer to {call:?}: {answers:?}") };
            assert_eq!((&answer.span.name, answer.span.kind), (&call.span.name, SERVER));
            called.insert(&call.span.name);
        }
    }
    let methods = [
        "setkeeper.identity_dns.v1.IdentityDnsService/Assign",
        "setkeeper.ordinal_scheduler.v1.OrdinalSchedulerService/Plan",
        "setkeeper.update_planner.v1.UpdatePlannerService/Plan",
        "setkeeper.volume_claim.v1.VolumeClaimService/PlanSet",
    ];
    assert_eq!(called, BTreeSet::from(methods));
    let waits = passes.iter().flat_map(|pass| spans.children(pass)).map(|step| step.attribute("setkeeper.wait.reason"));
    assert!(waits.into_iter().any(|reason| reason.contains("waiting for pod 0")), "reasons are told");
}

/// A rollout is one trace with a span of each ordinal, and one of each phase below that; gives its spans.
fn assert_rollout<'a>(spans: &'a Spans, trace: &str, phases: &[&str]) -> Vec<&'a Exported> {
    let own: Vec<_> = spans.all.iter().filter(|one| one.trace() == trace).collect();
    let roots: Vec<_> = own.iter().filter(|one| one.span.name == "rollout sleepers").collect();
    let [root] = roots[..] else { panic!("one root: {roots:?}") };
    assert_eq!(
        (&*root.attribute("k8s.statefulset.name"), &*root.attribute("setkeeper.outcome")),
        ("sleepers", "complete")
    );
    for pod in ["sleepers-0", "sleepers-1"] {
        let of_pod: Vec<_> = own.iter().filter(|one| one.span.name == pod).collect();
        let [ordinal] = of_pod[..] else { panic!("one span of {pod}: {of_pod:?}") };
        assert_eq!(ordinal.span.parent_span_id, root.span.span_id, "{ordinal:?}");
        let mut inside = spans.children(ordinal);
        inside.sort_by_key(|phase| phase.span.start_time_unix_nano);
        let names: Vec<_> = inside.iter().map(|one| &*one.span.name).filter(|name| phases.contains(name)).collect();
        assert_eq!(names, phases, "{pod}");
        let (first, last) = (inside[0].span.start_time_unix_nano, ordinal.span.end_time_unix_nano);
        assert!(ordinal.span.start_time_unix_nano <= first && first <= last, "{ordinal:?}");
        assert!(inside.iter().any(|one| one.span.name == "DNS" && one.attribute("k8s.pod.name") == pod), "{inside:?}");
        assert!(inside.iter().any(|one| one.service == "pod-runtime"), "{inside:?}");
    }
    own
}

fn assert_traced(collector: &Collector, rollouts: &[String; 2]) {
    let spans = Spans::of(collector);
    assert_services(&spans);
    assert_connected(&spans);
    assert_passes(&spans, rollouts);
    let created = assert_rollout(&spans, &rollouts[0], &["volume", "start", "ready", "soak"]);
    let services: BTreeSet<&str> = created.iter().map(|one| &*one.service).collect();
    assert_eq!(services, BTreeSet::from(SERVICES), "every service has a part in a rollout");
    assert_rollout(&spans, &rollouts[1], &["drain", "stop", "volume", "start", "ready", "soak"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_one_trace_across_the_services_of_one_process() {
    let collector = Collector::start();
    let mut product = traced(&collector, Options::new(BINARY)).await;
    assert!(exports(&product).await, "a thread exports");
    let rollouts = work(&product, &collector, "traces-one").await;
    assert_eq!(product.interrupt().await, 0);
    assert_traced(&collector, &rollouts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_one_trace_across_processes() {
    let collector = Collector::start();
    let mut product = traced(&collector, options(Layout::Separate)).await;
    let rollouts = work(&product, &collector, "traces-separate").await;
    assert!(product.interrupt_all().await);
    assert_traced(&collector, &rollouts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_in_the_next_coordinator() {
    let collector = Collector::start();
    let mut product = traced(&collector, options(Layout::Separate)).await;
    // A pod that soaks is not done, and told, when what it did before that has just arrived.
    let manifest =
        sleepers(&mark("traces-killed"), 2, "OrderedReady").replace("  replicas:", "  minReadySeconds: 3\n  replicas:");
    let applied = product.run_with(&["apply", "-f", "-"], &manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    completed(&product).await;
    product.ok(&["rollout", "restart", "sts/sleepers"]).await;
    // What was recorded and not sent goes with the process, so all of the pod that soaks is to have arrived.
    until("the first pod soaks", || async {
        let spans = Spans::of(&collector).all;
        let drained = spans.iter().find(|one| one.span.name == "drain").ok_or("no pod was asked to go")?;
        let arrived = |phase: &&str| spans.iter().any(|one| one.span.name == *phase && one.trace() == drained.trace());
        let missing: Vec<_> = ["start", "ready", "DNS"].into_iter().filter(|phase| !arrived(phase)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of the first pod have not arrived")) }
    })
    .await;
    product.kill("coordinator");
    product.serve("coordinator");
    product.answers().await;
    let trace = completed(&product).await;
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    until("the root is told", || async {
        let root = |one: &&Exported| one.span.name == "rollout sleepers" && one.trace() == trace;
        if Spans::of(&collector).all.iter().any(|one| root(&one)) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let spans = Spans::of(&collector);
    let own: Vec<_> = spans.all.iter().filter(|one| one.trace() == trace).collect();
    let named = |name: &str| own.iter().filter(|one| one.span.name == name).count();
    for name in ["rollout sleepers", "sleepers-0", "sleepers-1", "wait: no coordinator"] {
        assert_eq!(named(name), 1, "{name}");
    }
    for phase in ["start", "ready", "DNS"] {
        assert_eq!(named(phase), 2, "{phase}");
    }
    let instances: BTreeSet<_> =
        own.iter().filter(|one| one.service == "coordinator").map(|one| &one.instance).collect();
    assert_eq!(instances.len(), 2, "both coordinators have a part in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_holds_nothing_up() {
    // Connections are made, by the kernel, and nobody ever reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_address = format!("http://{}", silent.local_addr().expect("bound"));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    for endpoint in [silent_address, format!("http://{gone}")] {
        let arguments = vec!["--otlp-endpoint".to_owned(), endpoint];
        let mut product = Product::start(Options { arguments, ..Options::new(BINARY) }).await;
        let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark("silent"), 1, "OrderedReady")).await;
        assert_eq!(applied.code, 0, "{applied:?}");
        product.ready(&["sleepers-0"]).await;
        until("the loss is told", || async {
            let log = product.log_tail();
            if log.contains("spans cannot be sent") { Ok(()) } else { Err(log) }
        })
        .await;
        let ended = tokio::time::timeout(END_MAX, product.interrupt()).await;
        assert_eq!(ended, Ok(0), "{}", product.log_tail());
        let log = product.log_tail();
        assert_eq!(log.matches("spans cannot be sent").count(), 1, "it is told once: {log}");
        assert!(!log.contains("panicked") && !log.contains("opentelemetry-otlp"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_recorded() {
    let product = one_process().await;
    assert!(!exports(&product).await);
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark("untraced"), 1, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0"]).await;
    let records = product.get(&["decisions"]).await.expect("can be listed");
    let records = records["items"].as_array().expect("a list");
    assert!(!records.is_empty() && records.iter().all(|record| record["traceId"] == ""), "{records:?}");
}

/// Whether `up` has a thread of the exporter.
async fn exports(product: &Product) -> bool {
    let endpoints = product.endpoints().await;
    let threads = std::fs::read_dir(format!("/proc/{}/task", endpoints["pid"])).expect("it runs");
    let names = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.into_iter().any(|name| name.starts_with("OpenTelemetry"))
}
