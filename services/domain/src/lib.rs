//! The vocabulary of Setkeeper.
//!
//! Every service speaks of sets, pods, claims and volumes in the words of this crate. It is pure: no I/O, no clock, no
//! randomness, no async, no protocol types. What a planner needs to know arrives in a snapshot, including `now`.
//!
//! Words follow Kubernetes. Rules come from the StatefulSet behaviour of Kubernetes 1.37; where a type or function
//! follows one of its rules, its documentation says which.

mod action;
mod decision;
mod failures;
pub mod fencing;
mod headway;
mod identity;
mod name;
mod outages;
mod pod;
mod pods;
mod profile;
mod quantity;
mod revision;
pub mod safety;
mod set;
mod snapshot;
mod status;
mod time;
pub mod volume;
mod waits;
pub mod zone;

pub use action::{Guard, PodCreation, PodDeletion, Wait, WaitReason};
pub use decision::{DecisionRecord, Step};
pub use failures::Failures;
pub use headway::{PATIENCE, SLOW_START};
pub use identity::{Candidate, Kinship, PodIdentity, claim_name, kinship, pod_name, pod_ordinal};
pub use name::{
    DNS_LABEL_LENGTH_MAX, Generation, InvalidName, ObjectRef, Ordinal, RevisionName, SetRef, Uid, is_dns_label,
    is_dns_subdomain,
};
pub use outages::{OUTAGES_MAX, Outage};
pub use pod::{Cause, Phase, Pod};
pub use pods::{PodRun, Pods, SteadyPods};
pub use profile::{Profile, Switches, UnknownProfile};
pub use quantity::{InvalidQuantity, Quantity, canonical_quantity, quantity_nanos};
pub use revision::{Revision, is_revision_name_of, revision_hash, revision_name};
pub use set::{
    DeadlinePolicy, IntOrPercent, PROGRESS_DEADLINE_SECONDS_DEFAULT, PodManagementPolicy, RetentionPolicy,
    RetentionRule, RollingUpdate, SetSpec, UpdateStrategy,
};
pub use snapshot::{
    Intent, OrdinalPlan, OrdinalRequest, RevisionChange, Snapshot, Stuck, TargetRange, UpdatePlan, UpdateRequest,
    target_of,
};
pub use status::SetStatus;
pub use time::Timestamp;
pub use waits::{WAITS_MAX, WaitRun, Waits};
