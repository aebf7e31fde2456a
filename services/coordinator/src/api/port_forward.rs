//! Carries a caller's connection to the machine of a pod.
//!
//! Chosen: a gRPC connection to the machine for each one. Rejected: the one that all other calls share, because bytes
//! that nobody reads fill its window, and logs and stops would wait behind them. To a machine in the same process there is
//! none: nothing is between the two that could fill.

use std::time::Duration;

use api::manifest::Kind;
use api::proto::coordinator::v1::{PortForwardRequest, PortForwardResponse};
use api::proto::pod_runtime::v1 as runtime;
use api::proto::pod_runtime::v1::pod_runtime_service_client::PodRuntimeServiceClient;
use service_kit::access::Caller;
use service_kit::status::{RETRY_DELAY, StatusBuilder, reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Front, cut_off, namespace};
use crate::error::{SERVICE, invalid_argument};
use crate::machines::{Machines, unreachable};
use crate::world::{Key, Object};

/// Largest piece in either direction, in bytes.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Pieces in each direction that the slower side may be behind before the other waits for it.
const PIECES_MAX: usize = 4;

/// How long a caller may take to say where to. It has the first request ready when it calls.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(5);

/// How long a machine may take to connect to the pod. Longer than the machine itself waits for the pod.
const START_WAIT: Duration = Duration::from_secs(9);

/// How long a caller that reads slowly is waited for with the reason of the end. Without it, it still sees a cut.
const LAST_WORD_WAIT: Duration = Duration::from_secs(1);

/// What comes back to the caller.
pub(crate) type Responses = ReceiverStream<Result<PortForwardResponse, Status>>;

/// Connects to where the first request says, and returns what comes back.
///
/// # Errors
/// The caller may not, there is no such pod or port, its machine cannot be reached, or whatever that says.
pub(crate) async fn port_forward(
    front: &Front,
    caller: &Caller,
    machines: &Machines,
    mut requests: Streaming<PortForwardRequest>,
) -> Result<Responses, Status> {
    let invalid = |why: &str| invalid_argument("INVALID_FORWARD", why);
    let first = tokio::time::timeout(FIRST_REQUEST_WAIT, requests.message()).await;
    let first = first.map_err(|_| invalid("the first request, which names the port, did not come"))?;
    let first = first?.ok_or_else(|| invalid("there is no request, so no port is named"))?;
    if !(1..=u32::from(u16::MAX)).contains(&first.port) {
        return Err(invalid(&format!("port: {} is none: give 1 to 65535", first.port)));
    }
    let key = Key::new(Kind::Pod, namespace(&first.namespace), &first.pod);
    caller.may(key.kind, &key.namespace)?;
    let pod = front.get(&key)?;
    let node = pod.text("/spec/nodeName");
    runs(&pod)?;
    let (to_machine, from_caller) = mpsc::channel(PIECES_MAX);
    let start = runtime::PortForwardRequest {
        namespace: pod.key.namespace.clone(),
        pod: pod.key.name.clone(),
        uid: pod.uid().0,
        port: first.port,
        data: bounded(&first)?.data.clone(),
        end: first.end,
    };
    // There is room: nothing was sent yet.
    let _ = to_machine.send(start).await;
    let mut client = PodRuntimeServiceClient::new(machines.own_channel(node)?);
    let called = tokio::time::timeout(START_WAIT, client.port_forward(ReceiverStream::new(from_caller))).await;
    let called = called.map_err(|_| unreachable(node, "no answer in time"))?;
    let responses = called.map_err(|status| match reason(&status).as_str() {
        "UNREACHABLE" | "DEADLINE_EXCEEDED" => unreachable(node, status.message()),
        _ => status,
    })?;
    let (feed, receiver) = mpsc::channel(PIECES_MAX);
    let up = upload(requests, to_machine, first.end);
    let down = download(responses.into_inner(), feed.clone());
    let cut = cut_off(front.context.clone(), caller.clone(), key.kind, key.namespace);
    // Owned by its caller: it ends when the caller leaves, the machine ends the call, or it is cut off.
    tokio::spawn(carry(up, down, feed, cut));
    Ok(ReceiverStream::new(receiver))
}

async fn carry(
    up: impl Future<Output = Result<(), Status>>,
    down: impl Future<Output = Result<(), Status>>,
    feed: mpsc::Sender<Result<PortForwardResponse, Status>>,
    cut: impl Future<Output = Status>,
) {
    let both = async {
        tokio::pin!(up, down);
        tokio::select! {
            // The machine's word is the last one: it ends the call once both directions have ended.
            ended = &mut down => ended,
            ended = &mut up => match ended {
                Ok(()) => down.await,
                Err(status) => Err(status),
            },
        }
    };
    let ended = tokio::select! {
        why = cut => Err(match why.code() {
            Code::Unavailable => lost("the coordinator ends"),
            _ => why,
        }),
        () = feed.closed() => return,
        ended = both => ended,
    };
    if let Err(status) = ended {
        let _ = tokio::time::timeout(LAST_WORD_WAIT, feed.send(Err(status))).await;
    }
}

/// Ends well when the caller has nothing more to send, or when the machine listens no more.
async fn upload(
    mut requests: Streaming<PortForwardRequest>,
    to_machine: mpsc::Sender<runtime::PortForwardRequest>,
    ended: bool,
) -> Result<(), Status> {
    let mut end = ended;
    while !end {
        // A caller that leaves without an end is told to the machine by leaving likewise.
        let Some(request) = requests.message().await? else { return Ok(()) };
        end = request.end;
        let data = bounded(&request)?.data.clone();
        let piece = runtime::PortForwardRequest { data, end, ..runtime::PortForwardRequest::default() };
        if to_machine.send(piece).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn download(
    mut responses: Streaming<runtime::PortForwardResponse>,
    feed: mpsc::Sender<Result<PortForwardResponse, Status>>,
) -> Result<(), Status> {
    while let Some(runtime::PortForwardResponse { data, end }) = responses.message().await? {
        if feed.send(Ok(PortForwardResponse { data, end })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn bounded(request: &PortForwardRequest) -> Result<&PortForwardRequest, Status> {
    if request.data.len() <= PIECE_BYTES_MAX {
        return Ok(request);
    }
    let why = format!("data: {} bytes in one piece: send at most {PIECE_BYTES_MAX}", request.data.len());
    Err(invalid_argument("INVALID_FORWARD", &why))
}

/// What can be told without asking the machine.
fn runs(pod: &Object) -> Result<(), Status> {
    let name = &pod.key.name;
    let refused = |reason, message: String, remedy: &str| {
        let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, reason, message);
        Err(status.precondition("POD", name.clone(), remedy).build())
    };
    if pod.text("/spec/nodeName").is_empty() {
        let why = crate::objects::condition(&pod.value, "PodScheduled").and_then(|c| c.get("message")?.as_str());
        let message = format!("pod {name:?} has no machine yet: {}", why.unwrap_or("it was just created"));
        return refused("POD_NOT_PLACED", message, "wait until it runs");
    }
    let phase = pod.text("/status/phase");
    if matches!(phase, "Succeeded" | "Failed") {
        let message = format!("pod {name:?} does not run: its phase is {phase}");
        return refused("POD_NOT_RUNNING", message, "a pod that has ended does not start again");
    }
    Ok(())
}

fn lost(why: &str) -> Status {
    let message = format!("the connection was cut: {why}");
    StatusBuilder::new(SERVICE, Code::Unavailable, "CONNECTION_LOST", message).retry_after(RETRY_DELAY).build()
}
