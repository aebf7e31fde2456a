//! Servers and clients of this crate, over real sockets and within one process.

mod access;
mod answers;
mod authority;
mod calls;
mod fixture;
mod inside;
mod operation;
mod shutdown;
mod tls;
