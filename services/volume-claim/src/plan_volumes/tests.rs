//! One scenario per case, named after it.

mod binding;
mod lifecycle;
mod provisioning;
pub(super) mod world;
