//! The zone of the conformance table, and a way to ask it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use domain::Timestamp;
use domain::Uid;
use domain::zone::{
    EndpointSliceFacts, ManualEndpoint, NamedPort, ObjectName, PodFacts, Protocol, Publication, ServiceAddress,
    ServiceFacts, ServicePort, TargetPort, ZoneChange,
};
use hickory_proto::op::Message;
use service_kit::clock::ManualClock;

use crate::config::Outside;
use crate::forward::{Forwarder, Resolvers};
use crate::publisher::Publisher;
use crate::reply::Transport;
use crate::server::{Access, Handled, Handler};
use crate::wire::Name;
use crate::zone::{PodRecords, Zone, ZoneOptions};

pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) fn labels(text: &str) -> BTreeMap<String, String> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect()
}

/// A headless Service in `default`. Ports are `name:port/protocol` or `name:port>target/protocol`.
pub(super) fn service(name: &str, selector: &str, ports: &[&str]) -> ServiceFacts {
    let port = |text: &&str| {
        let (name, rest) = text.split_once(':').unwrap();
        let (numbers, protocol) = rest.split_once('/').unwrap();
        let (port, target) = numbers.split_once('>').unwrap_or((numbers, numbers));
        let target = target.parse().map_or_else(|_| TargetPort::Name(target.to_owned()), TargetPort::Number);
        ServicePort { name: name.to_owned(), protocol: parse_protocol(protocol), port: port.parse().unwrap(), target }
    };
    ServiceFacts {
        name: ObjectName::new("default", name),
        selector: labels(selector),
        ports: ports.iter().map(port).collect(),
        ..ServiceFacts::default()
    }
}

pub(super) fn parse_protocol(text: &str) -> Protocol {
    match text {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        other => panic!("{other}"),
    }
}

pub(super) fn cluster(mut service: ServiceFacts, ips: &[&str]) -> ServiceFacts {
    service.address = ServiceAddress::ClusterIps(ips.iter().map(|ip| ip.parse().unwrap()).collect());
    service
}

pub(super) fn external(name: &str, target: &str) -> ServiceFacts {
    let mut service = service(name, "", &[]);
    service.address = ServiceAddress::ExternalName(target.to_owned());
    service
}

/// A ready pod in `default` whose hostname is its name.
pub(super) fn pod(name: &str, ip: &str, label: &str, subdomain: &str) -> PodFacts {
    PodFacts {
        name: ObjectName::new("default", name),
        uid: Uid(format!("uid-{name}-{ip}")),
        ips: vec![ip.parse().unwrap()],
        labels: labels(label),
        hostname: name.to_owned(),
        subdomain: subdomain.to_owned(),
        ready: true,
        ..PodFacts::default()
    }
}

fn manual() -> EndpointSliceFacts {
    let endpoint = |ip: &str, hostname: &str| ManualEndpoint {
        ips: vec![ip.parse().unwrap()],
        hostname: hostname.to_owned(),
        ready: true,
    };
    EndpointSliceFacts {
        name: ObjectName::new("default", "manual-1"),
        service: "manual".into(),
        ports: vec![NamedPort { name: "web".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: vec![endpoint("10.244.9.1", "a"), endpoint("10.244.9.2", "a"), endpoint("fd00:10:244::9", "")],
    }
}

/// All facts of the table.
pub(super) fn facts() -> ZoneChange {
    let foreign = |mut pod: PodFacts| {
        pod.name.namespace = "foo".into();
        pod
    };
    let mut foo = service("nginx", "app=nginx", &["web:80/TCP"]);
    foo.name.namespace = "foo".into();
    let mut db = service("db", "app=db", &["mysql:3306/TCP", "metrics:9104/TCP"]);
    db.publish_not_ready_addresses = true;
    let mut pods = vec![
        pod("web-0", "10.244.0.10", "app=nginx", "nginx"),
        pod("web-1", "10.244.0.11", "app=nginx", "nginx"),
        PodFacts { ready: false, ..pod("web-2", "10.244.0.12", "app=nginx", "nginx") },
        PodFacts { ready: false, ..pod("db-0", "10.244.0.20", "app=db", "db") },
        pod("db-1", "10.244.0.21", "app=db", "db"),
        pod("solo", "10.244.0.30", "app=solo", "portless"),
        pod("lone", "10.244.0.40", "app=lone", ""),
        foreign(pod("web-0", "10.244.1.10", "app=nginx", "nginx")),
    ];
    pods.extend((0..100).map(|n| pod(&format!("bulk-{n}"), &format!("10.244.2.{n}"), "app=big", "big")));
    ZoneChange {
        namespaces: ["default", "foo", "empty"].map(str::to_owned).to_vec(),
        services: vec![
            service("nginx", "app=nginx", &["web:80/TCP"]),
            service("peek", "app=nginx", &["web:80/TCP"]),
            db,
            cluster(service("api", "app=api", &["http:80>8080/TCP", "dns:53/UDP"]), &["10.96.0.20"]),
            cluster(service("plain", "app=nginx", &[":80/TCP"]), &["10.96.0.21"]),
            cluster(service("dual", "app=dual", &["https:443/TCP"]), &["10.96.0.22", "fd00:10:96::22"]),
            service("void", "app=void", &["x:1/TCP"]),
            service("portless", "app=solo", &[]),
            service("manual", "", &[]),
            external("ext", "www.example.com"),
            external("alias", "api.default.svc.cluster.local"),
            external("broken", "nope.default.svc.cluster.local"),
            service("big", "app=big", &["web:80/TCP"]),
            foo,
        ],
        pods,
        slices: vec![manual()],
        ..ZoneChange::default()
    }
}

pub(super) fn options(domain: &str) -> ZoneOptions {
    let cidrs = ["10.244.0.0/16", "fd00:10:244::/48", "10.96.0.0/16", "fd00:10:96::/48"];
    ZoneOptions {
        domain: Name::from_text(domain).unwrap(),
        ttl: 5,
        negative_ttl: 0,
        addresses: vec!["10.96.0.10".parse().unwrap()],
        cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        pod_records: PodRecords::Verified,
        endpoint_pod_names: false,
    }
}

/// A server without a network.
pub(super) struct Bench {
    pub(super) publisher: Arc<Publisher>,
    pub(super) handler: Handler,
    generation: std::cell::Cell<u64>,
}

impl Bench {
    /// The zone of the table.
    pub(super) fn new() -> Self {
        let bench = Self::empty("cluster.local");
        bench.publish(facts());
        bench
    }

    /// A server that knows no facts.
    pub(super) fn empty(domain: &str) -> Self {
        Self::with(options(domain), vec!["127.0.0.0/8".parse().unwrap()])
    }

    pub(super) fn with(options: ZoneOptions, transfers: Vec<crate::zone::Cidr>) -> Self {
        let publisher = Publisher::open(Zone::new(options).unwrap(), None, Timestamp(1_700_000_000_000)).unwrap();
        let publisher = Arc::new(publisher);
        let clock = Arc::new(ManualClock::new(Timestamp(0)));
        let forwarder = Forwarder::new(Resolvers::Fixed(Vec::new()), clock);
        let access = Access { clients: Vec::new(), transfers, outside: Outside::Refuse };
        let handler = Handler::new(publisher.clone(), forwarder, access, Arc::default());
        Self { publisher, handler, generation: std::cell::Cell::new(0) }
    }

    /// Publishes a change and returns the serial.
    pub(super) fn publish(&self, change: ZoneChange) -> u32 {
        let base = self.generation.get();
        self.generation.set(base + 1);
        let base_generation = (base > 0).then_some(base);
        let (operation_id, generation) = (format!("op-{base}"), base + 1);
        let store = String::new();
        let publication = Publication { operation_id, store, epoch: 1, generation, base_generation, change };
        self.publisher.publish(publication).unwrap().serial
    }

    pub(super) fn put_pod(&self, pod: PodFacts) -> u32 {
        self.publish(ZoneChange { pods: vec![pod], ..ZoneChange::default() })
    }

    /// The answer to a message; none where it is dropped.
    pub(super) fn raw(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match self.handler.handle(message, LOCAL, transport, Vec::new()) {
            Handled::Reply(reply) => Some(reply),
            Handled::Stream(messages) => messages.into_iter().next(),
            Handled::Drop | Handled::Outward(_) => None,
        }
    }

    /// Asks `name TYPE` over TCP, so that nothing is cut.
    pub(super) fn ask(&self, question: &str) -> Message {
        let answer = self.raw(&query(question, None), Transport::Tcp).expect("an answer");
        Message::from_vec(&answer).expect("a well-formed answer")
    }

    /// The answer as the table writes it.
    pub(super) fn line(&self, question: &str) -> String {
        render(&self.ask(question))
    }
}

pub(super) fn type_number(name: &str) -> u16 {
    let known = [
        ("A", 1),
        ("NS", 2),
        ("CNAME", 5),
        ("SOA", 6),
        ("PTR", 12),
        ("MX", 15),
        ("TXT", 16),
        ("AAAA", 28),
        ("SRV", 33),
        ("HTTPS", 65),
        ("IXFR", 251),
        ("AXFR", 252),
        ("ANY", 255),
        ("CAA", 257),
        ("TYPE65280", 65280),
    ];
    known.iter().find(|(text, _)| *text == name).expect("a known type").1
}

/// A query on the wire. `edns` is version and payload size.
pub(super) fn query(question: &str, edns: Option<(u8, u16)>) -> Vec<u8> {
    let question = question.replace('~', ".svc.cluster.local.");
    let (name, asked) = question.split_once(' ').unwrap();
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&type_number(asked).to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if let Some((version, size)) = edns {
        let [high, low] = size.to_be_bytes();
        message.extend_from_slice(&[0, 0, 41, high, low, 0, version, 0, 0, 0, 0]);
    }
    message
}

/// `CODE answers / authority + additional`, sorted, with `~` for the usual suffix.
pub(super) fn render(message: &Message) -> String {
    let asked = message.queries[0].query_type();
    let section = |records: &[hickory_proto::rr::Record]| {
        let mut texts: Vec<String> = records
            .iter()
            .map(|record| {
                let text = record.data.to_string().replace(".svc.cluster.local.", "~");
                if record.record_type() == asked { text } else { format!("{} {text}", record.record_type()) }
            })
            .collect();
        texts.sort();
        texts.join("; ")
    };
    let code = match u16::from(message.metadata.response_code) {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        16 => "BADVERS",
        other => panic!("code {other}"),
    };
    let mut line = code.to_owned();
    if !message.answers.is_empty() {
        line += &format!(" {}", section(&message.answers));
    }
    for soa in &message.authorities {
        line += &format!(
            " / {}",
            if soa.name.to_string() == "cluster.local." { "SOA".into() } else { soa.name.to_string() }
        );
        assert_eq!((soa.ttl, soa.record_type().to_string().as_str()), (0, "SOA"));
        assert!(soa.data.to_string().ends_with(" 7200 1800 86400 0"), "{}", soa.data);
    }
    if !message.additionals.is_empty() {
        line += &format!(" + {}", section(&message.additionals));
    }
    line
}
