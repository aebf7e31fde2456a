//! Why a claim is not bound, and why a pod must wait for its claims.

use std::fmt;

/// A test of static matching (volume rules, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailedTest {
    /// It lacks a requested mode.
    AccessModes,
    /// It is too small.
    Size,
    /// A directory is asked for and it is a device, or the other way round.
    VolumeMode,
    /// Its attributes class is another.
    AttributesClass,
    /// It is being deleted.
    Deleting,
    /// Its class is another.
    Class,
    /// The claim's selector does not select it.
    Selector,
    /// It is not Available.
    Phase,
    /// It is reserved for, or was used by, another claim.
    ClaimRef,
    /// The node does not reach it.
    NodeAffinity,
}

impl fmt::Display for FailedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessModes => "lacks a requested access mode",
            Self::Size => "is too small",
            Self::VolumeMode => "has another volumeMode",
            Self::AttributesClass => "has another volumeAttributesClassName",
            Self::Deleting => "is being deleted",
            Self::Class => "has another storageClassName",
            Self::Selector => "is not selected by the claim's selector",
            Self::Phase => "is not Available",
            Self::ClaimRef => "belongs to, or is reserved for, another claim",
            Self::NodeAffinity => "cannot be reached from this node",
        })
    }
}

/// A volume that does not fit, and the first test it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Name of the volume.
    pub volume: String,
    /// The test.
    pub test: FailedTest,
    /// Both sides in words, such as `offers 1Gi, 2Gi are requested`.
    pub message: String,
}

/// Why a claim is Pending. Programs branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PendingReason {
    /// No volume fits and there is no class to make one.
    NoMatch,
    /// Its class waits for a pod that uses it, and there is none.
    WaitForFirstConsumer,
    /// A pod uses it, and cannot be placed yet.
    WaitForPodScheduled,
    /// A volume is being made.
    Provisioning,
    /// Its class names a provisioner that is not here.
    ExternalProvisioner,
    /// Its class does not exist.
    ClassNotFound,
    /// Its class never makes volumes, and none fits.
    StaticOnly,
    /// It asks for what its provisioner cannot make.
    Unsupported,
    /// Its class may not provision for this node.
    NodeNotAllowed,
    /// The volume it names does not exist.
    VolumeNotFound,
    /// The volume it names does not fit.
    VolumeMismatch,
    /// The volume it names belongs to another claim.
    VolumeTaken,
}

impl PendingReason {
    /// Reason of the event that Kubernetes records for it.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::NoMatch | Self::StaticOnly | Self::VolumeNotFound | Self::VolumeTaken => "FailedBinding",
            Self::WaitForFirstConsumer => "WaitForFirstConsumer",
            Self::WaitForPodScheduled => "WaitForPodScheduled",
            Self::Provisioning => "Provisioning",
            Self::ExternalProvisioner => "ExternalProvisioning",
            Self::ClassNotFound | Self::Unsupported | Self::NodeNotAllowed => "ProvisioningFailed",
            Self::VolumeMismatch => "VolumeMismatch",
        }
    }

    /// Whether a person should look.
    #[must_use]
    pub fn warning(self) -> bool {
        matches!(self, Self::ClassNotFound | Self::Unsupported | Self::NodeNotAllowed | Self::VolumeMismatch)
    }
}

/// Why a pod cannot be placed because of a claim (volume rules, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PodWaitReason {
    /// The claim does not exist.
    ClaimMissing,
    /// The claim is being deleted.
    ClaimDeleting,
    /// The claim has lost its volume.
    ClaimLost,
    /// The claim is not bound.
    ClaimUnbound,
    /// Its volume cannot be reached from the node.
    NodeAffinityConflict,
    /// Only one pod may use the claim, and another does.
    ClaimInUse,
}
