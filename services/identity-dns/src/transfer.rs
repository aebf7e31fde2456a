//! Zone transfers (DNS rules, section 5): everything there is, from one snapshot.

use crate::reply::{UDP_PAYLOAD_BYTES_MAX, soa_fields};
use crate::snapshot::Snapshot;
use crate::wire::{HEADER_BYTES, Name, Query, rtype};

/// A message of a transfer is closed once it has this many bytes; with one record more it is far below the limit.
const MESSAGE_BYTES: usize = 32 * 1024;

/// Whether an IXFR client already has what is served, or something newer (RFC 1982).
#[must_use]
pub(crate) fn up_to_date(snapshot: &Snapshot, client: Option<u32>) -> bool {
    client.is_some_and(|client| client.wrapping_sub(snapshot.serial) < 1 << 31)
}

/// The messages of a whole transfer: they begin and end with the same SOA.
#[must_use]
pub(crate) fn messages(query: &Query<'_>, snapshot: &Snapshot, apex: &Name) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = snapshot.tree.iter().filter(|(name, _)| name.within(apex)).collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    let soa = soa_fields(snapshot, snapshot.frame.forward.wire());
    let mut writer = Writer { query, messages: Vec::new(), message: Vec::new(), records: 0 };
    writer.record(apex, &soa);
    for (name, sets) in names {
        for record in sets.iter().flat_map(|set| set.records()) {
            writer.record(name, record.without_owner());
        }
    }
    writer.record(apex, &soa);
    writer.close();
    writer.messages
}

struct Writer<'a> {
    query: &'a Query<'a>,
    messages: Vec<Vec<u8>>,
    message: Vec<u8>,
    records: u16,
}

impl Writer<'_> {
    fn record(&mut self, owner: &Name, fields: &[u8]) {
        if self.message.is_empty() {
            self.open();
        }
        self.message.extend_from_slice(owner.wire());
        self.message.extend_from_slice(fields);
        self.records += 1;
        if self.message.len() >= MESSAGE_BYTES {
            self.close();
        }
    }

    fn open(&mut self) {
        const QR_AA: u8 = 0x84;
        self.message.extend_from_slice(&self.query.id.to_be_bytes());
        self.message.push(QR_AA | u8::from(self.query.recursion_desired));
        self.message.resize(HEADER_BYTES, 0);
        self.message.extend_from_slice(self.query.question);
    }

    fn close(&mut self) {
        if self.records == 0 {
            return;
        }
        self.message[5] = 1;
        self.message[6..8].copy_from_slice(&self.records.to_be_bytes());
        if let Some(edns) = self.query.edns {
            let [high, low] = UDP_PAYLOAD_BYTES_MAX.to_be_bytes();
            let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
            self.message.extend_from_slice(&[0, 0, rtype::OPT as u8, high, low, 0, 0, dnssec_ok, 0, 0, 0]);
            self.message[11] = 1;
        }
        self.records = 0;
        self.messages.push(std::mem::take(&mut self.message));
    }
}
