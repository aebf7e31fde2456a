//! Questions over connections (RFC 7766). What a client can hold on to is bounded in number and in time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use service_kit::CancellationToken;
use service_kit::clock::Clock;
use service_kit::network::{Connection, Listener};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::handler::{Handled, Handler};
use crate::reply::Transport;

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 256;

/// Connections of one address. Without addresses of their own all pods of a machine share one.
const CONNECTIONS_PER_CLIENT_MAX: usize = 128;

/// How long a connection may be without a whole question, and a write may take.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may live, whatever it does.
const LIFE_TIMEOUT: Duration = Duration::from_secs(120);

/// Questions of one connection that wait for somebody else. Reading stops while there are this many.
const WAITING_MAX: usize = 16;

/// Largest question; a longer one ends the connection. Real ones have a name and a few options.
const QUESTION_BYTES_MAX: usize = 4096;

/// How long to wait after the machine refused to accept, for instance because files ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Who has how many connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place among the connections, given back when dropped.
struct Place {
    admission: Admission,
    client: IpAddr,
}

impl Admission {
    fn enter(&self, client: IpAddr) -> Option<Place> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = held.values().sum();
        let count = held.entry(client).or_default();
        if total >= CONNECTIONS_MAX || *count >= CONNECTIONS_PER_CLIENT_MAX {
            return None;
        }
        *count += 1;
        Some(Place { admission: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.admission.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) handler: Arc<Handler>,
    pub(super) admission: Admission,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Answers until shutdown.
pub(super) async fn serve(listener: Box<dyn Listener>, shared: Shared) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a DNS connection cannot be accepted");
                shared.clock.sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Some(place) = shared.admission.enter(peer.ip()) else { continue };
        let life = shared.clock.sleep(LIFE_TIMEOUT);
        let (shutdown, tasks) = (shared.shutdown.clone(), shared.tasks.clone());
        let shared = shared.clone();
        tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = life => {}
                _ended = converse(stream, peer.ip(), &shared) => {}
            }
        });
    }
}

/// Reads questions and answers them until the client leaves or makes no sense. Answers may overtake each other.
async fn converse(mut stream: Connection, peer: IpAddr, shared: &Shared) -> Option<()> {
    let mut input: Vec<u8> = Vec::new();
    let mut waiting: JoinSet<Option<Vec<u8>>> = JoinSet::new();
    let mut idle = shared.clock.sleep(IDLE_TIMEOUT);
    loop {
        while waiting.len() < WAITING_MAX {
            let Some(message) = take_message(&mut input)? else { break };
            idle = shared.clock.sleep(IDLE_TIMEOUT);
            match shared.handler.handle(&message, peer, Transport::Tcp, Vec::new()) {
                Handled::Drop => {}
                Handled::Reply(reply) => send(&mut stream, &reply, shared).await?,
                Handled::Stream(messages) => {
                    for message in messages {
                        send(&mut stream, &message, shared).await?;
                    }
                }
                Handled::Outward(message) => {
                    let handler = shared.handler.clone();
                    waiting.spawn(async move { handler.finish(&message, Transport::Tcp).await });
                }
            }
        }
        tokio::select! {
            read = stream.read_buf(&mut input), if waiting.len() < WAITING_MAX => {
                if read.ok()? == 0 && waiting.is_empty() {
                    return None;
                }
            }
            Some(reply) = waiting.join_next() => {
                if let Some(reply) = reply.ok()? {
                    send(&mut stream, &reply, shared).await?;
                }
                idle = shared.clock.sleep(IDLE_TIMEOUT);
            }
            () = &mut idle => return None,
        }
    }
}

/// The next whole message, or none yet. The outer none: what comes is no question.
fn take_message(input: &mut Vec<u8>) -> Option<Option<Vec<u8>>> {
    let Some(length) = crate::wire::u16_at(input, 0).map(usize::from) else { return Some(None) };
    if length == 0 || length > QUESTION_BYTES_MAX {
        return None;
    }
    if input.len() < 2 + length {
        return Some(None);
    }
    let message = input[2..2 + length].to_vec();
    input.drain(..2 + length);
    Some(Some(message))
}

async fn send(stream: &mut Connection, message: &[u8], shared: &Shared) -> Option<()> {
    let length = u16::try_from(message.len()).ok()?;
    let framed = [&length.to_be_bytes(), message].concat();
    tokio::select! {
        written = stream.write_all(&framed) => written.ok(),
        () = shared.clock.sleep(IDLE_TIMEOUT) => None,
    }
}
