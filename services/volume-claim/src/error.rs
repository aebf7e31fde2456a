//! From what went wrong to what the caller is told.

use service_kit::status::{RETRY_DELAY, StatusBuilder, chain};
use tonic::{Code, Status};

use crate::NAME;
use crate::directories::DirectoryError;

impl From<DirectoryError> for Status {
    fn from(error: DirectoryError) -> Self {
        let message = chain(&error);
        let build = |code, reason| StatusBuilder::new(NAME, code, reason, message.clone());
        match &error {
            DirectoryError::InvalidVolume { .. } => {
                build(Code::InvalidArgument, "INVALID_VOLUME").violation("volume", message.clone()).build()
            }
            DirectoryError::InvalidClaim { .. } => {
                build(Code::InvalidArgument, "INVALID_VOLUME").violation("claim_uid", message.clone()).build()
            }
            DirectoryError::Foreign { volume, .. } => build(Code::FailedPrecondition, "FOREIGN_DIRECTORY")
                .precondition("MARKER", volume.to_string(), message.clone())
                .build(),
            DirectoryError::NoSpace { .. } => {
                build(Code::ResourceExhausted, "NO_SPACE").quota("volumes directory", message.clone()).build()
            }
            DirectoryError::Storage { .. } => {
                tracing::warn!(error = message.as_str(), "the volumes directory cannot be used");
                build(Code::Unavailable, "STORAGE_UNAVAILABLE").retry_after(RETRY_DELAY).build()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use service_kit::effects::EffectError;
    use service_kit::status::reason;

    use super::*;
    use crate::directories::VolumeName;

    #[test]
    fn every_reason_is_documented() {
        let proto = include_str!("../../../proto/setkeeper/volume_claim/v1/volume_claim.proto");
        let claim_uid = "6d6b2b7e-6f2e-4d0c-9b7a-0a3f6f1f2a11";
        let volume = VolumeName::parse(&format!("pvc-{claim_uid}"), claim_uid).expect("a name");
        let storage = DirectoryError::Storage { doing: "making".into(), source: std::io::Error::other("disk") };
        for status in [
            DirectoryError::InvalidVolume { volume: "x".into() }.into(),
            DirectoryError::InvalidClaim { volume: "x".into(), claim_uid: "y".into() }.into(),
            DirectoryError::Foreign { volume: volume.clone(), why: "is another's" }.into(),
            DirectoryError::NoSpace { volume }.into(),
            storage.into(),
            EffectError::InvalidId.into(),
            EffectError::Busy.into(),
        ] {
            let status: Status = status;
            let reason = reason(&status);
            assert!(!reason.is_empty() && proto.contains(&reason), "{reason:?} of {status:?}");
        }
    }
}
