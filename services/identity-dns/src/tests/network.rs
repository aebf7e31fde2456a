//! The whole service over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use api::proto::identity_dns::v1::{AssignRequest, GetZoneRequest, OrdinalRevision, PublishRequest};
use api::proto::planning::v1::SetRef;
use domain::zone::{Publication, ZoneChange};
use hickory_proto::op::Message;
use service_kit::{Channel, Context, ServerConfig, Target, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::fixture::{facts, pod, query, render, type_number};
use crate::config::{Config, Outside, Resolvers};
use crate::{DNS_HEALTH, NAME, Sockets, Started, start};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> Config {
    let local = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let reverse = ["10.244.0.0/16", "10.96.0.0/16"].iter().map(|block| block.parse().unwrap()).collect();
    Config {
        server: ServerConfig { listen: local, ..ServerConfig::default() },
        listen: local.into_iter().collect(),
        reverse,
        outside: Outside::Refuse,
        ..Config::default()
    }
}

async fn started(config: Config) -> (Started, Context, IdentityDnsServiceClient<Channel>) {
    let context = Context::default();
    let started = start(config, context.clone()).await.unwrap();
    let target = Target::Tcp(started.running.address.unwrap().to_string());
    (started, context, IdentityDnsServiceClient::new(connect(&target, None)))
}

fn publication(generation: u64, base_generation: Option<u64>, change: ZoneChange) -> PublishRequest {
    let operation_id = format!("op-{generation}");
    Publication { operation_id, store: "s".into(), epoch: 1, generation, base_generation, change }.into()
}

async fn over_udp(address: SocketAddr, question: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(question, Some((0, 1232))), address).await.unwrap();
    let mut buffer = [0; 2000];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn read_message(stream: &mut TcpStream) -> Message {
    let length = tokio::time::timeout(PATIENCE, stream.read_u16()).await.unwrap().unwrap();
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_publication_is_seen_on_every_socket() {
    let extra = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (started, context, mut client) = started(Config { sockets: vec![extra], ..config() }).await;
    assert_eq!(started.dns_addresses.len(), 2);
    let later = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let later = started.listeners.add(&later).unwrap();
    assert_eq!(render(&over_udp(later, "web-0.nginx.default~ A").await), "SERVFAIL");
    client.publish(publication(1, None, facts())).await.unwrap();
    for address in started.dns_addresses.iter().copied().chain([later]) {
        for n in 0..20 {
            let ip = format!("10.244.3.{n}");
            let change = ZoneChange { pods: vec![pod("web-9", &ip, "app=nginx", "nginx")], ..ZoneChange::default() };
            let zone = client.get_zone(GetZoneRequest {}).await.unwrap().into_inner();
            client.publish(publication(zone.generation + 1, Some(zone.generation), change)).await.unwrap();
            assert_eq!(render(&over_udp(address, "web-9.nginx.default~ A").await), format!("NOERROR {ip}"));
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let both = [framed(&query("big.default~ A", None)), framed(&query("nginx.foo~ A", None))].concat();
        stream.write_all(&both).await.unwrap();
        assert_eq!(read_message(&mut stream).await.answers.len(), 100);
        assert_eq!(render(&read_message(&mut stream).await), "NOERROR 10.244.1.10");
        stream.write_all(&framed(&query("cluster.local. AXFR", None))).await.unwrap();
        let mut records = Vec::new();
        while records.len() < 2 || records.first() != records.last() {
            records.extend(read_message(&mut stream).await.answers);
        }
        assert!(records.len() > 300);
        stream.write_all(&[0, 0]).await.unwrap();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "a message of no bytes ends the connection");
    }
    let zone = client.get_zone(GetZoneRequest {}).await.unwrap().into_inner();
    assert_eq!((zone.zone.as_str(), zone.loaded, zone.addresses.len()), ("cluster.local", true, 3));
    assert!(zone.names > 200);
    context.shutdown.cancel();
    tokio::time::timeout(PATIENCE, started.running.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_whether_there_are_names_and_whether_calls_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let config = || Config { cache: Some(directory.path().join("names")), ..config() };
    for known_before in [false, true] {
        let (started, context, mut client) = started(config()).await;
        let channel = connect(&Target::Tcp(started.running.address.unwrap().to_string()), None);
        let ready = async |name| service_kit::readiness(channel.clone(), name).await.unwrap();
        assert_eq!(ready(DNS_HEALTH).await, known_before, "no query is for who knows no name");
        assert!(ready(NAME).await, "it can be told");
        client.publish(publication(1, None, facts())).await.unwrap();
        assert!(ready(DNS_HEALTH).await);
        context.shutdown.cancel();
        tokio::time::timeout(PATIENCE, started.running.task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_their_reason() {
    use tonic::Code;
    let (_started, _context, mut client) = started(config()).await;
    client.publish(publication(5, None, facts())).await.unwrap();
    let fenced = client.publish(publication(4, None, facts())).await.unwrap_err();
    assert_eq!((fenced.code(), reason(&fenced).as_str()), (Code::Aborted, "FENCED"));
    let gap = client.publish(publication(9, Some(8), ZoneChange::default())).await.unwrap_err();
    assert_eq!((gap.code(), reason(&gap).as_str()), (Code::FailedPrecondition, "BASE_MISMATCH"));
    let wrong = client.publish(PublishRequest::default()).await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::InvalidArgument, "INVALID_FACTS"));
    let set = SetRef { namespace: "default".into(), name: "x".repeat(62), uid: "u".into() };
    let ordinals = vec![OrdinalRevision { ordinal: 7, revision: "web-1".into() }];
    let request = AssignRequest { set: Some(set), service_name: "nginx".into(), ordinals };
    let long = client.assign(request).await.unwrap_err();
    assert_eq!((long.code(), reason(&long).as_str()), (Code::InvalidArgument, "INVALID_IDENTITY"));
}

fn reason(status: &tonic::Status) -> String {
    // The reason is a plain text inside the encoded details.
    let text = String::from_utf8_lossy(status.details()).into_owned();
    let known = ["FENCED", "BASE_MISMATCH", "INVALID_FACTS", "INVALID_IDENTITY"];
    known.iter().find(|reason| text.contains(*reason)).map_or(text.clone(), |reason| (*reason).to_owned())
}

/// A resolver that knows `www.example.com`, and says it whole only over TCP when asked for `large.example.com`.
async fn resolver() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2000];
        loop {
            let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
            let mut answer = resolve(&buffer[..length]);
            if buffer[..length].windows(5).any(|window| window == b"large") {
                answer[2] |= 2;
            }
            // A forged answer first: with another id it must not be taken.
            let mut forged = answer.clone();
            forged[0] ^= 1;
            udp.send_to(&forged, peer).await.unwrap();
            udp.send_to(&answer, peer).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut bytes = vec![0; length.into()];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&framed(&resolve(&bytes))).await.unwrap();
        }
    });
    address
}

fn resolve(message: &[u8]) -> Vec<u8> {
    let end = crate::wire::skip_name(message, 12).unwrap() + 4;
    let known = message[end - 4..end - 2] == type_number("A").to_be_bytes();
    let mut answer = message[..end].to_vec();
    answer[2] = 0x81;
    answer[3] = if known { 0x80 } else { 0x83 };
    answer[6..12].fill(0);
    if known {
        answer[7] = 2;
        // A CNAME to `x` below the same name, and its address.
        answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'x', 0xc0, 12]);
        answer.extend_from_slice(&[1, b'x', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 7]);
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d54_names_outside_are_asked_for() {
    let resolvers = Resolvers::Fixed(vec![resolver().await]);
    let (started, _context, mut client) = started(Config { outside: Outside::Forward, resolvers, ..config() }).await;
    client.publish(publication(1, None, facts())).await.unwrap();
    let address = started.dns_addresses[0];
    let answer = over_udp(address, "WwW.example.com. A").await;
    assert_eq!(render(&answer), "NOERROR 192.0.2.7; CNAME x.WwW.example.com.");
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    assert_eq!(render(&over_udp(address, "www.example.com. AAAA").await), "NXDOMAIN");
    let large = over_udp(address, "large.example.com. A").await;
    assert_eq!((large.answers.len(), large.metadata.truncation), (2, false), "asked again over TCP");
    let chased = over_udp(address, "ext.default~ A").await;
    let expected = "NOERROR 192.0.2.7; CNAME www.example.com.; CNAME x.www.example.com.";
    assert_eq!((render(&chased).as_str(), chased.metadata.authoritative), (expected, true));
    let owners: Vec<_> = chased.answers.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(owners, ["ext.default.svc.cluster.local.", "www.example.com.", "x.www.example.com."]);
    assert_eq!(render(&over_udp(address, "nosuch.default~ A").await), "NXDOMAIN / SOA", "ours are never forwarded");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&framed(&query("www.example.com. A", None))).await.unwrap();
    stream.write_all(&framed(&query("nginx.foo~ A", None))).await.unwrap();
    let mut answers = [render(&read_message(&mut stream).await), render(&read_message(&mut stream).await)];
    answers.sort();
    assert_eq!(answers, ["NOERROR 10.244.1.10", "NOERROR 192.0.2.7; CNAME x.www.example.com."]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_resolver_names_outside_do_not_exist() {
    let resolvers = Resolvers::Fixed(Vec::new());
    let (started, _context, mut client) = started(Config { outside: Outside::Forward, resolvers, ..config() }).await;
    client.publish(publication(1, None, facts())).await.unwrap();
    assert_eq!(render(&over_udp(started.dns_addresses[0], "www.example.com. A").await), "NXDOMAIN");
}

#[tokio::test]
async fn a_start_that_makes_no_sense_fails() {
    let start = |config| async { start(config, Context::default()).await.is_err() };
    assert!(start(Config { domain: "not a domain".into(), ..config() }).await);
    assert!(start(Config { negative_ttl_seconds: 31, ..config() }).await);
    assert!(start(Config { listen: Vec::new(), ..config() }).await);
}
