//! The names of all pods, followed where pods have no name server on port 53: they read them in their hosts files.
//!
//! The DNS service is asked as any secondary would ask it: the serial every moment, the whole zone when it moved
//! (RFC 5936). What was last known stays while nobody answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing::{debug, info, warn};

use super::worker::Shared;
use crate::name_servers::NameServers;

/// How often the serial is asked for: peers that wait for each other's names should not notice.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long one answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Wait before a server that failed is asked again.
const RETRY: Duration = Duration::from_millis(250);

/// Records that are kept. Programs read a hosts file from its start for every name, so more would help nobody.
const RECORDS_MAX: usize = 10_000;

/// Messages of one transfer: each holds hundreds of records, of which many are no addresses.
const MESSAGES_MAX: usize = 1_000;

/// Addresses and their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zone {
    /// Domain, without the final dot.
    pub domain: String,
    /// Address and absolute name without the final dot, sorted.
    pub records: Vec<(IpAddr, String)>,
}

impl Zone {
    /// Every way in which a pod of a namespace may write a name of the zone, the absolute one first.
    #[must_use]
    pub fn spellings<'a>(&self, name: &'a str, namespace: &str) -> Vec<&'a str> {
        let mut all = vec![name];
        let inside = name.strip_suffix(self.domain.as_str()).and_then(|name| name.strip_suffix('.'));
        let Some(inside) = inside else { return all };
        all.push(inside);
        let Some(named) = inside.strip_suffix(".svc") else { return all };
        all.push(named);
        all.extend(named.strip_suffix(namespace).and_then(|name| name.strip_suffix('.')));
        all
    }
}

/// Follows the zone for ever, wherever the coordinator says that it is served.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut address = shared.dns_address.subscribe();
    let (mut failures, mut tried) = (0_u32, 0_usize);
    loop {
        let servers = NameServers::of(&address.borrow_and_update());
        let following = async {
            // The next one each time that one has failed.
            let mut all = servers.in_turn();
            let turn = tried.checked_rem(all.len()).unwrap_or(0);
            let Some(server) = all.nth(turn) else { return std::future::pending().await };
            follow_server(&shared, server, &mut failures).await
        };
        tokio::select! {
            Err(error) = following => {
                // A server ends old connections by itself; only a second failure in a row is news.
                failures = failures.saturating_add(1);
                tried = tried.wrapping_add(1);
                if failures == 2 {
                    info!(error = %error, "names of pods cannot be read; those known stay");
                } else {
                    debug!(error = %error, "names of pods are asked for again");
                }
                tokio::time::sleep(RETRY).await;
            }
            changed = address.changed() => if changed.is_err() { return },
        }
    }
}

async fn follow_server(
    shared: &Shared,
    server: SocketAddr,
    failures: &mut u32,
) -> io::Result<std::convert::Infallible> {
    let mut client = Client::connect(server).await?;
    let domain = shared.cluster_domain.borrow().clone();
    let mut known = None;
    loop {
        let serial = client.serial(&domain).await?;
        if known != Some(serial) {
            let zone = Arc::new(client.zone(&domain).await?);
            shared.others.send_if_modified(|old| {
                let news = *old != zone;
                *old = zone;
                news
            });
            known = Some(serial);
        }
        *failures = 0;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// One connection to a server.
struct Client {
    stream: TcpStream,
    id: u16,
}

impl Client {
    async fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = timely(TcpStream::connect(server)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, id: 0 })
    }

    async fn serial(&mut self, domain: &str) -> io::Result<u32> {
        self.ask(domain, RecordType::SOA).await?;
        let answer = self.answer().await?;
        let serial = answer.answers.iter().find_map(|record| serial(&record.data));
        serial.ok_or_else(|| io::Error::other("the answer has no serial"))
    }

    /// The whole zone, between two equal SOA records.
    async fn zone(&mut self, domain: &str) -> io::Result<Zone> {
        self.ask(domain, RecordType::AXFR).await?;
        let mut records = Vec::new();
        let mut ends = 0;
        for _ in 0..MESSAGES_MAX {
            for record in &self.answer().await?.answers {
                ends += usize::from(serial(&record.data).is_some());
                records.extend(address(&record.data).map(|address| (address, text(&record.name))));
            }
            if ends >= 2 {
                return Ok(bounded(domain, records));
            }
        }
        Err(io::Error::other(format!("the zone has more than {MESSAGES_MAX} messages")))
    }

    async fn ask(&mut self, domain: &str, what: RecordType) -> io::Result<()> {
        self.id = self.id.wrapping_add(1);
        let mut name = Name::from_ascii(domain).map_err(io::Error::other)?;
        name.set_fqdn(true);
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name, what));
        let message = message.to_vec().map_err(io::Error::other)?;
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        timely(self.stream.write_all(&[&length.to_be_bytes(), message.as_slice()].concat())).await
    }

    async fn answer(&mut self) -> io::Result<Message> {
        let mut length = [0; 2];
        timely(self.stream.read_exact(&mut length)).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        timely(self.stream.read_exact(&mut message)).await?;
        let message = Message::from_vec(&message).map_err(io::Error::other)?;
        let (id, code) = (message.metadata.id, message.metadata.response_code);
        if id != self.id || code != ResponseCode::NoError {
            return Err(io::Error::other(format!("the server answers {code}")));
        }
        Ok(message)
    }
}

async fn timely<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(ANSWER_WAIT, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn bounded(domain: &str, mut records: Vec<(IpAddr, String)>) -> Zone {
    records.retain(|(_, name)| !name.starts_with(['*', '_']));
    records.sort_unstable();
    records.dedup();
    if records.len() > RECORDS_MAX {
        warn!(records = records.len(), max = RECORDS_MAX, "too many names for a hosts file; the last are left out");
        records.truncate(RECORDS_MAX);
    }
    Zone { domain: domain.to_owned(), records }
}

fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_lowercase()
}

fn serial(data: &RData) -> Option<u32> {
    if let RData::SOA(soa) = data { Some(soa.serial) } else { None }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, SOA};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_name_has_every_spelling_that_search_suffixes_give_it() {
        let zone = Zone { domain: "cluster.local".to_owned(), records: Vec::new() };
        let name = "web-0.nginx.default.svc.cluster.local";
        let short = ["web-0.nginx.default.svc", "web-0.nginx.default", "web-0.nginx"];
        assert_eq!(zone.spellings(name, "default"), [&[name], &short[..]].concat());
        assert_eq!(zone.spellings(name, "other"), [&[name], &short[..2]].concat());
        assert_eq!(zone.spellings("a.example.org", "default"), ["a.example.org"]);
    }

    /// Serves a zone that has one more address each time it is transferred.
    async fn serve(listener: TcpListener) {
        let mut transfers = 0_u8;
        let (mut stream, _) = listener.accept().await.unwrap();
        loop {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).await.is_err() {
                return;
            }
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes).unwrap();
            let apex: Name = "cluster.local.".parse().unwrap();
            let transfer = question.queries[0].query_type() == RecordType::AXFR;
            transfers += u8::from(transfer);
            let soa = SOA::new(apex.clone(), apex.clone(), u32::from(transfers), 1, 1, 1, 0);
            let soa = Record::from_rdata(apex.clone(), 0, RData::SOA(soa));
            let mut messages = vec![vec![soa.clone()]];
            if transfer {
                let record =
                    |name: &str, last| Record::from_rdata(name.parse().unwrap(), 0, RData::A(A::new(10, 0, 0, last)));
                messages[0].push(record("*.x.cluster.local.", 9));
                messages.push((1..=transfers).map(|n| record("WEB.nginx.default.svc.cluster.local.", n)).collect());
                messages.push(vec![soa]);
            }
            for answers in messages {
                let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
                message.answers = answers;
                let bytes = message.to_vec().unwrap();
                stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_zone_is_read_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener));
        let mut client = Client::connect(server).await.unwrap();
        assert_eq!(client.serial("cluster.local").await.unwrap(), 0);
        let name = || "web.nginx.default.svc.cluster.local".to_owned();
        let expected = |n: u8| (1..=n).map(|n| (IpAddr::from([10, 0, 0, n]), name())).collect::<Vec<_>>();
        assert_eq!(client.zone("cluster.local").await.unwrap().records, expected(1));
        assert_eq!(client.serial("cluster.local").await.unwrap(), 1);
        assert_eq!(client.zone("cluster.local").await.unwrap().records, expected(2));
        drop(client);
        serving.await.unwrap();
    }
}
