//! Runs pods on this machine.
//!
//! It watches the coordinator's NodeService for the pods assigned here, makes them real through a [`backend`], and
//! reports how they are. The [`kubelet`] half decides: a pure function per pod, and a loop that carries out. A backend
//! knows how: processes in namespaces, plain processes.
//!
//! Others may rely on:
//! - Pods outlive this runtime. When it starts again it finds them, and reports the same restart counts, times and
//!   readiness as before.
//! - A pod's successor starts only when its predecessor is proven dead.
//! - A pod that the coordinator does not know is ended only on the word of the store that assigned it.
//! - Nothing that a manifest demands is dropped in silence: it is honoured, or told as not enforced, or refused.

pub mod backend;
mod config;
mod error;
mod forward;
pub mod helper;
pub mod kubelet;
mod name_servers;
pub mod sandbox;
mod server;
pub mod spec;
mod start;

pub use config::{Config, Tier};
pub use error::{Error, SERVICE};
pub use helper::helper_main;
pub use name_servers::NameServers;
pub use sandbox::PodNetwork;
pub use start::{start, start_with_backend};
