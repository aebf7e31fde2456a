//! Answers that are not whole.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::proto::pod_runtime::v1 as proto;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_kit::{Channel, Retry, Target, connect, status};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::Code;

use crate::fixture::{client, lists};

/// How an answer ends behind its one message.
#[derive(Debug, Clone, Copy)]
enum End {
    /// As it should.
    Status,
    /// Without a word, as of an answer that is whole.
    Nothing,
    /// With its connection.
    Connection,
}

/// A message as it is framed.
fn framed(message: &impl prost::Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("small");
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

/// A server each of whose answers is one message with the next end in turn; and how many calls there were.
async fn answering(message: Bytes, ends: &'static [End]) -> (Channel, Arc<AtomicUsize>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let channel = connect(&Target::from(listener.local_addr().expect("bound")), None);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let cut = Arc::new(Notify::new());
            let (message, counted, cutting) = (message.clone(), counted.clone(), cut.clone());
            let answer = service_fn(move |_| {
                let end = ends[counted.fetch_add(1, Ordering::SeqCst) % ends.len()];
                let (message, cutting) = (message.clone(), cutting.clone());
                let first = stream::iter([Ok::<_, Infallible>(Frame::data(message))]);
                let last = stream::once(async move {
                    match end {
                        End::Status => Some(HeaderMap::from_iter([("grpc-status".parse().expect("a name"), 0.into())])),
                        End::Nothing => None,
                        End::Connection => {
                            // What was said before is sent first.
                            tokio::task::yield_now().await;
                            cutting.notify_one();
                            std::future::pending().await
                        }
                    }
                });
                let last = last.filter_map(async |trailers| trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                let response = Response::builder().header("content-type", "application/grpc");
                let response = response.body(StreamBody::new(Box::pin(first.chain(last)))).expect("a response");
                async move { Ok::<_, Infallible>(response) }
            });
            let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
            tokio::select! {
                _ = serving => {}
                () = cut.notified() => {}
            }
        }
    });
    (channel, calls, server)
}

#[tokio::test]
async fn a_stream_without_a_status_is_not_whole_however_it_ends() {
    let line = framed(&proto::LogsResponse { data: "line\n".into() });
    for ends in [&[End::Nothing][..], &[End::Connection]] {
        let (channel, _, server) = answering(line.clone(), ends).await;
        let begun = client(channel).logs(proto::LogsRequest::default()).await;
        let error = match begun {
            Err(error) => error,
            Ok(logs) => {
                let lines: Vec<_> = logs.into_inner().collect().await;
                lines.into_iter().find_map(Result::err).unwrap_or_else(|| panic!("{ends:?} is taken for an end"))
            }
        };
        assert_eq!((error.code(), status::reason(&error).as_str()), (Code::Unavailable, "UNREACHABLE"), "{ends:?}");
        assert!(error.message().contains("broke off"), "{error}");
        server.abort();
    }
    let (channel, _, server) = answering(line, &[End::Status]).await;
    let mut logs = client(channel).logs(proto::LogsRequest::default()).await.expect("it begins").into_inner();
    assert!(logs.message().await.expect("a line").is_some());
    assert_eq!(logs.message().await.expect("it ends well"), None);
    server.abort();
}

#[tokio::test]
async fn a_call_whose_answer_broke_off_is_made_again_where_it_may_be() {
    let answer = proto::ListPodsResponse { tier: "process".to_owned(), ..proto::ListPodsResponse::default() };
    const ENDS: &[End] = &[End::Connection, End::Nothing, End::Status];
    let (channel, calls, server) = answering(framed(&answer), ENDS).await;
    assert_eq!(lists(channel.clone().retrying(Retry::QUICK)).await.expect("the third is whole"), answer);
    assert_eq!(calls.load(Ordering::SeqCst), ENDS.len());
    let error = lists(channel).await.expect_err("nobody makes it again");
    assert_eq!(error.code(), Code::Unavailable);
    server.abort();
}
