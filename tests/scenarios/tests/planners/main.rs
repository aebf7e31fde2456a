//! The numbered scenarios as far as they concern the planners, in the notation of `scenarios::run`, and properties of
//! random worlds. S-79 alone has no test: it is about clusters of Kubernetes 1.36, which no profile follows.

mod budget;
mod counters;
mod creation;
mod history;
mod mends;
mod min_ready;
mod on_delete;
mod own;
mod partition;
mod properties;
mod reasons;
mod rollback;
mod rolling;
mod scaling;
mod start;
