//! Calls between services of one process: all that a connection does, without one.

use std::pin::pin;
use std::time::Duration;

use api::proto::pod_runtime::v1 as proto;
use futures::FutureExt as _;
use service_kit::limits::{DRAIN_GRACE, Limits, REQUEST_BYTES_MAX};
use service_kit::{Channel, Context, Role, Server, ServerConfig, Token, status};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::fixture::{PATIENCE, Served, asking, behaving, client, lists, over_tcp};

fn inside(served: &Served) -> Channel {
    served.context.connect(Role::PodRuntime, &served.target(), None)
}

#[tokio::test]
async fn a_server_of_this_process_is_called_without_a_connection_or_a_token_and_any_other_over_tcp() {
    let token = Token::random();
    let served = Served::start(&over_tcp(Some(&token))).await;
    let address = served.running.address.expect("listens");
    let channel = inside(&served);
    assert_eq!(lists(channel.clone()).await.expect("answers").tier_reason, "", "it has no peer");
    let elsewhere = Context::default().connect(Role::PodRuntime, &served.target(), None);
    assert_eq!(lists(elsewhere).await.expect_err("a stranger").code(), Code::Unauthenticated);
    served.stop().await;
    let error = lists(channel.clone()).await.expect_err("gone");
    assert_eq!((error.code(), status::reason(&error).as_str()), (Code::Unavailable, "UNREACHABLE"), "{error}");
    // A server of another process comes to listen there.
    let another = Served::start(&ServerConfig { listen: Some(address), ..ServerConfig::default() }).await;
    assert_eq!(lists(channel).await.expect("answers").tier_reason, "127.0.0.1");
    another.stop().await;
}

#[tokio::test]
async fn a_call_waits_until_its_server_serves_and_no_longer_than_it_may() {
    let context = Context::default();
    let bind = async || Server::new("pod-runtime").bind_in(&context, &over_tcp(None)).await.expect("binds");
    let bound = bind().await;
    let channel = context.connect(Role::PodRuntime, &bound.tcp_address().expect("listens").into(), None);
    let mut early = pin!(lists(channel));
    assert!(early.as_mut().now_or_never().is_none(), "nobody serves yet");
    let running = bound.spawn(context.clone());
    assert_eq!(early.await.expect_err("it has no such service").code(), Code::Unimplemented);
    let bound = bind().await;
    let channel = context.connect(Role::PodRuntime, &bound.tcp_address().expect("listens").into(), None);
    let mut in_vain = pin!(lists(channel));
    assert!(in_vain.as_mut().now_or_never().is_none());
    drop(bound);
    assert_eq!(status::reason(&in_vain.await.expect_err("it never served")), "UNREACHABLE");
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("ends");
}

#[tokio::test]
async fn deadlines_panics_and_sizes_are_as_over_a_connection() {
    let served = Served::start(&over_tcp(None)).await;
    let mut client = client(inside(&served));
    let mut request = behaving("hang");
    request.set_timeout(Duration::from_millis(100));
    let late = client.list_pods(request).await.expect_err("hangs");
    assert_eq!((late.code(), status::reason(&late).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    let panicked = client.list_pods(behaving("panic")).await.expect_err("panics");
    assert_eq!((panicked.code(), status::reason(&panicked).as_str()), (Code::Internal, "INTERNAL"));
    assert!(!panicked.message().contains("secret"), "{panicked}");
    let request =
        |size: usize| proto::StopAllRequest { operation_id: "x".repeat(size), ..proto::StopAllRequest::default() };
    let large = client.stop_all(request(REQUEST_BYTES_MAX / 2)).await.expect("passes").into_inner();
    assert_eq!(large.stopped as usize, REQUEST_BYTES_MAX / 2);
    let larger = client.stop_all(request(REQUEST_BYTES_MAX + 1)).await.expect_err("refused");
    assert_eq!(larger.code(), Code::OutOfRange, "{larger}");
    served.stop().await;
}

#[tokio::test]
async fn both_sides_of_a_call_stream_and_hold_each_other_back() {
    let served = Served::start(&over_tcp(None)).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let call = Request::new(tokio_stream::wrappers::ReceiverStream::new(requests));
    let mut responses = client(inside(&served)).port_forward(call).await.expect("begins").into_inner();
    let piece = |number: u8| proto::PortForwardRequest { data: vec![number; 64 << 10].into(), ..Default::default() };
    for number in 0..20 {
        sender.try_send(piece(number)).expect("there is room for one");
        assert!(sender.try_send(piece(0)).is_err(), "nobody has read yet");
        let echo = tokio::time::timeout(PATIENCE, responses.message()).await.expect("in time").expect("goes on");
        assert_eq!(echo.expect("one for each").data[0], number);
    }
    drop(sender);
    assert_eq!(responses.message().await.expect("ends well"), None);
    served.stop().await;
}

#[tokio::test]
async fn who_finds_no_place_waits_until_a_stream_ends() {
    let one = Limits { streams_per_connection: 1, ..Limits::default() };
    let served = Served::start(&ServerConfig { limits: one, ..over_tcp(None) }).await;
    let logs = client(inside(&served)).logs(proto::LogsRequest::default()).await.expect("begins");
    let mut waits = pin!(lists(inside(&served)));
    assert!(waits.as_mut().now_or_never().is_none(), "the stream has the only place");
    drop(logs);
    waits.await.expect("there is room");
    served.stop().await;
}

#[tokio::test]
async fn a_stream_that_was_read_to_its_end_takes_no_place() {
    let one = Limits { streams_per_connection: 1, ..Limits::default() };
    let served = Served::start(&ServerConfig { limits: one, ..over_tcp(None) }).await;
    let nothing = Request::new(tokio_stream::empty());
    let mut responses = client(inside(&served)).port_forward(nothing).await.expect("begins").into_inner();
    assert_eq!(responses.message().await.expect("ends well"), None);
    lists(inside(&served)).await.expect("there is room");
    drop(responses);
    served.stop().await;
}

/// As where a connection resets the call.
#[tokio::test]
async fn who_still_reads_the_requests_of_a_call_learns_that_it_is_over() {
    let served = Served::start(&over_tcp(None)).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let call = asking("keep", tokio_stream::wrappers::ReceiverStream::new(requests));
    let responses = client(inside(&served)).port_forward(call).await.expect("begins");
    drop(responses);
    tokio::time::timeout(PATIENCE, served.left.notified()).await.expect("it is told");
    sender.closed().await;
    served.stop().await;
}

#[tokio::test]
async fn a_stream_whose_handler_panics_ends_alone() {
    let served = Served::start(&over_tcp(None)).await;
    let request = asking("panic", proto::LogsRequest::default());
    let mut logs = client(inside(&served)).logs(request).await.expect("begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    let broken = logs.message().await.expect_err("it panics");
    assert!(!broken.message().contains("secret"), "{broken}");
    assert_eq!(broken.code(), Code::Unavailable, "nobody knows what it would have said");
    lists(inside(&served)).await.expect("the server goes on");
    served.stop().await;
}

#[tokio::test]
async fn a_call_in_flight_is_answered_before_the_end_and_a_stream_that_never_ends_is_cut() {
    let served = Served::start_with(&over_tcp(None), false).await;
    let mut logs = client(inside(&served)).logs(proto::LogsRequest::default()).await.expect("begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    let mut client = client(inside(&served));
    let mut request = behaving("hang");
    let granted = Duration::from_millis(500);
    request.set_timeout(granted);
    let begun = Instant::now();
    let in_flight = tokio::spawn(async move { (client.list_pods(request).await, begun.elapsed()) });
    let reads = tokio::spawn(async move { logs.message().await });
    served.stop().await;
    assert!(begun.elapsed() < DRAIN_GRACE + Duration::from_secs(3), "{:?}", begun.elapsed());
    let (answer, after) = in_flight.await.expect("no panic");
    assert_eq!(answer.expect_err("late").code(), Code::DeadlineExceeded);
    assert!(after < DRAIN_GRACE, "it did not wait for the stream: {after:?}");
    let cut = tokio::time::timeout(PATIENCE, reads).await.expect("ends").expect("no panic").expect_err("it broke off");
    assert_eq!(cut.code(), Code::Unavailable, "{cut}");
}

#[tokio::test]
async fn a_stream_that_ends_with_its_service_does_not_hold_it_up() {
    let served = Served::start(&over_tcp(None)).await;
    let mut logs = client(inside(&served)).logs(proto::LogsRequest::default()).await.expect("begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    let reads = tokio::spawn(async move { logs.message().await });
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < DRAIN_GRACE, "{:?}", begun.elapsed());
    assert_eq!(reads.await.expect("no panic").expect("ends well"), None);
}

#[tokio::test]
async fn nothing_of_a_server_that_is_dropped_goes_on() {
    let served = Served::start_with(&over_tcp(None), false).await;
    let mut logs = client(inside(&served)).logs(proto::LogsRequest::default()).await.expect("begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    served.running.task.abort();
    let cut = tokio::time::timeout(PATIENCE, logs.message()).await.expect("at once").expect_err("it broke off");
    assert_eq!(cut.code(), Code::Unavailable, "{cut}");
}
