//! What is known of one pod between two looks: the part that must outlive the runtime, and the part that need not.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::probing::ProbeState;
use crate::backend::Exit;

/// Version of the record's format. A record of another version is read as far as its fields are known.
pub const RECORD_VERSION: u32 = 1;

/// What must outlive the runtime, so that a restarted one tells the same story: no lost restart count, no stampede, no
/// flicker of readiness.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Format.
    pub version: u32,
    /// Store that assigned the pod. Only its word ends it.
    pub store_id: String,
    /// When the pod was first seen here.
    pub started_at: Timestamp,
    /// Address of the current sandbox.
    pub ip: Option<IpAddr>,
    /// Whether there is a current sandbox.
    pub sandbox: bool,
    /// Whether everything before the regular containers was done in the current sandbox.
    pub initialized: bool,
    /// Set once the pod will never run again.
    pub outcome: Option<Outcome>,
    /// What is known of each container, by name.
    pub containers: BTreeMap<String, ContainerRecord>,
    /// Conditions as last told, by type.
    pub conditions: BTreeMap<String, Told>,
    /// When the pod must have stopped, once its end began (steady time).
    pub grace_end: Option<Timestamp>,
    /// Whether its sandbox was ended for good: every process proven dead, every volume released.
    pub removed: bool,
}

/// How a pod ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether every container ended well.
    pub succeeded: bool,
    /// Reason such as `DeadlineExceeded`; empty where the containers say it all.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// A condition as last told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Told {
    /// Whether it was True.
    pub status: bool,
    /// When that last changed.
    pub since: Timestamp,
}

/// What must outlive the runtime of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRecord {
    /// The run that was last begun; none before the first.
    pub instance: Option<u32>,
    /// Since when that run is a process; none before and after.
    pub running_since: Option<Timestamp>,
    /// How that run ended.
    pub exit: Option<Exit>,
    /// The last word of that run.
    pub last_words: String,
    /// How the run before ended.
    pub last_exit: Option<Exit>,
    /// The last word of the run before.
    pub last_exit_words: String,
    /// Rest before the next run.
    pub backoff: Backoff,
    /// Whether postStart of that run is done.
    pub post_started: bool,
    /// Since when that run counts as started.
    pub started_at: Option<Timestamp>,
    /// Whether that run passed its readiness.
    pub ready: bool,
    /// Whether it was done, or a sidecar started, in the current sandbox.
    pub done: bool,
}

impl ContainerRecord {
    /// Whether the run that was last begun is a process now.
    #[must_use]
    pub fn running(&self) -> bool {
        self.running_since.is_some()
    }

    /// Whether any run was ever a process.
    #[must_use]
    pub fn ever_ran(&self) -> bool {
        self.running() || self.exit.is_some() || self.last_exit.is_some()
    }

    /// How often it was started again.
    #[must_use]
    pub fn restart_count(&self) -> u32 {
        let begun = self.instance.unwrap_or(0);
        if self.running() || self.exit.is_some() { begun } else { begun.saturating_sub(1) }
    }
}

/// What need not outlive the runtime: work under way, and counters that may begin again.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Whether the pod was found running when the runtime began; its first probes are spread over a period.
    pub adopted: bool,
    /// Volumes on their way.
    pub volumes: Work,
    /// Whether volumes are as the assignment wants them.
    pub volumes_ready: bool,
    /// Sandbox on its way.
    pub sandbox: Work,
    /// Sandbox on its way out.
    pub removal: Work,
    /// By container name.
    pub containers: BTreeMap<String, ContainerMemory>,
}

/// Something that takes time and may fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Whether it is under way.
    pub busy: bool,
    /// Why it failed last.
    pub failure: Option<Failure>,
    /// How often it failed in a row.
    pub failures: u32,
}

/// Why something failed, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Reason in CamelCase.
    pub reason: String,
    /// In words.
    pub message: String,
    /// When it is tried again (steady time).
    pub retry_at: Timestamp,
}

/// What need not outlive the runtime of one container.
#[derive(Debug, Clone, Default)]
pub struct ContainerMemory {
    /// Start under way, or why it failed.
    pub start: Work,
    /// postStart under way.
    pub post_start_busy: bool,
    /// Why postStart failed.
    pub post_start_failure: Option<String>,
    /// Startup, liveness, readiness, in this order.
    pub probes: [ProbeState; 3],
    /// Stop under way.
    pub stop: Option<Stop>,
    /// Run whose back-off was announced.
    pub backoff_told: Option<u32>,
}

/// A container on its way to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Why, in words, for the event.
    pub why: String,
    /// When its time is over (steady time).
    pub grace_end: Timestamp,
    /// Whether preStop runs at all.
    pub hooks: bool,
    /// preStop under way.
    pub hook_busy: bool,
    /// preStop over.
    pub hook_done: bool,
    /// When it was told to stop.
    pub signalled_at: Option<Timestamp>,
    /// SIGKILL under way.
    pub kill_busy: bool,
    /// Whether the hard end was announced.
    pub kill_told: bool,
    /// When a refused signal or kill is tried again.
    pub retry_at: Option<Timestamp>,
}
