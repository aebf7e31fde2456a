//! Since when an ordinal has not been available, where its pods alone do not tell.

use crate::{Ordinal, Timestamp};

/// Outages that are remembered, in the status of the set. Where more are out at once it is no matter of single pods; the
/// others are judged by the pods that they have.
pub const OUTAGES_MAX: usize = 1_000;

/// An ordinal that is not available for longer than its pod can tell: because it has none and nobody may make one, or
/// because this one is not the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outage {
    /// Which ordinal.
    pub ordinal: Ordinal,
    /// Since when it has not been available.
    pub since: Timestamp,
}
