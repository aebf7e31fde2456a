//! How a server ends.

use std::time::Duration;

use api::proto::pod_runtime::v1 as proto;
use service_kit::limits::DRAIN_GRACE;
use tokio::time::Instant;
use tonic::Code;

use crate::fixture::{PATIENCE, Served, behaving, client, over_tcp};

#[tokio::test]
async fn streams_that_end_with_their_service_do_not_hold_it_up() {
    let served = Served::start(&over_tcp(None)).await;
    let mut logs = client(served.channel(None)).logs(proto::LogsRequest::default()).await.expect("begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < DRAIN_GRACE, "{:?}", begun.elapsed());
    assert_eq!(logs.message().await.expect("ends well"), None);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let served = Served::start(&over_tcp(None)).await;
    let channel = served.channel(None);
    crate::fixture::lists(channel.clone()).await.expect("connects");
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < DRAIN_GRACE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_wait_for_a_stream_that_never_ends_is_bounded() {
    let served = Served::start_with(&over_tcp(None), false).await;
    let mut logs = client(served.channel(None)).logs(proto::LogsRequest::default()).await.expect("begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < DRAIN_GRACE + Duration::from_secs(3), "{:?}", begun.elapsed());
    let ended = tokio::time::timeout(PATIENCE, logs.message()).await.expect("ends");
    assert!(ended.is_err(), "the caller learns that the stream broke");
}

#[tokio::test]
async fn a_call_in_flight_is_answered_before_the_end() {
    let served = Served::start(&over_tcp(None)).await;
    let mut client = client(served.channel(None));
    client.list_pods(proto::ListPodsRequest {}).await.expect("connects");
    let mut request = behaving("hang");
    request.set_timeout(Duration::from_millis(500));
    let in_flight = tokio::spawn(async move { client.list_pods(request).await });
    // The server answers it when its time is up, after the shutdown began and before the grace is over.
    served.stop().await;
    let error =
        tokio::time::timeout(PATIENCE, in_flight).await.expect("answered").expect("no panic").expect_err("late");
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Unavailable), "{error}");
}
