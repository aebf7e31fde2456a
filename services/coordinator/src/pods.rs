//! Pods: how they are made, placed, watched by their machine, reported on, and removed.

pub(crate) mod assignments;
pub(crate) mod build;
pub(crate) mod lifecycle;
pub(crate) mod node_service;
pub(crate) mod placement;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod trouble;
