//! The wire.
//!
//! This is the only crate that compiles `proto/`. It holds the generated messages, clients and servers ([`proto`]), the
//! conversions between them and the domain ([`convert`]), objects in their Kubernetes JSON form ([`object`]), the reading of
//! manifests ([`manifest`]), and how far a rollout is, in words ([`rollout`]). Generated types stop at a service's
//! `server.rs`; inside, everything speaks the domain.

pub mod convert;
pub mod manifest;
pub mod object;
pub mod proto;
pub mod question;
pub mod rollout;
