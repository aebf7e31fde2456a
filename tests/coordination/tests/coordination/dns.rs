//! Questions to the real DNS, about names of namespace default.

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use crate::Plane;

/// Bytes of the header of a message.
const HEADER: usize = 12;

/// What DNS says of a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is no such name.
    NameError,
    /// The name has these addresses, ascending; maybe none.
    Addresses(Vec<Ipv4Addr>),
}

/// A message that answers a question.
struct Reply {
    message: Vec<u8>,
    /// Where the question, which it repeats, ends.
    question_end: usize,
}

impl Reply {
    fn code(&self) -> u8 {
        self.message[3] & 0x0f
    }

    fn count(&self) -> u16 {
        u16::from_be_bytes([self.message[6], self.message[7]])
    }
}

/// How many addresses DNS answers, whatever else it says.
pub(crate) async fn addresses(plane: &Plane, name: &str) -> u16 {
    exchange(plane, name).await.count()
}

/// What DNS says; anything but an answer or a name error fails.
pub(crate) async fn ask(plane: &Plane, name: &str) -> Answer {
    let reply = exchange(plane, name).await;
    match reply.code() {
        3 => return Answer::NameError,
        0 => {}
        code => panic!("DNS answers code {code}"),
    }
    // Each answer is a pointer of 2 bytes, 10 bytes of fields, and an address of 4.
    let records = reply.message[reply.question_end..].chunks(16).take(usize::from(reply.count()));
    let mut addresses: Vec<Ipv4Addr> =
        records.map(|record| Ipv4Addr::from(<[u8; 4]>::try_from(&record[12..]).unwrap())).collect();
    addresses.sort();
    Answer::Addresses(addresses)
}

/// Asks for the IPv4 addresses of a name.
async fn exchange(plane: &Plane, name: &str) -> Reply {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut query = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in format!("{name}.default.svc.cluster.local").split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send_to(&query, plane.dns()).await.unwrap();
    let mut message = vec![0; 1500];
    let received = tokio::time::timeout(support::WAIT_MAX, socket.recv(&mut message)).await;
    message.truncate(received.expect("DNS answers").unwrap());
    assert!(message.len() > HEADER, "{message:?}");
    Reply { message, question_end: query.len() }
}
