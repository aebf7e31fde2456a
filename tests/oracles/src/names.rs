//! S23: what DNS says.

use std::collections::BTreeMap;

use crate::{Violation, hold};

/// An answer about one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Namespace and name of the pod.
    pub identity: String,
    /// Its addresses; empty where there is no such name.
    pub addresses: Vec<String>,
    /// Whether the name is said not to exist at all.
    pub no_such_name: bool,
    /// Serial number of the zone.
    pub serial: Option<u32>,
}

/// S23: an address is that of an incarnation of the very pod that was asked about, which has been ready, and no serial number
/// falls while the server lives. `addresses` says whose each address is; `ready` which have been ready.
///
/// # Errors
/// Where an address is another's, or the serial falls.
pub fn s23_dns_truth(
    answer: &Answer,
    addresses: &BTreeMap<String, (String, bool)>,
    last_serial: Option<u32>,
) -> Result<(), Violation> {
    for address in &answer.addresses {
        let owner = addresses.get(address);
        let right = owner.is_some_and(|(identity, ready)| *identity == answer.identity && *ready);
        hold("S23", right, || format!("{} has address {address}, which is that of {owner:?}", answer.identity))?;
    }
    hold("S23", answer.addresses.len() <= 1, || {
        format!("{} has several addresses: {:?}", answer.identity, answer.addresses)
    })?;
    hold("S23", !answer.no_such_name || answer.addresses.is_empty(), || {
        "a name that is not there has addresses".into()
    })?;
    let falls =
        matches!((answer.serial, last_serial), (Some(now), Some(before)) if now.wrapping_sub(before) > u32::MAX / 2);
    hold("S23", !falls, || format!("serial {:?} follows {last_serial:?}", answer.serial))
}
