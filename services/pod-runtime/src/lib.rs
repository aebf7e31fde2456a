//! Runs pods on this machine.

pub mod backend;
pub mod kubelet;
pub mod spec;
