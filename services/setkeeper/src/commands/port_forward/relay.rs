//! One connection, from here to the pod and back.

use api::proto::coordinator::v1::{PortForwardRequest, PortForwardResponse};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::client::Client;

/// Largest piece that the API takes, in bytes.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Pieces on their way to the coordinator. A few keep both sides busy; more would only be memory.
const PIECES_MAX: usize = 4;

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) port: u16,
}

/// Why a connection was cut.
#[derive(Debug)]
pub(super) enum Cut {
    /// Whoever connected here has left; nobody needs to be told.
    LocalLeft,
    /// The other side refused or broke.
    Refused(String),
}

/// Carries both directions until both have ended. Where one breaks, whoever connected here sees a reset once `local` is
/// dropped, never half of something as the whole.
pub(super) async fn carry(client: &Client, place: &Place, local: &mut TcpStream) -> Result<(), Cut> {
    // Pieces come as their writers wrote them; waiting for more would only be late.
    let _ = local.set_nodelay(true);
    let ended = exchange(client, place, local).await;
    if ended.is_err() {
        let _ = local.set_zero_linger();
    }
    ended
}

async fn exchange(client: &Client, place: &Place, local: &mut TcpStream) -> Result<(), Cut> {
    let (sender, requests) = mpsc::channel(PIECES_MAX);
    let first = PortForwardRequest {
        namespace: place.namespace.clone(),
        pod: place.pod.clone(),
        port: u32::from(place.port),
        ..PortForwardRequest::default()
    };
    // There is room: nothing was sent yet.
    let _ = sender.send(first).await;
    let called = client.pods().port_forward(ReceiverStream::new(requests)).await;
    let responses = called.map_err(|status| refused(client, &status))?.into_inner();
    let (from_local, to_local) = local.split();
    tokio::try_join!(upload(from_local, sender), download(client, responses, to_local)).map(|_| ())
}

async fn upload(mut from_local: ReadHalf<'_>, sender: mpsc::Sender<PortForwardRequest>) -> Result<(), Cut> {
    loop {
        // Waits before it takes memory, so that an idle connection holds none.
        from_local.readable().await.map_err(|_| Cut::LocalLeft)?;
        let mut data = BytesMut::with_capacity(PIECE_BYTES_MAX);
        let end = from_local.read_buf(&mut data).await.map_err(|_| Cut::LocalLeft)? == 0;
        // The room that was not needed is not kept while the piece is on its way.
        let data = if data.len() < PIECE_BYTES_MAX / 2 { Bytes::copy_from_slice(&data) } else { data.freeze() };
        let piece = PortForwardRequest { data, end, ..PortForwardRequest::default() };
        // Where the call has ended, its responses say why.
        if sender.send(piece).await.is_err() || end {
            return Ok(());
        }
    }
}

async fn download(
    client: &Client,
    mut responses: Streaming<PortForwardResponse>,
    mut to_local: WriteHalf<'_>,
) -> Result<(), Cut> {
    let mut ended = false;
    while let Some(piece) = responses.message().await.map_err(|status| refused(client, &status))? {
        to_local.write_all(&piece.data).await.map_err(|_| Cut::LocalLeft)?;
        if piece.end {
            ended = true;
            to_local.shutdown().await.map_err(|_| Cut::LocalLeft)?;
        }
    }
    if ended { Ok(()) } else { Err(Cut::Refused("the connection was cut".to_owned())) }
}

fn refused(client: &Client, status: &Status) -> Cut {
    let text = client.explain(status);
    // The line it becomes part of says `error` already.
    Cut::Refused(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
}
