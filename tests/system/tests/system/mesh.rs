//! What only a proxy on every hop shows. (The other tests run behind one too, as `.ci/run` says.)

use std::time::Duration;

use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::pod_service_client::PodServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::{ApplyRequest, GetStatefulSetRequest, LogsRequest, WatchRequest, WatchResponse};
use rustix::process::Signal;
use serde_json::Value;
use service_kit::{Retry, Target};
use support::{Layout, Options, PROXY, Product, available, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use super::fleet::PROCESSES;
use super::rolling::Callers;
use super::{BINARY, forward, mark, sleepers};

/// What a call gets whose server does not answer.
const SHORT: Duration = Duration::from_millis(500);

async fn mesh() -> Option<Product> {
    if !available(&[PROXY]) {
        return None;
    }
    // These tests call as fast as they can, as one user.
    let arguments = ["--limit", "user-calls-per-second=1000000"].map(str::to_owned).to_vec();
    Some(Product::start(Options { layout: Layout::Mesh, arguments, ..Options::new(BINARY) }).await)
}

async fn apply(product: &Product, manifest: &str) {
    let applied = product.run_with(&["apply", "-f", "-"], manifest).await;
    assert_eq!(applied.code, 0, "{applied:?}");
}

/// Begins a watch of the sets after a revision; 0 begins with what exists.
async fn watch(product: &Product, from_revision: u64) -> Result<Streaming<WatchResponse>, Status> {
    let request = WatchRequest { kind: "sts".to_owned(), from_revision, ..WatchRequest::default() };
    let begun = ObjectServiceClient::new(product.channel()).watch(request).await?;
    Ok(begun.into_inner())
}

async fn next(changes: &mut Streaming<WatchResponse>) -> Result<WatchResponse, Status> {
    let next = tokio::time::timeout(support::WAIT_MAX, changes.message()).await.expect("something comes in time");
    next.map(|change| change.expect("a watch has no end"))
}

fn logs(pod: &str) -> LogsRequest {
    LogsRequest { pod: pod.to_owned(), follow: true, ..LogsRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_shape_come_through_and_errors_come_whole() {
    let Some(mut product) = mesh().await else { return };
    // One request, one answer.
    apply(&product, &sleepers(&mark("shapes"), 1, "OrderedReady")).await;
    let request = GetStatefulSetRequest { namespace: "default".to_owned(), name: "sleepers".to_owned() };
    let set = StatefulSetServiceClient::new(product.channel()).get(request).await.expect("it is answered");
    assert!(set.into_inner().stateful_set.is_some());

    // A stream of answers that come as they are made. What ends it says why, behind the last of them.
    let mut changes = watch(&product, 0).await.expect("it begins");
    while next(&mut changes).await.expect("what exists").r#type != "BOOKMARK" {}
    product.ok(&["scale", "sts/sleepers", "--replicas=2"]).await;
    let change = next(&mut changes).await.expect("the change");
    assert_eq!(change.r#type, "MODIFIED");
    product.restart("coordinator", 0).await;
    let ended = loop {
        match next(&mut changes).await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!((ended.code(), service_kit::status::reason(&ended)), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert!(ended.get_details_retry_info().is_some(), "{ended:?}");
    product.answers().await;

    // A refusal with as many details as there may be.
    let fields: String = (0..500).map(|number| format!("wrong{number}: {}\n  ", "x".repeat(100))).collect();
    let manifest = format!("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web}}\nspec:\n  {fields}\n");
    let request = ApplyRequest { manifest, ..ApplyRequest::default() };
    let refused = ObjectServiceClient::new(product.channel()).apply(request).await.expect_err("it is wrong");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let details = refused.get_error_details();
    assert!(
        details.error_info().is_some() && details.bad_request().is_some_and(|all| !all.field_violations.is_empty())
    );

    // Both sides at once.
    product.ok(&["delete", "sts/sleepers"]).await;
    forward::reaches_its_pods(&product).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_reaches_the_server_and_comes_back_as_its_answer() {
    let Some(product) = mesh().await else { return };
    apply(&product, &sleepers(&mark("deadline"), 1, "OrderedReady")).await;
    product.ready(&["sleepers-0"]).await;
    // The coordinator asks the machine for a log, and the machine says nothing.
    product.signal("pod-runtime", Signal::STOP);
    let (channel, own) = (product.channel(), product.target("users/admin", "coordinator"));
    until("the coordinator says who was late", || async {
        let mut request = Request::new(logs("sleepers-0"));
        request.set_timeout(SHORT);
        let late = PodServiceClient::new(channel.clone()).logs(request).await.expect_err("nobody answers");
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
        assert!(late.get_details_error_info().is_some(), "every error has them: {late:?}");
        // Its answer is due a moment before the caller looks at the clock; on a busy machine the caller may be first, and
        // says that the coordinator was late.
        if late.message().contains(&own) { Err(format!("{late:?}")) } else { Ok(()) }
    })
    .await;
    product.signal("pod-runtime", Signal::CONT);
    product.ok(&["logs", "sleepers-0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_dies_again_and_again_loses_nothing() {
    let Some(mut product) = mesh().await else { return };
    apply(&product, &sleepers(&mark("proxy"), 3, "OrderedReady")).await;
    product.ready(&["sleepers-0", "sleepers-1", "sleepers-2"]).await;
    let mut following = product.begin(&["get", "sts", "sleepers", "--watch", "-o", "json"]);
    product.ok(&["rollout", "restart", "sts/sleepers"]).await;
    for updated in 1..=3 {
        until(&format!("{updated} pods are new"), || async {
            let set = product.get(&["sts", "sleepers"]).await.ok_or("no set")?;
            let now = set["status"]["updatedReplicas"].as_i64().unwrap_or(0);
            if now >= updated { Ok(()) } else { Err(set["status"].to_string()) }
        })
        .await;
        product.proxy().kill();
        product.proxy().start().await;
    }
    product.ok(&["rollout", "status", "sts/sleepers", "--timeout=100s"]).await;
    let set = product.get(&["sts", "sleepers"]).await.expect("it is there");
    let last = set["metadata"]["resourceVersion"].as_str().expect("text").to_owned();
    let seen = told_until(&mut following, &last).await;
    assert!(seen.is_sorted(), "in order: {seen:?}");
}

/// Reads a watch of the command line until it tells of a resource version; all that it told.
async fn told_until(following: &mut tokio::process::Child, last: &str) -> Vec<u64> {
    let mut stdout = following.stdout.take().expect("it is piped");
    let last: u64 = last.parse().expect("a number");
    let (mut text, mut seen) = (Vec::new(), Vec::new());
    let reading = async {
        while !seen.contains(&last) {
            assert_ne!(stdout.read_buf(&mut text).await.expect("it can be read"), 0, "it goes on");
            // First what is there, then what changes; nothing else.
            let objects = serde_json::Deserializer::from_slice(&text).into_iter::<Value>().map_while(Result::ok);
            let version = |object: Value| object["metadata"]["resourceVersion"].as_str()?.parse().ok();
            seen = objects.filter_map(version).collect::<Vec<u64>>();
        }
    };
    tokio::time::timeout(support::WAIT_MAX, reading).await.expect("everything is told");
    seen
}

/// A proxy that ends a stream because nothing came for a while ends it as one that is whole, but for the status.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_proxy_ends_is_not_taken_for_whole() {
    let Some(mut product) = mesh().await else { return };
    apply(&product, &sleepers(&mark("idle"), 1, "OrderedReady")).await;
    product.ready(&["sleepers-0"]).await;
    product.proxy().kill();
    product.proxy().set_idle_max(SHORT);
    product.proxy().start().await;
    product.answers().await;

    let mut lines =
        PodServiceClient::new(product.channel()).logs(logs("sleepers-0")).await.expect("begins").into_inner();
    let ended = tokio::time::timeout(support::WAIT_MAX, async {
        while lines.message().await?.is_some() {}
        Ok::<_, Status>(())
    });
    let cut = ended.await.expect("it is cut in time").expect_err("the container goes on");
    assert_eq!((cut.code(), service_kit::status::reason(&cut)), (Code::Unavailable, "UNREACHABLE".to_owned()));
    let followed = product.run(&["logs", "-f", "sleepers-0"]).await;
    assert!(followed.code != 0 && followed.stderr.contains("broke off"), "{followed:?}");

    // A watch goes on, and so does the machine.
    let mut following = product.begin(&["get", "sts", "sleepers", "--watch", "-o", "json"]);
    let cuts = || product.proxy_log().matches("ObjectService/Watch").count();
    let before = cuts();
    until("the watch was cut again and again", || async {
        let now = cuts();
        if now >= before + 4 { Ok(()) } else { Err(format!("{now} of {before} and 4")) }
    })
    .await;
    product.ok(&["scale", "sts/sleepers", "--replicas=2"]).await;
    product.ready(&["sleepers-1"]).await;
    let set = product.get(&["sts", "sleepers"]).await.expect("it is there");
    let seen = told_until(&mut following, set["metadata"]["resourceVersion"].as_str().expect("text")).await;
    assert!(seen.is_sorted(), "in order: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_restarted_in_turn_and_then_the_proxy_fails_no_call() {
    let Some(mut product) = mesh().await else { return };
    apply(&product, &sleepers(&mark("mesh-rolling"), 1, "OrderedReady")).await;
    let callers = Callers::start(&product.channel().retrying(Retry::PATIENT));
    callers.go_on().await;
    for (service, replica) in PROCESSES {
        product.restart(service, replica).await;
        callers.go_on().await;
    }
    product.proxy().kill();
    product.proxy().start().await;
    callers.go_on().await;
    let failed = callers.end().await;
    assert!(failed.is_empty(), "{} calls failed: {failed:#?}", failed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_another_is_not_asked() {
    let Some(mut product) = mesh().await else { return };
    apply(&product, &sleepers(&mark("another"), 1, "OrderedReady")).await;
    product.ready(&["sleepers-0"]).await;
    product.proxy().kill();
    product.proxy().exchange("update-planner", "volume-claim");
    product.proxy().start().await;
    product.answers().await;
    product.ok(&["scale", "sts/sleepers", "--replicas=2"]).await;
    until("the set tells that its planner is away", || async {
        let set = product.ok(&["describe", "sts", "sleepers"]).await;
        if set.contains("update-planner does not answer") { Ok(()) } else { Err(set) }
    })
    .await;
    assert!(product.get(&["pod", "sleepers-1"]).await.is_none());
    product.proxy().kill();
    product.proxy().exchange("update-planner", "volume-claim");
    product.proxy().start().await;
    product.ready(&["sleepers-1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_certificate_or_that_of_another_is_refused() {
    let Some(product) = mesh().await else { return };
    let target = product.target("users/admin", "coordinator");
    let plain = service_kit::connect(&target.parse::<Target>().expect("an address"), None);
    let refused = StatefulSetServiceClient::new(plain).get(GetStatefulSetRequest::default()).await;
    assert_eq!(refused.expect_err("it speaks no TLS").code(), Code::Unavailable);
    let mut stream = TcpStream::connect(&target).await.expect("connects");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("a new connection takes that");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(support::WAIT_MAX, stream.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(ended.is_err() || answer.len() < 16, "an alert at most: {answer:?}");

    // Who borrows the way of another is told so, by the proxy alone.
    let own = product.as_holder("users/ann");
    let borrowed = own.iter().map(String::as_str).take_while(|argument| *argument != "--server");
    let arguments: Vec<_> = ["get", "sts", "--server", &target].into_iter().chain(borrowed).collect();
    let output = product.run(&arguments).await;
    assert!(output.code != 0 && output.stderr.contains("403"), "{output:?}");
}
