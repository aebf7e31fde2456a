//! The coordinator, the planning services and identity-dns as they really are, and a machine that does what a test says.

mod api_rules;
mod deadlines;
mod deletion;
mod dns;
mod evictions;
mod faults;
mod fences;
mod levels;
mod machine;
mod names;
mod network;
mod order;
mod ownership;
mod plane;
mod progress;
mod quiet;
mod records;
mod refusals;
mod retention;
mod robustness;
mod rollouts;
mod templates;
mod watches;

pub(crate) use machine::Machine;
pub(crate) use plane::{Plane, reason, set, with_claims};
