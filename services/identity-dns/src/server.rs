//! Answering over the network.

mod handler;
mod listeners;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub(crate) use handler::{Access, Handler};
pub use listeners::{Listeners, Sockets};
