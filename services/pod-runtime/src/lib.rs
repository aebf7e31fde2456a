//! Runs pods on this machine.

pub mod backend;
