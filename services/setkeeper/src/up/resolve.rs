//! Asks the served DNS for a name, as any program would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

/// How long one question may take.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Questions that are asked before giving up; UDP may lose one.
const TRIES: usize = 3;

/// Largest answer over UDP, in bytes.
const ANSWER_BYTES_MAX: usize = 1232;

/// The addresses of `name`, from the server at `server`.
pub(super) async fn resolve(server: SocketAddr, name: &str) -> io::Result<Vec<String>> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    let (id, question) = question(name)?;
    let mut buffer = [0; ANSWER_BYTES_MAX];
    for _ in 0..TRIES {
        socket.send(&question).await?;
        let Ok(received) = tokio::time::timeout(ANSWER_WAIT, socket.recv(&mut buffer)).await else { continue };
        let message = Message::from_vec(&buffer[..received?]).map_err(io::Error::other)?;
        if message.metadata.id == id {
            return Ok(message.answers.iter().filter_map(|record| address(&record.data)).collect());
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer")))
}

fn question(name: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut name = Name::from_ascii(name).map_err(io::Error::other)?;
    name.set_fqdn(true);
    let id = u16::from_be_bytes([uuid::Uuid::new_v4().as_bytes()[0], uuid::Uuid::new_v4().as_bytes()[1]]);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::A));
    Ok((id, message.to_vec().map_err(io::Error::other)?))
}

fn address(data: &RData) -> Option<String> {
    match data {
        RData::A(address) => Some(address.0.to_string()),
        RData::AAAA(address) => Some(address.0.to_string()),
        _ => None,
    }
}
