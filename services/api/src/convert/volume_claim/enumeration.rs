//! Enumerations: the zero value of the wire is refused.

use domain::volume::{
    AccessMode, BindingMode, ClaimPhase, FailedTest, Operator, PendingReason, PodWaitReason, ReclaimPolicy, VolumeMode,
    VolumePhase, VolumeSource,
};

use crate::convert::Violations;
use crate::proto::volume_claim::v1 as proto;

macro_rules! enumerations {
    ($($name:ident { $($variant:ident),* $(,)? })*) => {$(
        impl From<$name> for proto::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }

        impl TryFrom<proto::$name> for $name {
            type Error = Violations;

            fn try_from(value: proto::$name) -> Result<Self, Violations> {
                match value {
                    proto::$name::Unspecified => Err(Violations::of("", "is required")),
                    $(proto::$name::$variant => Ok(Self::$variant),)*
                }
            }
        }
    )*};
}

enumerations! {
    AccessMode { ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod }
    VolumeMode { Filesystem, Block }
    ReclaimPolicy { Retain, Delete, Recycle }
    BindingMode { Immediate, WaitForFirstConsumer }
    ClaimPhase { Pending, Bound, Lost }
    VolumePhase { Pending, Available, Bound, Released, Failed }
    VolumeSource { HostPath, Local, Other }
    Operator { In, NotIn, Exists, DoesNotExist, Gt, Lt }
    PendingReason {
        NoMatch, WaitForFirstConsumer, WaitForPodScheduled, Provisioning, ExternalProvisioner, ClassNotFound,
        StaticOnly, Unsupported, NodeNotAllowed, VolumeNotFound, VolumeMismatch, VolumeTaken,
    }
    FailedTest {
        AccessModes, Size, VolumeMode, AttributesClass, Deleting, Class, Selector, Phase, ClaimRef, NodeAffinity,
    }
    PodWaitReason { ClaimMissing, ClaimDeleting, ClaimLost, ClaimUnbound, NodeAffinityConflict, ClaimInUse }
}
