//! The counters and revisions of a set's status.

use crate::RevisionName;

/// `status` of a set, without conditions (StatefulSet rules, section 10).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetStatus {
    /// Generation that this status describes.
    pub observed_generation: i64,
    /// Pods that exist, terminating ones included.
    pub replicas: u32,
    /// Pods that are Running and Ready.
    pub ready_replicas: u32,
    /// Ready pods that have been so for `minReadySeconds`.
    pub available_replicas: u32,
    /// Pods at the current revision that are not terminating.
    pub current_replicas: u32,
    /// Pods at the update revision that are not terminating.
    pub updated_replicas: u32,
    /// Where an update comes from; empty before the first pass.
    pub current_revision: RevisionName,
    /// Where an update goes.
    pub update_revision: RevisionName,
    /// How often two templates met in one hash.
    pub collision_count: u32,
}
