//! Claims and volumes.
//!
//! **In:** from the coordinator, snapshots of claims, volumes, classes and their users. **Out:** what to do about them,
//! as typed actions with reasons ([`plan_set`](plan_set::plan_set), [`plan_volumes`](plan_volumes::plan_volumes): pure),
//! and two effects on this machine: making and removing the directory of a volume ([`directories`]).
//!
//! Invariants:
//! - A volume is given to one claim, ever, until an administrator takes it back.
//! - Nothing is deleted on an assumption: a directory goes only for a volume that says so itself, whose claim is gone,
//!   and whose marker names that claim. A directory that somebody made by hand is never touched.
//! - No text of a user becomes part of a path. A directory is called by the name that was generated for its volume.
//!
//! It relies on the coordinator for complete snapshots (what is left out counts as gone) and for committing each action
//! only if the versions it names are still the stored ones.
//!
//! # The default class
//! The coordinator creates it at its first start: `standard`, which makes directories here. It waits for
//! the first pod that uses a claim: a claim that nobody uses makes no directory, and a volume that an administrator
//! adds in the meantime is used. A set's claims and pods are made together, so nothing gets slower by it.
//!
//! # One deviation: classless volumes win over the default class
//! A claim that names no class takes a fitting volume without a class, if one is free; only else the default class is
//! written into it. In Kubernetes it depends on which came first, the claim or the default class (scenario V-10): so
//! manifests that bring their own hostPath volumes work on some clusters and not on others. Here they always work. The
//! switch is [`domain::volume::VolumeSwitches::classless_before_default`].

mod config;
pub mod directories;
mod error;
pub mod plan_set;
pub mod plan_volumes;
mod server;

pub use config::Config;
pub use server::start;

/// Name of the service, in spans and in the details of its errors.
pub const NAME: &str = "volume-claim";
