//! What strangers may throw at a port: refused, bounded in memory, said once, and nobody who belongs is held up.

use std::net::SocketAddr;
use std::time::Duration;

use api::proto::coordinator::v1::ListStatefulSetsRequest;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use service_kit::{Channel, Target, Token};
use support::{Product, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{one_process, secured};

/// Frames of one flood.
const FRAMES: u32 = 50_000;

/// Longest wait of a stranger for a server that reads no more.
const STALL_MAX: Duration = Duration::from_secs(2);

/// What all floods together may cost a process, in KiB.
const GROWTH_MAX_KIB: u64 = 64 * 1024;

/// What all floods together may add to the log, in bytes.
const LOG_MAX: usize = 64 * 1024;

/// Connections that say nothing. More than a server keeps of strangers, fewer than a process may have open.
const IDLE: usize = 600;

/// Connections of strangers that a server keeps.
const STRANGERS_MAX: usize = 256;

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A call without a token, as HPACK without a table (RFC 7541).
fn headers() -> Vec<u8> {
    let path = b"/setkeeper.coordinator.v1.SystemService/GetSystem";
    let length = u8::try_from(path.len()).expect("short");
    [&[0x83, 0x86, 0x04, length][..], path, &[0x01, 1, b'x', 0x0f, 0x10, 16], b"application/grpc"].concat()
}

/// Sends what `frames` says for each number, as long as the server takes it. Whether all of it was taken.
async fn flood(address: SocketAddr, frames: impl Fn(u32) -> Vec<u8>) -> bool {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut reader, mut writer) = stream.into_split();
    // A stranger who reads, so that the server is never stopped by its own answers.
    let reading = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    });
    let mut all = writer.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.is_ok();
    for number in 0..FRAMES {
        let written = tokio::time::timeout(STALL_MAX, writer.write_all(&frames(number))).await;
        if !matches!(written, Ok(Ok(()))) {
            all = false;
            break;
        }
    }
    reading.abort();
    all
}

/// Whoever belongs is let in, and answered.
async fn belongs(channel: Channel) {
    StatefulSetServiceClient::new(channel).list(ListStatefulSetsRequest::default()).await.expect("is let in");
}

async fn coordinator(product: &Product) -> (SocketAddr, Token) {
    let address = product.endpoints().await["coordinator"].as_str().expect("an address").parse().expect("an address");
    (address, Token::load(&product.data().join("token")).expect("up makes it"))
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_cost_little_and_hold_up_nobody() {
    let product = one_process().await;
    let (address, token) = coordinator(&product).await;
    belongs(service_kit::connect(&Target::from(address), Some(&token))).await;
    let (before, logged) = (product.peak_memory_kib(), product.log().len());

    let odd = |number: u32| 2 * number + 1;
    let call = |stream: u32| frame(HEADERS, END_HEADERS, stream, &headers());
    let reset = |stream: u32| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    flood(address, |number| [call(odd(number)), reset(odd(number))].concat()).await;
    belongs(service_kit::connect(&Target::from(address), Some(&token))).await;
    flood(address, |number| if number == 0 { call(1) } else { frame(DATA, 0, 1, &[]) }).await;
    belongs(service_kit::connect(&Target::from(address), Some(&token))).await;
    flood(address, |_| frame(PING, 0, 0, &[0; 8])).await;
    flood(address, |_| frame(SETTINGS, 0, 0, &[])).await;
    belongs(service_kit::connect(&Target::from(address), Some(&token))).await;
    let endless = |number: u32| match number {
        0 => frame(HEADERS, 0, 1, &headers()),
        _ => frame(CONTINUATION, 0, 1, &[&[0x00, 1, b'a', 0x7f, 0x80, 0x7f][..], &[b'a'; 16_000]].concat()),
    };
    assert!(!flood(address, endless).await, "headers without an end are cut off");
    assert!(!flood(address, |_| frame(DATA, 0, 1, &[0; 1 << 20])).await, "a frame that is too large is cut off");
    assert!(!flood(address, |_| b"GET / HTTP/1.1\r\n\r\n".repeat(1000)).await, "what is no HTTP/2 is cut off");
    belongs(service_kit::connect(&Target::from(address), Some(&token))).await;

    let grown = product.peak_memory_kib().saturating_sub(before);
    println!("floods: {grown} KiB more at the peak, from {before} KiB");
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");
    let said = product.log().len() - logged;
    println!("floods: {said} bytes more in the log");
    assert!(said < LOG_MAX, "{said} bytes more in the log: {}", product.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_makes_room_for_others() {
    let product = one_process().await;
    let (address, token) = coordinator(&product).await;
    let known = service_kit::connect(&Target::from(address), Some(&token));
    belongs(known.clone()).await;
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        // Half of them begin, and never go on.
        if number % 2 == 0 {
            stream.write_all(&PREFACE[..10]).await.expect("a new connection takes ten bytes");
        }
        idle.push(stream);
    }
    belongs(service_kit::connect(&Target::from(address), Some(&token))).await;
    until("those that waited longest have left", || async {
        let left = idle.iter().filter(|stream| closed(stream)).count();
        if left >= IDLE - STRANGERS_MAX { Ok(()) } else { Err(format!("{left} of {IDLE} have left")) }
    })
    .await;
    belongs(known).await;
}

/// Whether the other side has closed a connection. What it said before is of no interest.
fn closed(stream: &TcpStream) -> bool {
    loop {
        match stream.try_read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_a_tls_port_are_turned_away_and_said_a_few_times() {
    let product = secured(&[]).await;
    product.ok(&["version"]).await;
    let address = product.address("coordinator");
    let (before, logged) = (product.peak_memory_kib(), product.log().len());
    for _ in 0..500 {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let _cut_off = stream.write_all(PREFACE).await;
        let mut answer = Vec::new();
        let _closed = tokio::time::timeout(STALL_MAX * 5, stream.read_to_end(&mut answer)).await.expect("is closed");
        assert!(answer.len() < 16, "an alert at most: {answer:?}");
    }
    product.ok(&["version"]).await;
    let audit = std::fs::read_to_string(product.data().join("audit.log")).expect("is there");
    let strangers = audit.lines().filter(|line| line.contains("stranger at 127.0.0.1")).count();
    assert!((1..=20).contains(&strangers), "{strangers} lines of strangers");
    let grown = product.peak_memory_kib().saturating_sub(before);
    println!(
        "strangers: {grown} KiB more at the peak, from {before} KiB; {} bytes in the log",
        product.log().len() - logged
    );
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");
    assert!(product.log().len() - logged < LOG_MAX, "{}", product.log_tail());
}
