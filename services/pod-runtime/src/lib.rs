//! Runs pods on this machine.

pub mod backend;
pub mod helper;
pub mod sandbox;
