//! Answering over the network.

mod handler;
mod listeners;
mod tcp;
mod udp;

pub(crate) use handler::{Access, Handled, Handler};
pub(crate) use listeners::Endpoint;
pub use listeners::{Listeners, Sockets};
