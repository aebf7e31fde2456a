//! One question to one resolver: UDP, then TCP if the answer did not fit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::Outward;
use crate::reply::UDP_PAYLOAD_BYTES_MAX;
use crate::wire::{HEADER_BYTES, rtype, u16_at};

/// Largest packet that is taken: more than is ever asked for.
const PACKET_BYTES_MAX: usize = 4096;

/// Packets that are looked at while the right one is awaited. Others are late, or forged.
const PACKETS_MAX: usize = 64;

/// # Cancel safety
/// Dropping the future closes its socket.
pub(super) async fn exchange(resolver: SocketAddr, outward: &Outward) -> io::Result<Vec<u8>> {
    const TC: u8 = 0x02;
    let query = query(outward);
    let unspecified: IpAddr =
        if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket of its own: the kernel gives it an unpredictable port, and drops what others send to it.
    let socket = UdpSocket::bind((unspecified, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(&query).await?;
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    for _ in 0..PACKETS_MAX {
        let length = socket.recv(&mut buffer).await?;
        let answer = &buffer[..length];
        if !answers(answer, &query, &outward.question) {
            continue;
        }
        if answer[2] & TC != 0 {
            return over_tcp(resolver, &query, &outward.question).await;
        }
        buffer.truncate(length);
        return Ok(buffer);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "only other packets than the answer came"))
}

async fn over_tcp(resolver: SocketAddr, query: &[u8], question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, query, question) {
        return Ok(answer);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"))
}

/// A question of our own: with an id that cannot be guessed, and nothing of the client but what it asks.
fn query(outward: &Outward) -> Vec<u8> {
    const RD: u8 = 0x01;
    let [high, low, ..] = *service_kit::random::uuid().as_bytes();
    let additional = u8::from(outward.edns.is_some());
    let mut query = vec![high, low, RD, 0, 0, 1, 0, 0, 0, 0, 0, additional];
    query.extend_from_slice(&outward.question);
    if let Some(edns) = outward.edns {
        let [high, low] = UDP_PAYLOAD_BYTES_MAX.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        query.extend_from_slice(&[0, 0, rtype::OPT as u8, high, low, 0, 0, dnssec_ok, 0, 0, 0]);
    }
    query
}

/// Whether a message is the answer to our question, spelling included: that is one more thing to guess.
fn answers(answer: &[u8], query: &[u8], question: &[u8]) -> bool {
    const QR: u8 = 0x80;
    answer.len() >= HEADER_BYTES
        && answer[..2] == query[..2]
        && answer[2] & QR != 0
        && u16_at(answer, 4) == Some(1)
        && answer[HEADER_BYTES..].starts_with(question)
}
