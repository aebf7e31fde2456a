//! A set of few ordinals, driven into every state it can get into.
//!
//! - [`world`]: what is stored, small enough to be compared and kept by the million;
//! - [`claims`]: the part of it that holds the data;
//! - [`strangers`]: a pod in it that is not the set's; [`peers`]: programs that need each other; [`machines`]: some of which
//!   fall silent;
//! - [`desk`]: what the real planners are asked about such a world, and answer;
//! - [`decision`]: their answer as a list of writes; [`plans`]: each decided once;
//! - [`commit`]: the executor: which writes a store with conditional commits takes;
//! - [`steps`]: everything that can happen: work, edits and faults; and `next`: what of it can happen now;
//! - [`hash`]: how it is told quickly whether a state is known;
//! - [`search`]: breadth first over all of it, so that the first violation has the shortest history;
//! - [`heal`]: from every world that was found, faults off, the set comes to its spec and then rests ([`rest`]), with no
//!   more help from [`people`] than the rules promise is enough.

pub mod claims;
pub mod commit;
pub mod decision;
pub mod desk;
pub mod hash;
pub mod heal;
pub mod machines;
mod next;
pub mod peers;
pub mod people;
pub mod plans;
pub mod rest;
pub mod search;
pub mod steps;
pub mod strangers;
pub mod world;

use domain::{PodManagementPolicy, RetentionPolicy, RetentionRule, Switches};

use crate::Mutant;
use peers::Peers;
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
    /// Whether it has a claim template, and what becomes of the claims.
    pub claims: Option<RetentionPolicy>,
    /// Whether pods turn up that are not the set's.
    pub strangers: bool,
    /// Whether machines fall silent.
    pub machines: bool,
    /// Whether its programs need each other.
    pub peers: Peers,
    /// How often people change the template, the number of replicas or the strategy.
    pub edits: u8,
    /// What of it they change.
    pub edited: Edited,
    /// How often something breaks, is lost, or is done by a coordinator that lags.
    pub faults: u8,
    /// A bug to put in.
    pub mutant: Option<Mutant>,
}

/// What people change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// Template, replicas and strategy; and what becomes of claims, where there are any.
    Everything,
    /// Replicas, and what becomes of claims.
    Scale,
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
            claims: None,
            strangers: false,
            machines: false,
            peers: Peers::Independent,
            edits: 2,
            edited: Edited::Everything,
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

    /// The same, with claims that go after a scale-down; people only scale it and change what becomes of claims.
    #[must_use]
    pub fn with_claims(self, when_deleted: RetentionRule) -> Self {
        let retention = RetentionPolicy { when_deleted, when_scaled: RetentionRule::Delete };
        Self { claims: Some(retention), edited: Edited::Scale, ..self }
    }

    /// The same, among pods that are not its own.
    #[must_use]
    pub fn with_strangers(self) -> Self {
        Self { strangers: true, ..self }
    }

    /// The same, on machines that fall silent.
    #[must_use]
    pub fn with_machines(self) -> Self {
        Self { machines: true, ..self }
    }

    /// The same, with programs that need each other.
    #[must_use]
    pub fn with_peers(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }

    /// With this bug.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }
}
