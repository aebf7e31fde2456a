//! Bugs that can be put in, to show that the model finds them.

use domain::Switches;

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The executor deletes pods by name, whichever incarnation that is, as Kubernetes does.
    DeleteByName,
    /// The executor checks uids, and nothing else that a plan rests on.
    UnguardedWrites,
    /// The executor commits a plan although the set has changed since.
    StaleSpec,
    /// A pod that is not ready is waited for, although its template has been corrected (kubernetes/kubernetes 67250).
    NeverHeals,
}

impl Mutant {
    /// The switches with this bug.
    #[must_use]
    pub fn switches(self, switches: Switches) -> Switches {
        match self {
            Self::NeverHeals => Switches { heal_broken_pods: false, ..switches },
            Self::DeleteByName | Self::UnguardedWrites | Self::StaleSpec => switches,
        }
    }
}
