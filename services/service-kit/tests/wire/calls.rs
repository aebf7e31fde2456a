//! What becomes of a call: deadlines, panics, sizes, and servers that are not there.

use std::convert::Infallible;
use std::time::Duration;

use api::proto::pod_runtime::v1 as proto;
use bytes::Bytes;
use futures::stream;
use http::Response;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_kit::{Target, Token, connect, limits, status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::fixture::{PATIENCE, Served, behaving, client, lists, over_tcp};

#[tokio::test]
async fn a_late_call_ends_with_deadline_exceeded() {
    let served = Served::start(&over_tcp(None)).await;
    let mut request = behaving("hang");
    request.set_timeout(Duration::from_millis(100));
    let error = client(served.channel(None)).list_pods(request).await.expect_err("hangs");
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert_eq!(status::reason(&error), "DEADLINE_EXCEEDED");
    served.stop().await;
}

/// A client that is not ours, with no timer of its own, gets the server's answer.
#[tokio::test]
async fn the_server_keeps_the_deadline_too() {
    let served = Served::start(&over_tcp(None)).await;
    let address = served.running.address.expect("listens");
    let plain =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy();
    let mut plain = proto::pod_runtime_service_client::PodRuntimeServiceClient::new(plain);
    let mut request = behaving("hang");
    request.metadata_mut().insert("grpc-timeout", "100m".parse().expect("text"));
    let error = plain.list_pods(request).await.expect_err("hangs");
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_does_not_hold_a_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let channel = connect(&Target::from(listener.local_addr().expect("bound")), None);
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        let _ = stream.shutdown().await;
    });
    let mut request = Request::new(proto::ListPodsRequest {});
    request.set_timeout(Duration::from_millis(200));
    let called = tokio::time::timeout(PATIENCE, client(channel).list_pods(request)).await.expect("bounded");
    assert_eq!(called.expect_err("no answer").code(), Code::DeadlineExceeded);
    silent.abort();
}

/// The deadline covers the body too: headers alone are no answer.
#[tokio::test]
async fn a_server_that_begins_an_answer_and_falls_silent_does_not_hold_a_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let channel = connect(&Target::from(listener.local_addr().expect("bound")), None);
    let half_hearted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let answer = service_fn(|_| async {
            let silence = stream::pending::<Result<Frame<Bytes>, Infallible>>();
            let response = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(response.body(StreamBody::new(silence)).expect("a response"))
        });
        let server = http2::Builder::new(TokioExecutor::new());
        let _cut_off = server.serve_connection(TokioIo::new(stream), answer).await;
    });
    let mut request = Request::new(proto::ListPodsRequest {});
    request.set_timeout(Duration::from_millis(500));
    let called = tokio::time::timeout(PATIENCE, client(channel).list_pods(request)).await.expect("bounded");
    let error = called.expect_err("never finished");
    assert_eq!((error.code(), status::reason(&error).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    half_hearted.abort();
}

/// The deadline bounds the beginning of a stream. Once begun it goes on.
#[tokio::test]
async fn a_stream_outlives_the_deadline_of_its_call() {
    let served = Served::start(&over_tcp(None)).await;
    let mut request = Request::new(proto::LogsRequest::default());
    let granted = Duration::from_millis(300);
    request.set_timeout(granted);
    let begun = Instant::now();
    let mut logs = client(served.channel(None)).logs(request).await.expect("begins").into_inner();
    assert_eq!(logs.message().await.expect("a line").expect("a line").data, "first line\n");
    let still_open = tokio::time::timeout_at(begun + 3 * granted, logs.message()).await;
    assert!(still_open.is_err(), "cut after {:?}: {still_open:?}", begun.elapsed());
    drop(logs);
    served.stop().await;
}

/// Both sides stream at once, each holds back the other, and no deadline cuts them.
#[tokio::test]
async fn both_sides_of_a_call_stream() {
    const PIECES: usize = 200;
    let token = Token::random();
    let served = Served::start(&over_tcp(Some(&token))).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let mut call = Request::new(tokio_stream::wrappers::ReceiverStream::new(requests));
    let granted = Duration::from_millis(300);
    call.set_timeout(granted);
    let begun = Instant::now();
    let mut responses = client(served.channel(Some(&token))).port_forward(call).await.expect("begins").into_inner();
    tokio::time::sleep_until(begun + 2 * granted).await;
    let sending = tokio::spawn(async move {
        for number in 0..PIECES {
            let data = vec![number as u8; 64 << 10].into();
            sender.send(proto::PortForwardRequest { data, ..Default::default() }).await.expect("is read");
        }
    });
    for number in 0..PIECES {
        let piece = tokio::time::timeout(PATIENCE, responses.message()).await.expect("in time").expect("goes on");
        assert_eq!(piece.expect("one for each").data[0], number as u8);
    }
    sending.await.expect("all was sent");
    assert_eq!(responses.message().await.expect("ends well"), None);
    served.stop().await;
}

#[tokio::test]
async fn a_panic_ends_the_call_alone_and_tells_nothing() {
    let served = Served::start(&over_tcp(None)).await;
    let channel = served.channel(None);
    let error = client(channel.clone()).list_pods(behaving("panic")).await.expect_err("panics");
    assert_eq!((error.code(), status::reason(&error).as_str()), (Code::Internal, "INTERNAL"));
    assert!(!error.message().contains("secret"), "{error}");
    lists(channel).await.expect("the server goes on");
    served.stop().await;
}

#[tokio::test]
async fn large_messages_pass_and_larger_ones_are_refused() {
    let served = Served::start(&over_tcp(None)).await;
    let mut client = client(served.channel(None));
    let request =
        |size: usize| proto::StopAllRequest { operation_id: "x".repeat(size), ..proto::StopAllRequest::default() };
    let large = 16 * 1024 * 1024;
    let answer = client.stop_all(request(large)).await.expect("passes").into_inner();
    assert_eq!(answer.stopped as usize, large);
    let error = client.stop_all(request(limits::REQUEST_BYTES_MAX + 1)).await.expect_err("refused");
    assert!(matches!(error.code(), Code::OutOfRange | Code::ResourceExhausted), "{error}");
    served.stop().await;
}

#[tokio::test]
async fn a_channel_survives_its_server() {
    let served = Served::start(&over_tcp(None)).await;
    let address = served.running.address.expect("listens");
    let channel = served.channel(None);
    lists(channel.clone()).await.expect("answers");
    served.stop().await;
    let error = lists(channel.clone()).await.expect_err("gone");
    assert_eq!((error.code(), status::reason(&error).as_str()), (Code::Unavailable, "UNREACHABLE"), "{error}");
    assert!(error.message().contains(&address.to_string()), "{error}");
    let mut config = over_tcp(None);
    config.listen = Some(address);
    let served = Served::start(&config).await;
    lists(channel).await.expect("the same channel reaches the new server");
    served.stop().await;
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let error = lists(connect(&"unix:/nonexistent/setkeeper.sock".parse().expect("a target"), None)).await;
    let error = error.expect_err("not there");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("/nonexistent/setkeeper.sock"), "{error}");
}

/// With Nagle's algorithm left on, every call waits 40 ms for an acknowledgement; 50 of them would take two seconds.
#[tokio::test]
async fn small_calls_do_not_wait_for_acknowledgements() {
    let served = Served::start(&over_tcp(None)).await;
    let channel = served.channel(None);
    lists(channel.clone()).await.expect("connects");
    let begun = Instant::now();
    for _ in 0..50 {
        lists(channel.clone()).await.expect("answers");
    }
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    served.stop().await;
}
