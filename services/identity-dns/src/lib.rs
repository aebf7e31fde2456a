//! Names, hostnames, labels, and the authoritative DNS server.
//!
//! **In:** facts about namespaces, Services, pods and hand-written endpoints, published by the coordinator. **Out:** the
//! identity of each ordinal; DNS answers over UDP and TCP.
//!
//! Invariants:
//! - A publication is acknowledged only when every later question, on every socket, is answered from it. There is no
//!   cache between the two (DNS rules N1, N6).
//! - Every answer is made from exactly one immutable snapshot.
//! - The serial rises with every visible change, and never falls, restarts included.
//! - Before facts are known nothing is denied: SERVFAIL (N7). Facts are kept on disk, so that names answer after a
//!   restart without the coordinator.
//! - Health tells apart whether calls are taken and whether there are names to answer with ([`DNS_HEALTH`]): whoever sends
//!   queries to several replicas by the latter sends none to one that was told nothing yet, while the coordinator reaches
//!   it by the former.
//! - What arrives from the network never panics, and never costs more than its bounds.
//!
//! The pure core is [`assign`], [`zone`] and [`answer`]; the shell around it is small.

pub mod answer;
pub mod assign;
pub mod config;
mod error;
mod forward;
mod grpc;
mod journal;
mod metrics;
mod publisher;
pub mod reply;
mod server;
pub mod snapshot;
mod start;
mod transfer;
pub mod tree;
pub mod wire;
pub mod zone;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use error::StartError;
pub use server::{Listeners, Sockets};
pub use start::{Started, start};

/// Name of the service, in spans and in the details of its errors.
pub const NAME: &str = "identity-dns";

/// What readiness of the DNS port is asked by: SERVING as soon as there are names to answer with, until a drain begins.
pub const DNS_HEALTH: &str = "setkeeper.dns";
