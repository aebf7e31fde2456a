//! A pod as the planners see it, and the predicates about it (StatefulSet rules, section 6).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// What keeps a pod from becoming available, as a class; the pod's own status has the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// No machine takes it.
    Placement,
    /// A volume is not bound or cannot be mounted.
    Volume,
    /// An image is not to be had.
    Image,
    /// A container cannot be set up as its spec says, such as for a ConfigMap that does not exist.
    Configuration,
    /// A lifecycle hook fails.
    Hook,
    /// A container ends again and again.
    CrashLoop,
    /// It runs, and a probe says that it is not ready.
    Readiness,
    /// It would be ready, and its names cannot be served.
    Dns,
    /// It has been asked to stop and does not.
    Termination,
    /// Another pod has its name.
    Name,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Placement => "no machine takes it",
            Self::Volume => "a volume is missing",
            Self::Image => "an image is missing",
            Self::Configuration => "a container cannot be set up",
            Self::Hook => "a lifecycle hook fails",
            Self::CrashLoop => "a container ends again and again",
            Self::Readiness => "it runs and is not ready",
            Self::Dns => "its names cannot be served",
            Self::Termination => "it does not stop",
            Self::Name => "another pod has its name",
        })
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
    /// When its grace period ends; none unless it is terminating.
    pub stops_by: Option<Timestamp>,
    /// Label `controller-revision-hash`; none means "old".
    pub revision: Option<RevisionName>,
    /// When the object was made.
    pub created_at: Timestamp,
    /// What keeps it from becoming available, as far as its machine says.
    pub cause: Option<Cause>,
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
