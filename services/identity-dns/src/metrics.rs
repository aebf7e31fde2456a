//! What the name server is measured by.

use std::sync::Arc;

use service_kit::metrics::{Counter, Histogram, Page, Registry, Scale};
use tokio::time::Instant;

use crate::publisher::Publisher;
use crate::reply::Transport;
use crate::server::Handled;
use crate::wire::rtype;

/// Types that are told apart; all others are one. A closed set, whatever is asked.
const TYPES: [(u16, &str); 9] = [
    (rtype::A, "A"),
    (rtype::AAAA, "AAAA"),
    (rtype::SRV, "SRV"),
    (rtype::PTR, "PTR"),
    (rtype::CNAME, "CNAME"),
    (rtype::NS, "NS"),
    (rtype::SOA, "SOA"),
    (rtype::TXT, "TXT"),
    (rtype::AXFR, "AXFR"),
];

/// What a query may become.
const RESULTS: [&str; 9] =
    ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other", "dropped", "outward"];
const OTHER: usize = 6;
const DROPPED: usize = 7;
const OUTWARD: usize = 8;

/// The queries of this server.
#[derive(Debug)]
pub(crate) struct Queries {
    /// By type, the last for all others, and result.
    counts: [[Counter; RESULTS.len()]; TYPES.len() + 1],
    transports: [Counter; 2],
    duration: Histogram,
}

impl Queries {
    /// None yet; from now on in the registry, with the zone that is served.
    pub(crate) fn register(publisher: Arc<Publisher>, registry: &Registry) -> Arc<Self> {
        let queries = Arc::new(Self::default());
        let read = queries.clone();
        registry.add(move |page| {
            read.write(page);
            let snapshot = publisher.snapshot();
            let serial = "setkeeper_identity_dns_zone_serial";
            page.gauge(serial, "Serial of the zone that is served.", &[], f64::from(snapshot.serial));
            let loaded = "setkeeper_identity_dns_zone_loaded";
            page.gauge(loaded, "Whether there is a zone to serve: 1 or 0.", &[], f64::from(u8::from(snapshot.loaded)));
        });
        queries
    }

    /// A message of this type of question was handled.
    pub(crate) fn count(&self, rtype: Option<u16>, transport: Transport, began: Instant, handled: &Handled) {
        let place = TYPES.iter().position(|(known, _)| Some(*known) == rtype).unwrap_or(TYPES.len());
        let code = |reply: &[u8]| reply.get(3).map_or(OTHER, |flags| usize::from(flags & 0x0f).min(OTHER));
        let result = match handled {
            Handled::Drop => DROPPED,
            Handled::Reply(reply) => code(reply),
            Handled::Stream(messages) => messages.first().map_or(OTHER, |first| code(first)),
            Handled::Outward(_) => OUTWARD,
        };
        self.counts[place][result].increment();
        self.transports[usize::from(transport == Transport::Tcp)].increment();
        self.duration.observe(began.elapsed());
    }

    fn write(&self, page: &mut Page) {
        let names = TYPES.iter().map(|(_, name)| *name).chain(["other"]);
        for (name, counts) in names.zip(&self.counts) {
            for (result, count) in RESULTS.iter().zip(counts).filter(|(_, count)| count.value() > 0) {
                let help =
                    "Messages, by type of the question and result: a response code, or asked of another resolver.";
                let labels = [("type", name), ("rcode", *result)];
                page.counter("setkeeper_identity_dns_queries_total", help, &labels, count.value());
            }
        }
        for (transport, count) in ["udp", "tcp"].iter().zip(&self.transports) {
            let name = "setkeeper_identity_dns_messages_total";
            page.counter(name, "Messages, by transport.", &[("transport", transport)], count.value());
        }
        let duration = "setkeeper_identity_dns_query_duration_seconds";
        page.histogram(
            duration,
            "Time to answer from the zone, or to see that another resolver must be asked.",
            &[],
            &self.duration,
        );
    }
}

impl Default for Queries {
    fn default() -> Self {
        Self {
            counts: Default::default(),
            transports: Default::default(),
            duration: Histogram::new(Scale::SHORT_SECONDS),
        }
    }
}
