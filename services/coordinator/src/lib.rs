//! The coordinator: the only writer of desired and observed state.
//!
//! **In:** manifests and requests from people (the public API), reports from machines (`NodeService`), plans from the
//! planning services. **Out:** assignments to machines, names to identity-dns, one decision record per pass.
//!
//! Invariants:
//! - Nothing else writes the state store, and nothing here writes it except through conditional commits of the
//!   [`world`]; each rests on the versions it was decided from.
//! - Controllers are level-triggered: after a crash at any point the next pass converges, from what is stored alone.
//! - Nothing is deleted without positive, current, uid-matched evidence.
//!
//! It relies on the planners being pure, on machines to report `stopped` only with proof, and guarantees them
//! consistent snapshots and assignments.

mod api;
mod apply;
pub mod check;
mod collect;
mod config;
mod driver;
mod error;
mod events;
mod machines;
mod names;
mod objects;
mod pods;
mod rollouts;
mod sets;
mod start;
pub mod store;
mod volumes;
pub mod world;

pub use config::{CLUSTER_DOMAIN_DEFAULT, Config, Patience};
pub use start::{STORE_FILE, start, start_on};
