//! Claims, volumes and storage classes as the volume planner sees them.
