//! Answering over the network.

mod handler;
mod listeners;
mod tcp;
mod udp;

#[cfg(test)]
pub(crate) use handler::Handled;
pub(crate) use handler::{Access, Handler};
pub(crate) use listeners::Endpoint;
pub use listeners::{Listeners, Sockets};
