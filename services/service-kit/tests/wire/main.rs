//! Servers and clients of this crate, over real sockets.

mod access;
mod calls;
mod fixture;
mod shutdown;
