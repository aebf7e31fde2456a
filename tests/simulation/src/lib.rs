//! The whole system under simulated faults, from a seed.
//!
//! One process runs all services, unmodified, each as a host of a simulated network ([`network`], turmoil below it): the
//! real tonic and hyper over simulated connections, the real store on a simulated disk ([`store`]), time that is simulated
//! too ([`clock`]). A simulated machine ([`machine`]) runs the pods, whose runtime ([`runtime`]) speaks the real
//! `NodeService`; people ([`user`]) edit through the public API; a resolver ([`resolver`]) asks the real DNS server. The swarm
//! ([`swarm`]) injects faults for a while and stops; then the set must become as people want it, and go quiet ([`run`]).
//!
//! **Chance.** All of it comes from the seed: the product's identities through its seam, the network's delays from turmoil,
//! and what is below both, the order in which tokio wakes and hash maps iterate, by a seeded `getrandom` under the process
//! (mad-turmoil). Counters of a process are part of that, so every run is a process of its own ([`many`]).
//!
//! **What is not simulated, and why.** Volumes are real directories and the journal of names a real file, in memory where the
//! machine has such a file system: their code is about paths and descriptors, which a simulated disk would have to imitate
//! down to `openat2`. They see crashes of their process between any two messages, not a loss of power; their own tests
//! do. The process seam does blocking work at once, so a crash never falls into the midst of one.

pub mod campaign;
pub mod clock;
pub mod directory;
pub mod hosts;
pub mod lab;
pub mod machine;
pub mod many;
pub mod mutant;
pub mod network;
pub mod people;
pub mod place;
pub mod resolver;
pub mod run;
pub mod runtime;
pub mod scenario;
pub mod store;
pub mod swarm;
pub mod trace;
pub mod user;
