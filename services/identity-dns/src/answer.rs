//! What a question is answered with (DNS rules, sections 2.5 and 3). Pure: no transport, no size limits.

use crate::snapshot::{Frame, Snapshot};
use crate::wire::{Name, Rcode, RrSet, rtype};
use crate::zone::{PodRecords, undashed};

/// Longest chain of CNAMEs that is followed.
const CHAIN_MAX: usize = 10;

/// One part of an answer section. The first is owned by the name asked for, each further one by the target of the
/// CNAME before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Item<'a> {
    /// Records of the zone.
    Set(&'a RrSet),
    /// Records made for this question.
    Made(RrSet),
    /// The SOA of this zone.
    Soa(&'a Name),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<'a> {
    /// Outcome, of the last name of a chain.
    pub rcode: Rcode,
    /// Whether it is ours to say.
    pub authoritative: bool,
    /// Answer section.
    pub answers: Vec<Item<'a>>,
    /// The zone whose SOA is the authority section.
    pub authority: Option<&'a Name>,
    /// Additional section: sets owned by the name in the data of that record of the first answer.
    pub additional: Vec<(usize, &'a RrSet)>,
    /// A name outside that a chain leads to, on the wire.
    pub outside: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    /// A code and nothing else.
    #[must_use]
    pub fn code(rcode: Rcode, authoritative: bool) -> Self {
        let (answers, additional) = (Vec::new(), Vec::new());
        Self { rcode, authoritative, answers, authority: None, additional, outside: None }
    }

    fn negative(rcode: Rcode, apex: &'a Name) -> Self {
        Self { authority: Some(apex), ..Self::code(rcode, true) }
    }
}

/// Answers a question about `name`, in lower case on the wire, that lies in the zone `apex` of this snapshot.
#[must_use]
pub fn answer<'a>(snapshot: &'a Snapshot, apex: &'a Name, name: &[u8], asked: u16) -> Answer<'a> {
    if !snapshot.loaded {
        // Nothing may be denied, and nothing shown, of what is not known yet.
        return Answer::code(Rcode::ServFail, false);
    }
    let Some(sets) = snapshot.tree.get(name) else {
        return pod_address(snapshot, apex, name, asked).unwrap_or_else(|| Answer::negative(Rcode::NxDomain, apex));
    };
    if asked == rtype::SOA && name == apex.wire() {
        return Answer { answers: vec![Item::Soa(apex)], ..Answer::code(Rcode::NoError, true) };
    }
    if let Some(set) = sets.iter().find(|set| asked == rtype::ANY || set.rtype() == asked) {
        let additional = additional(snapshot, set);
        return Answer { answers: vec![Item::Set(set)], additional, ..Answer::code(Rcode::NoError, true) };
    }
    match sets.iter().find(|set| set.rtype() == rtype::CNAME) {
        Some(cname) => follow(snapshot, cname, asked),
        None => Answer::negative(Rcode::NoError, apex),
    }
}

/// Goes from CNAME to CNAME; code and SOA are those of the last name (RFC 6604).
fn follow<'a>(snapshot: &'a Snapshot, first: &'a RrSet, asked: u16) -> Answer<'a> {
    let mut answer = Answer::code(Rcode::NoError, true);
    let mut cname = first;
    while answer.answers.len() < CHAIN_MAX {
        if answer.answers.contains(&Item::Set(cname)) {
            return answer;
        }
        answer.answers.push(Item::Set(cname));
        let Some(target) = cname.target() else { return answer };
        let Some(apex) = snapshot.frame.zone_of(target) else {
            answer.outside = Some(target);
            return answer;
        };
        let Some(sets) = snapshot.tree.get(target) else {
            return Answer { rcode: Rcode::NxDomain, authority: Some(apex), ..answer };
        };
        if let Some(set) = sets.iter().find(|set| set.rtype() == asked) {
            answer.answers.push(Item::Set(set));
            return answer;
        }
        match sets.iter().find(|set| set.rtype() == rtype::CNAME) {
            Some(next) => cname = next,
            None => return Answer { authority: Some(apex), ..answer },
        }
    }
    answer
}

/// Addresses of the names that SRV and NS records lead to, once per name.
fn additional<'a>(snapshot: &'a Snapshot, set: &'a RrSet) -> Vec<(usize, &'a RrSet)> {
    if !matches!(set.rtype(), rtype::SRV | rtype::NS) {
        return Vec::new();
    }
    let mut sets = Vec::new();
    let mut last: &[u8] = &[];
    for (place, record) in set.records().enumerate() {
        let Some(target) = record.target_offset().and_then(|offset| record.bytes().get(offset..)) else { continue };
        // Records that lead to the same name follow one another.
        if target != last {
            last = target;
            let found = snapshot.tree.get(target).unwrap_or_default();
            let addresses = found.iter().filter(|set| matches!(set.rtype(), rtype::A | rtype::AAAA));
            sets.extend(addresses.map(|set| (place, set)));
        }
        if sets.len() >= ADDITIONAL_MAX {
            break;
        }
    }
    sets
}

/// Sets in an additional section. More than these do not fit beside the SRV records that lead to them.
const ADDITIONAL_MAX: usize = 1024;

/// Pod addresses that are spelled in another way than the stored one, or that need not exist.
fn pod_address<'a>(snapshot: &'a Snapshot, apex: &'a Name, name: &[u8], asked: u16) -> Option<Answer<'a>> {
    let frame: &Frame = &snapshot.frame;
    if frame.pod_records == PodRecords::Disabled || !crate::wire::within(name, frame.pods.wire()) {
        return None;
    }
    let label_length = usize::from(*name.first()?);
    let (label, namespace) = (name.get(1..=label_length)?, name.get(1 + label_length..)?);
    let below_pods = namespace.get(1 + usize::from(*namespace.first()?)..)?;
    if below_pods != frame.pods.wire() || snapshot.tree.get(namespace).is_none() {
        return None;
    }
    let address = undashed(std::str::from_utf8(label).ok()?)?;
    if frame.pod_records == PodRecords::Verified {
        let canonical = Name::from_wire(namespace)?.child(&crate::zone::dashed(address))?;
        snapshot.tree.get(canonical.wire())?;
    }
    let set = RrSet::addresses(frame.ttl, [address]).find(|set| asked == rtype::ANY || set.rtype() == asked);
    Some(match set {
        Some(set) => Answer { answers: vec![Item::Made(set)], ..Answer::code(Rcode::NoError, true) },
        None => Answer::negative(Rcode::NoError, apex),
    })
}
