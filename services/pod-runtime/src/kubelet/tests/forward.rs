//! Connections of callers to ports of pods, with a machine whose pods are this machine's loopback.

use std::sync::Arc;
use std::time::Duration;

use api::proto::pod_runtime::v1::{PortForwardRequest, PortForwardResponse};
use service_kit::CancellationToken;
use service_kit::status::reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::fake::{Coordinator, Machine, Runtime};
use super::{ready, web};
use crate::forward::{Forwards, PIECE_BYTES_MAX};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

type Responses = ReceiverStream<Result<PortForwardResponse, Status>>;

/// A pod that runs, and a program behind one of its ports.
struct Scene {
    forwards: Forwards,
    shutdown: CancellationToken,
    coordinator: Coordinator,
    listener: TcpListener,
    port: u16,
    runtime: Runtime,
    _state: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (machine, coordinator, state) = (Machine::new(), Coordinator::new("s"), tempfile::tempdir().unwrap());
        coordinator.assign(web("u1", &["run"]));
        let runtime = Runtime::start(&machine, &coordinator, state.path());
        coordinator.until(|c| c.status("u1").is_some_and(|status| ready(&status))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shutdown = CancellationToken::new();
        let forwards = Forwards::new(Arc::new(machine), runtime.pods.clone(), shutdown.clone());
        Self { forwards, shutdown, coordinator, listener, port, runtime, _state: state }
    }

    fn first(&self) -> PortForwardRequest {
        PortForwardRequest {
            namespace: "default".into(),
            pod: "web-0".into(),
            port: self.port.into(),
            ..PortForwardRequest::default()
        }
    }

    async fn open(
        &self,
        first: PortForwardRequest,
    ) -> Result<(mpsc::Sender<Result<PortForwardRequest, Status>>, Responses), Status> {
        let (sender, requests) = mpsc::channel(1);
        sender.send(Ok(first)).await.unwrap();
        Ok((sender, self.forwards.open(ReceiverStream::new(requests)).await?))
    }

    /// An open connection, from the caller's side and from the program's.
    async fn connected(&self) -> (mpsc::Sender<Result<PortForwardRequest, Status>>, Responses, TcpStream) {
        let (opened, accepted) = tokio::join!(self.open(self.first()), self.listener.accept());
        let (requests, responses) = opened.unwrap();
        (requests, responses, accepted.unwrap().0)
    }
}

async fn next(responses: &mut Responses) -> Option<Result<PortForwardResponse, Status>> {
    tokio::time::timeout(PATIENCE, responses.next()).await.expect("comes in time")
}

async fn cut(responses: &mut Responses) -> Status {
    next(responses).await.expect("a last word").expect_err("an error")
}

async fn sees_a_reset(program: &mut TcpStream) {
    let read = tokio::time::timeout(PATIENCE, program.read(&mut [0; 8])).await.expect("ends in time");
    assert_eq!(read.expect_err("no clean end").kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn both_directions_are_whole_and_end_by_themselves() {
    const SIZE: usize = 5 << 20;
    let scene = Scene::new().await;
    let (requests, mut responses, program) = scene.connected().await;
    let (mut read, mut write) = program.into_split();
    let echo = tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await.map(|_| write) });
    let sent: Vec<u8> = (0..SIZE).map(|place| (place % 251) as u8).collect();
    let pieces = sent.clone();
    let sending = tokio::spawn(async move {
        for piece in pieces.chunks(PIECE_BYTES_MAX) {
            let data = piece.to_vec().into();
            requests.send(Ok(PortForwardRequest { data, ..PortForwardRequest::default() })).await.unwrap();
        }
        requests.send(Ok(PortForwardRequest { end: true, ..PortForwardRequest::default() })).await.unwrap();
    });
    let mut received = Vec::new();
    loop {
        let piece = next(&mut responses).await.expect("goes on").expect("no error");
        assert!(piece.data.len() <= PIECE_BYTES_MAX);
        received.extend_from_slice(&piece.data);
        if piece.end {
            break;
        }
        if received.len() == SIZE {
            // The program has read our end; only now does it end its side.
            drop(echo.await.unwrap().unwrap());
            break;
        }
    }
    sending.await.unwrap();
    assert!(received == sent, "every byte, in order");
    while let Some(rest) = next(&mut responses).await {
        assert!(rest.expect("a good end").data.is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_connected_is_explained() {
    let scene = Scene::new().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let first = scene.first();
    for (request, code, why) in [
        (PortForwardRequest { pod: "web-9".into(), ..first.clone() }, Code::NotFound, "POD_NOT_FOUND"),
        (PortForwardRequest { port: 0, ..first.clone() }, Code::InvalidArgument, "INVALID_FORWARD"),
        (PortForwardRequest { port: 65_536, ..first.clone() }, Code::InvalidArgument, "INVALID_FORWARD"),
        (PortForwardRequest { uid: "u0".into(), ..first.clone() }, Code::FailedPrecondition, "POD_NOT_RUNNING"),
        (PortForwardRequest { port: free.into(), ..first.clone() }, Code::FailedPrecondition, "PORT_REFUSED"),
    ] {
        let refusal = scene.open(request).await.expect_err(why);
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (code, why), "{refusal}");
    }
    let (requests, mut responses, mut program) = scene.connected().await;
    let data = vec![0; PIECE_BYTES_MAX + 1].into();
    requests.send(Ok(PortForwardRequest { data, ..PortForwardRequest::default() })).await.unwrap();
    assert_eq!(reason(&cut(&mut responses).await), "INVALID_FORWARD");
    sees_a_reset(&mut program).await;
}

#[tokio::test]
async fn a_pod_that_stops_cuts_its_connections() {
    let scene = Scene::new().await;
    let (_requests, mut responses, mut program) = scene.connected().await;
    scene.coordinator.remove("u1");
    let last = cut(&mut responses).await;
    assert_eq!(reason(&last), "CONNECTION_LOST");
    assert!(last.message().contains("default/web-0 was stopped"), "{last}");
    sees_a_reset(&mut program).await;
    scene.runtime.stop().await;
}

#[tokio::test]
async fn a_caller_that_leaves_without_an_end_is_seen_as_a_reset() {
    let scene = Scene::new().await;
    let (requests, responses, mut program) = scene.connected().await;
    drop(requests);
    sees_a_reset(&mut program).await;
    drop(responses);
    let (_requests, responses, mut program) = scene.connected().await;
    drop(responses);
    sees_a_reset(&mut program).await;
}

#[tokio::test]
async fn connections_end_at_shutdown() {
    let scene = Scene::new().await;
    let (_requests, mut responses, mut program) = scene.connected().await;
    program.write_all(b"x").await.unwrap();
    assert_eq!(next(&mut responses).await.unwrap().unwrap().data.as_ref(), b"x");
    scene.shutdown.cancel();
    assert_eq!(reason(&cut(&mut responses).await), "CONNECTION_LOST");
    sees_a_reset(&mut program).await;
}
