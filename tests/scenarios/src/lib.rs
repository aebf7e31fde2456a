//! A world of one set, in memory, moved by both planners.
//!
//! It holds what the coordinator would store: pods, revisions, status. A *pass* asks the update planner, then the ordinal
//! scheduler, and applies both plans, as the coordinator does; *events* change the pods between passes, as machines and
//! people do. Claims, names and failing calls are not part of it. After every pass the invariants of a set are checked,
//! and that planners which are told of steady pods in runs say the same.

mod invariants;
mod script;
mod told;
mod world;

pub use script::{BOTH, KUBERNETES, SETKEEPER, play, run};
pub use world::{Pass, World};
