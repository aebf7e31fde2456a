//! Carries a caller's connection to a port of a pod.
//!
//! The connection goes to the address of the sandbox that lives now, as the backend sees it, never to an address that
//! somebody remembers. Bytes are held back by whoever reads slowest: at most [`PIECES_MAX`] pieces wait here.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api::proto::pod_runtime::v1::{PortForwardRequest, PortForwardResponse};
use bytes::BytesMut;
use domain::Uid;
use futures::{Stream, StreamExt as _};
use service_kit::CancellationToken;
use service_kit::status::{RETRY_DELAY, StatusBuilder, chain};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::backend::{BackendError, PodBackend};
use crate::error::{Error, SERVICE};
use crate::kubelet::Pods;

/// Largest piece in either direction, in bytes.
pub(crate) const PIECE_BYTES_MAX: usize = 64 << 10;

/// Pieces on their way to one caller. A few keep both sides busy; more would only be memory.
const PIECES_MAX: usize = 4;

/// Connections at the same time: people with their tools, far below what one machine carries.
const FORWARDS_MAX: usize = 256;

/// How long a caller may take to say where to. It has the first request ready when it calls.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(5);

/// How long the pod may take to accept. It is on this machine: it accepts or refuses at once, or its backlog is full.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long a caller that reads slowly is waited for with the reason of the end. Without it, it still sees a cut.
const LAST_WORD_WAIT: Duration = Duration::from_secs(1);

/// Why a connection is refused or cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The requests make no sense.
    #[error("{0}")]
    Invalid(String),
    /// No such pod here, or the backend failed.
    #[error(transparent)]
    Pod(#[from] Error),
    /// It does not run.
    #[error("pod {pod} does not run: {why}")]
    NotRunning { pod: String, why: &'static str },
    /// Nothing listens there.
    #[error(
        "nothing listens on port {port} of pod {pod} at {ip}; a server that listens on 127.0.0.1 only is not reached \
         there: let it listen on 0.0.0.0 or $(POD_IP)"
    )]
    Refused { pod: String, ip: String, port: u16 },
    /// The pod did not accept.
    #[error("port {port} of pod {pod} cannot be reached")]
    Unreachable {
        pod: String,
        port: u16,
        #[source]
        source: BackendError,
    },
    /// Too many at once.
    #[error("{FORWARDS_MAX} connections to pods of this machine are open, as many as may be: close some")]
    TooMany,
    /// It was open and is no more.
    #[error("the connection was cut: {0}")]
    Lost(String),
    /// The caller has left, or its call broke.
    #[error("the caller left")]
    CallerLeft,
}

impl From<ForwardError> for Status {
    fn from(error: ForwardError) -> Self {
        let message = chain(&error);
        let status = |code, reason| StatusBuilder::new(SERVICE, code, reason, message.clone());
        match error {
            ForwardError::Pod(error) => error.into(),
            ForwardError::Invalid(_) => status(Code::InvalidArgument, "INVALID_FORWARD").build(),
            ForwardError::NotRunning { pod, why } => {
                status(Code::FailedPrecondition, "POD_NOT_RUNNING").precondition("POD", pod, why).build()
            }
            ForwardError::Refused { pod, port, .. } => status(Code::FailedPrecondition, "PORT_REFUSED")
                .precondition("PORT", format!("{pod}:{port}"), "a program of the pod has to listen there")
                .build(),
            ForwardError::Unreachable { .. } => {
                status(Code::Unavailable, "PORT_UNREACHABLE").retry_after(RETRY_DELAY).build()
            }
            ForwardError::TooMany => status(Code::ResourceExhausted, "TOO_MANY_FORWARDS")
                .quota("connections to pods", format!("at most {FORWARDS_MAX}"))
                .build(),
            ForwardError::Lost(_) => status(Code::Unavailable, "CONNECTION_LOST").retry_after(RETRY_DELAY).build(),
            ForwardError::CallerLeft => status(Code::Cancelled, "CALLER_LEFT").build(),
        }
    }
}

/// All connections of callers to pods of this machine.
pub(crate) struct Forwards {
    backend: Arc<dyn PodBackend>,
    pods: Pods,
    room: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Forwards {
    /// None yet.
    #[must_use]
    pub(crate) fn new(backend: Arc<dyn PodBackend>, pods: Pods, shutdown: CancellationToken) -> Self {
        Self { backend, pods, room: Arc::new(Semaphore::new(FORWARDS_MAX)), shutdown }
    }

    /// Connects to where the first request says, and returns what comes back.
    ///
    /// # Errors
    /// There is no such pod or port, or it does not accept.
    pub(crate) async fn open<S>(
        &self,
        mut requests: S,
    ) -> Result<ReceiverStream<Result<PortForwardResponse, Status>>, Status>
    where
        S: Stream<Item = Result<PortForwardRequest, Status>> + Send + Unpin + 'static,
    {
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| ForwardError::TooMany)?;
        let invalid = |why: &str| ForwardError::Invalid(why.to_owned());
        let first = tokio::time::timeout(FIRST_REQUEST_WAIT, requests.next()).await;
        let first = first.map_err(|_| invalid("the first request, which names the port, did not come"))?;
        let first = first.ok_or_else(|| invalid("there is no request, so no port is named"))??;
        let port = u16::try_from(first.port).ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| invalid(&format!("port: {} is none: give 1 to 65535", first.port)))?;
        let unknown = || Error::PodNotFound { namespace: first.namespace.clone(), name: first.pod.clone() };
        let pod = self.pods.find(&first.namespace, &first.pod).ok_or_else(unknown)?;
        let name = format!("{}/{}", first.namespace, first.pod);
        if !first.uid.is_empty() && first.uid != pod.uid.0 {
            let why = "it was deleted, and its successor has not come to this machine yet";
            return Err(ForwardError::NotRunning { pod: name, why }.into());
        }
        let mut connection = self.connect(&pod.uid, &name, port).await?;
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let (shutdown, mut summary) = (self.shutdown.clone(), pod.summary);
        // Owned by its caller: it ends when the caller leaves, both sides are done, the pod stops, or at shutdown.
        tokio::spawn(async move {
            let ended = tokio::select! {
                () = shutdown.cancelled() => Err(ForwardError::Lost("the runtime of the pod's machine ends".into())),
                () = sender.closed() => Err(ForwardError::CallerLeft),
                // A worker that ended has stopped its pod or leaves with the runtime.
                _ = summary.wait_for(|summary| summary.stopped) => {
                    Err(ForwardError::Lost(format!("pod {name} was stopped")))
                }
                ended = carry(&mut connection, first, requests, &sender) => ended,
            };
            if let Err(error) = ended {
                // A program must not take half of something for the whole: it sees a reset, not an end.
                let _ = connection.set_zero_linger();
                drop(connection);
                tracing::debug!(pod = name, port, reason = %chain(&error), "a forwarded connection was cut");
                let _ = tokio::time::timeout(LAST_WORD_WAIT, sender.send(Err(error.into()))).await;
            }
            drop(permit);
        });
        Ok(ReceiverStream::new(receiver))
    }

    /// Connects to the sandbox that lives now.
    async fn connect(&self, uid: &Uid, name: &str, port: u16) -> Result<TcpStream, ForwardError> {
        let not_running = |why| ForwardError::NotRunning { pod: name.to_owned(), why };
        let sandbox = match self.backend.state(uid).await {
            Ok(sandbox) if sandbox.alive => sandbox,
            Ok(_) => return Err(not_running("it has ended, or is about to be started again")),
            Err(BackendError::NoSandbox { .. }) => return Err(not_running("it was not started yet, or has ended")),
            Err(error) => return Err(Error::from(error).into()),
        };
        let connection = self.backend.connect(SocketAddr::new(sandbox.ip, port), CONNECT_WAIT).await;
        let connection = connection.map_err(|error| match &error {
            BackendError::Machine { source, .. } if source.kind() == std::io::ErrorKind::ConnectionRefused => {
                ForwardError::Refused { pod: name.to_owned(), ip: sandbox.ip.to_string(), port }
            }
            _ => ForwardError::Unreachable { pod: name.to_owned(), port, source: error },
        })?;
        // Pieces come as their writers wrote them; waiting for more would only be late.
        let _ = connection.set_nodelay(true);
        Ok(connection)
    }
}

/// Carries both directions until both have ended.
async fn carry<S>(
    connection: &mut TcpStream,
    first: PortForwardRequest,
    requests: S,
    responses: &mpsc::Sender<Result<PortForwardResponse, Status>>,
) -> Result<(), ForwardError>
where
    S: Stream<Item = Result<PortForwardRequest, Status>>,
{
    let (from_pod, to_pod) = connection.split();
    tokio::try_join!(upload(first, requests, to_pod), download(from_pod, responses)).map(|_| ())
}

async fn upload<S>(first: PortForwardRequest, requests: S, mut to_pod: WriteHalf<'_>) -> Result<(), ForwardError>
where
    S: Stream<Item = Result<PortForwardRequest, Status>>,
{
    let mut requests = pin!(requests);
    let mut next = first;
    loop {
        if next.data.len() > PIECE_BYTES_MAX {
            let why = format!("data: {} bytes in one piece: send at most {PIECE_BYTES_MAX}", next.data.len());
            return Err(ForwardError::Invalid(why));
        }
        to_pod.write_all(&next.data).await.map_err(lost)?;
        if next.end {
            return to_pod.shutdown().await.map_err(lost);
        }
        next = match requests.next().await {
            Some(Ok(request)) => request,
            Some(Err(_)) | None => return Err(ForwardError::CallerLeft),
        };
    }
}

async fn download(
    mut from_pod: ReadHalf<'_>,
    responses: &mpsc::Sender<Result<PortForwardResponse, Status>>,
) -> Result<(), ForwardError> {
    loop {
        // Waits before it takes memory, so that an idle connection holds none.
        from_pod.readable().await.map_err(lost)?;
        let mut data = BytesMut::with_capacity(PIECE_BYTES_MAX);
        let end = from_pod.read_buf(&mut data).await.map_err(lost)? == 0;
        // The room that was not needed is not kept while the piece is on its way.
        let data = if data.len() < PIECE_BYTES_MAX / 2 { bytes::Bytes::copy_from_slice(&data) } else { data.freeze() };
        responses.send(Ok(PortForwardResponse { data, end })).await.map_err(|_| ForwardError::CallerLeft)?;
        if end {
            return Ok(());
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn lost(error: std::io::Error) -> ForwardError {
    ForwardError::Lost(format!("the pod's program or its machine ended it: {error}"))
}
