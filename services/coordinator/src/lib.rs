//! The coordinator: the only writer of desired and observed state.

pub mod store;
