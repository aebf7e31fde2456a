//! Servers and clients of this crate, over real sockets.

mod access;
mod answers;
mod authority;
mod calls;
mod fixture;
mod operation;
mod shutdown;
mod tls;
