//! A pod as the planners see it, and the predicates about it (StatefulSet rules, section 6).

use std::time::Duration;

use crate::{Ordinal, RevisionName, Timestamp, Uid};

/// Summary of a pod's life so far. It says nothing about readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Phase {
    /// Accepted, not all containers have run yet.
    #[default]
    Pending,
    /// Every container has been started at least once, and one runs or will be restarted.
    Running,
    /// Every container ended with 0 and none will be restarted.
    Succeeded,
    /// Every container ended, one of them badly, and none will be restarted.
    Failed,
    /// Nobody can tell.
    Unknown,
}

impl Phase {
    /// Whether the pod will never run again.
    #[must_use]
    pub fn terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// One incarnation of one ordinal, as stored at the snapshot's revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Position in the set, read from the name.
    pub ordinal: Ordinal,
    /// Incarnation.
    pub uid: Uid,
    /// Version of the stored object, for conditional commits.
    pub version: u64,
    /// Phase as last reported.
    pub phase: Phase,
    /// Whether the condition Ready is True.
    pub ready: bool,
    /// When Ready last changed.
    pub ready_since: Option<Timestamp>,
    /// Whether deletion has been requested.
    pub terminating: bool,
    /// Label `controller-revision-hash`; none means "old".
    pub revision: Option<RevisionName>,
}

impl Pod {
    /// Ready for the set: Running and Ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready
    }

    /// Ready, and has been for `min_ready_seconds`.
    #[must_use]
    pub fn available(&self, min_ready_seconds: u32, now: Timestamp) -> bool {
        self.ready
            && (min_ready_seconds == 0 || self.available_at(min_ready_seconds).is_some_and(|moment| moment <= now))
    }

    /// The moment this pod becomes available if its readiness does not change before; none while it is not ready.
    #[must_use]
    pub fn available_at(&self, min_ready_seconds: u32) -> Option<Timestamp> {
        let since = self.ready_since.filter(|_| self.ready)?;
        Some(since.plus(Duration::from_secs(min_ready_seconds.into())))
    }

    /// Not available, or terminating: what an update budget counts.
    #[must_use]
    pub fn unavailable(&self, min_ready_seconds: u32, now: Timestamp) -> bool {
        self.terminating || !self.available(min_ready_seconds, now)
    }

    /// Healthy: ready, available and not terminating.
    #[must_use]
    pub fn healthy(&self, min_ready_seconds: u32, now: Timestamp) -> bool {
        self.is_ready() && !self.unavailable(min_ready_seconds, now)
    }

    /// Whether this pod's revision is `revision`. A pod without a revision label is at none.
    #[must_use]
    pub fn at(&self, revision: &RevisionName) -> bool {
        self.revision.as_ref() == Some(revision)
    }
}
