//! A set of few ordinals, driven into every state it can get into.
//!
//! - [`world`]: what is stored, small enough to be compared and kept by the million;
//! - [`decision`]: what the real planners answer in such a world, as a list of writes;
//! - [`commit`]: the executor: which writes a store with conditional commits takes;
//! - [`steps`]: everything that can happen next: work, edits and faults;
//! - [`search`]: breadth first over all of it, so that the first violation has the shortest history;
//! - [`heal`]: from every world that was found, faults off, the set comes to its spec and then rests ([`rest`]), with no
//!   more help from [`people`] than the rules promise is enough.

pub mod commit;
pub mod decision;
pub mod heal;
pub mod people;
pub mod rest;
pub mod search;
pub mod steps;
pub mod world;

use domain::{PodManagementPolicy, Switches};

use crate::Mutant;
use world::Strategy;

/// One kind of set, and how much may happen to it.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many ordinals it may have, at most [`world::ORDINALS_MAX`].
    pub ordinals: u8,
    /// Order of creation and deletion.
    pub policy: PodManagementPolicy,
    /// How its first template change would reach the pods; people change that too.
    pub strategy: Strategy,
    /// Update budget.
    pub max_unavailable: u8,
    /// Whether a ready pod must stay so for a while to be available.
    pub soak: bool,
    /// Which mends of Kubernetes' behaviour apply.
    pub switches: Switches,
    /// How often people change the template, the number of replicas or the strategy.
    pub edits: u8,
    /// How often something breaks, is lost, or is done by a coordinator that lags.
    pub faults: u8,
    /// A bug to put in.
    pub mutant: Option<Mutant>,
}

impl Config {
    /// Three ordinals in order with every mend, one pod down at a time.
    #[must_use]
    pub fn ordered() -> Self {
        Self {
            ordinals: 3,
            policy: PodManagementPolicy::OrderedReady,
            strategy: Strategy::ROLLING,
            max_unavailable: 1,
            soak: false,
            switches: Switches::SETKEEPER,
            edits: 2,
            faults: 2,
            mutant: None,
        }
    }

    /// The same, all at once.
    #[must_use]
    pub fn parallel() -> Self {
        Self { policy: PodManagementPolicy::Parallel, ..Self::ordered() }
    }

    /// The same, updated only when somebody deletes its pods.
    #[must_use]
    pub fn on_delete(self) -> Self {
        Self { strategy: Strategy::OnDelete, ..self }
    }

    /// With this bug.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }
}
