//! What every Setkeeper server and client shares.
//!
//! A service hands its generated servers to [`Server`] and gets, without writing any of it: a TCP listener and a Unix
//! socket, health, reflection, authentication, limits, deadlines, trace context, a guard against panics, and a graceful
//! end. A client calls [`connect`] and gets a channel that reconnects, has deadlines, carries the token and the trace.
//!
//! What others may rely on:
//! - A call that runs out of time ends with `DEADLINE_EXCEEDED`, on both sides, and streams are never cut by a deadline
//!   nobody asked for ([`client`], [`server`]).
//! - [`BoundServer::serve`] returns in bounded time once [`Context::shutdown`] is cancelled.
//! - The work of [`effects::Effects::run`] goes on when its caller is gone, and is done once per operation id.
//! - [`clock`] is the only place that asks what time it is. With [`network`], [`random`], [`process`] and the disk of the
//!   coordinator's store it is what a simulation takes the place of.

pub mod access;
pub mod client;
pub mod clock;
mod context;
mod deadline;
pub mod effects;
mod error;
mod in_process;
pub mod limits;
mod methods;
pub mod metrics;
pub mod network;
pub mod process;
pub mod random;
mod reloaded;
pub mod role;
pub mod server;
pub mod signals;
pub mod status;
mod target;
pub mod telemetry;
pub mod tls;
pub mod token;

pub use client::{Channel, Retry, connect, health, readiness};
pub use context::{Context, Running};
pub use error::Error;
pub use in_process::InProcess;
pub use role::Role;
pub use server::{BoundServer, HealthHandle, Server, ServerConfig};
pub use target::{InvalidTarget, Target};
pub use tls::{Identity, TlsError, TlsFiles};
pub use token::{Token, TokenError};
pub use tokio_util::sync::CancellationToken;
