//! Proof by trying everything.
//!
//! Two ways to look for a wrong decision, with the real planners of the product:
//!
//! - [`exhaustive`] visits **every** state that a set of three ordinals can get into when people edit it, pods break,
//!   claims are deleted, pods of others take its names, plans are lost and coordinators lag, and heals the set from each of
//!   them;
//! - [`matrix`] lets anything happen to every kind of set ([`cluster`]) while the n-th call fails.
//!
//! [`mutant`] shows that this finds something: historical bugs of systems like this one can be put in, and [`caught`]
//! says by what each is found.
//!
//! The rules are in [`checks`]: one function each, with its number (S1 to S22, L2, L3) in its name.
//!
//! The tests visit fourteen million states. A longer run, with four ordinals:
//!
//! ```text
//! cargo run --release -p model -- --ordinals 4
//! ```
//!
//! That is three million states; each further edit or fault multiplies them by twenty or so, and they are kept in
//! memory: some hundred bytes each. Which kind of set, and what happens to it, options say: `--on-delete`, `--claims`,
//! `--strangers` and others.

use std::io::Write as _;

pub mod caught;
pub mod checks;
pub mod cluster;
pub mod exhaustive;
pub mod matrix;
pub mod mutant;
pub mod planners;
pub mod random;

pub use mutant::Mutant;

/// Prints a line that is seen in any case: what `print!` says, the test runner shows of failing tests only.
pub fn say(text: impl std::fmt::Display) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
