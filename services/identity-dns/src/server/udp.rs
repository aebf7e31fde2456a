//! Questions in single packets.

use std::io;
use std::sync::Arc;

use service_kit::CancellationToken;
use service_kit::network::Packets;
use tokio_util::task::TaskTracker;

use super::handler::{Handled, Handler};
use crate::reply::Transport;

/// Largest packet that is read. A question is far smaller; a longer packet is cut and then malformed.
const PACKET_BYTES_MAX: usize = 4096;

/// Packets answered before others get their turn.
const BURST: usize = 64;

/// Answers until `shutdown`.
pub(super) async fn serve(
    socket: Arc<dyn Packets>,
    handler: Arc<Handler>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let mut answer = Vec::new();
    loop {
        let ready = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            ready = socket.readable() => ready,
        };
        if let Err(error) = ready {
            tracing::warn!(%error, "a DNS socket cannot be read");
            return;
        }
        for _ in 0..BURST {
            let (length, peer) = match socket.try_recv_from(&mut packet) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The answer before found nobody; the kernel reports that here. The socket is fine.
                Err(_) => continue,
            };
            let handled = handler.handle(&packet[..length], peer.ip(), Transport::Udp, std::mem::take(&mut answer));
            match handled {
                Handled::Drop | Handled::Stream(_) => {}
                Handled::Reply(reply) => {
                    if matches!(socket.try_send_to(&reply, peer), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
                    {
                        // A full send buffer drains in microseconds. Any other failure is the peer's.
                        let _unsent = socket.send_to(&reply, peer).await;
                    }
                    answer = reply;
                }
                Handled::Outward(message) => {
                    // Bounded by the forwarder, which answers with SERVFAIL beyond its limit.
                    let (socket, handler) = (socket.clone(), handler.clone());
                    let asking = async move {
                        if let Some(reply) = handler.finish(&message, Transport::Udp).await {
                            let _unsent = socket.send_to(&reply, peer).await;
                        }
                    };
                    tasks.spawn(shutdown.clone().run_until_cancelled_owned(asking));
                }
            }
        }
        tokio::task::yield_now().await;
    }
}
