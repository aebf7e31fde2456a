//! Proof by trying everything.
//!
//! [`exhaustive`] visits **every** state that a set of three ordinals can get into when people edit it, pods break, plans
//! are lost and coordinators lag, and heals the set from each of them, with the real planners of the product. [`mutant`]
//! puts bugs in, to show that they are found.
//!
//! The rules are in [`checks`]: one function each, with its number (S1 to S22, L2, L3) in its name.
//!
//! The tests visit more than a million states. A longer run, with four ordinals:
//!
//! ```text
//! cargo run --release -p model -- --ordinals 4
//! ```

pub mod checks;
pub mod exhaustive;
pub mod mutant;
pub mod planners;

pub use mutant::Mutant;
