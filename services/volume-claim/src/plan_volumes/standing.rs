//! Whose a volume is, read from both sides (volume rules 3.5).

use std::collections::BTreeMap;

use domain::volume::{Claim, Volume};

use super::ClaimKey;

/// Whose a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody's.
    Free,
    /// Reserved by name, by an administrator, or after a claim was taken back.
    Reserved,
    /// It names a claim that does not name it back yet: a crash left the bond half made.
    HalfBound,
    /// Both name each other.
    Bound,
    /// Its claim is gone, or is another incarnation.
    Released,
    /// Its claim is bound to another volume.
    Lost,
}

impl Standing {
    pub(super) fn of(volume: &Volume, claims: &BTreeMap<ClaimKey<'_>, &Claim>) -> Self {
        let Some(claim_ref) = &volume.claim_ref else { return Self::Free };
        let claim = claims.get(&(claim_ref.namespace.as_str(), claim_ref.name.as_str()));
        let names_back = |claim: &Claim| claim.volume_name == volume.name;
        if claim_ref.uid.0.is_empty() {
            return match claim {
                Some(claim) if claim.bind_completed && names_back(claim) => Self::Bound,
                _ => Self::Reserved,
            };
        }
        match claim.filter(|claim| claim.uid == claim_ref.uid) {
            None => Self::Released,
            Some(claim) if names_back(claim) => Self::Bound,
            // A bound claim that has lost its pointer is not free to take another volume, nor is this one.
            Some(claim) if claim.volume_name.is_empty() && claim.bind_completed => Self::Bound,
            Some(claim) if claim.volume_name.is_empty() => Self::HalfBound,
            Some(_) => Self::Lost,
        }
    }
}
