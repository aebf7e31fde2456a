//! The question about claims and volumes, put together from parts that are encoded once.

use bytes::Bytes;
use domain::Timestamp;
use domain::volume::{Claim, ClaimUser, MachineNode, StorageClass, Volume, VolumeSwitches};
use prost::Message;

use super::Question;
use crate::convert::to_timestamp;
use crate::proto::volume_claim::v1 as proto;

/// A claim, a volume, or a pod's use of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPart(Bytes);

macro_rules! parts {
    ($($type:ident)+) => {
        $(impl From<$type> for EncodedPart {
            fn from(part: $type) -> Self {
                Self(proto::$type::from(part).encode_to_vec().into())
            }
        })+
    };
}

parts! { Claim Volume ClaimUser }

/// To the volume planner: its `PlanVolumesRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct VolumesQuestion {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    claims: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    volumes: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    classes: Vec<proto::StorageClass>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    users: Vec<Bytes>,
    #[prost(message, optional, tag = "5")]
    node: Option<proto::MachineNode>,
    #[prost(message, optional, tag = "6")]
    switches: Option<proto::VolumeSwitches>,
    #[prost(message, optional, tag = "7")]
    now: Option<prost_types::Timestamp>,
}

impl VolumesQuestion {
    /// What to do where there are these classes and this machine. Claims, volumes and uses are to be added, with all
    /// that they refer to ([`domain::volume::VolumesRequest`]).
    #[must_use]
    pub fn new(classes: Vec<StorageClass>, node: MachineNode, switches: VolumeSwitches, now: Timestamp) -> Self {
        let VolumeSwitches { classless_before_default } = switches;
        Self {
            classes: classes.into_iter().map(Into::into).collect(),
            node: Some(node.into()),
            switches: Some(proto::VolumeSwitches { classless_before_default }),
            now: Some(to_timestamp(now)),
            ..Self::default()
        }
    }

    /// Adds claims.
    pub fn claims<'a>(&mut self, claims: impl IntoIterator<Item = &'a EncodedPart>) {
        self.claims.extend(claims.into_iter().map(|part| part.0.clone()));
    }

    /// Adds volumes.
    pub fn volumes<'a>(&mut self, volumes: impl IntoIterator<Item = &'a EncodedPart>) {
        self.volumes.extend(volumes.into_iter().map(|part| part.0.clone()));
    }

    /// Adds uses of claims by pods.
    pub fn users<'a>(&mut self, users: impl IntoIterator<Item = &'a EncodedPart>) {
        self.users.extend(users.into_iter().map(|part| part.0.clone()));
    }

    /// Whether there is no claim and no volume.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.volumes.is_empty()
    }
}

impl Question for VolumesQuestion {
    type Answer = proto::PlanVolumesResponse;
    const PATH: &'static str = "/setkeeper.volume_claim.v1.VolumeClaimService/PlanVolumes";
}

#[cfg(test)]
mod tests {
    use domain::Uid;
    use domain::volume::VolumesRequest;

    use super::*;

    #[test]
    fn it_is_on_the_wire_what_the_service_takes() {
        let claim = |name: &str| Claim { name: name.into(), uid: Uid(name.into()), version: 3, ..Claim::default() };
        let volume =
            |name: &str| Volume { name: name.into(), labels: [("a".into(), "b".into())].into(), ..Volume::default() };
        let user = ClaimUser { claim: "a".into(), pod: "web-0".into(), ..ClaimUser::default() };
        let request = VolumesRequest {
            claims: vec![claim("a"), claim("b")],
            volumes: vec![volume("x"), volume("y")],
            classes: vec![StorageClass { name: "standard".into(), ..StorageClass::default() }],
            users: vec![user],
            node: MachineNode { name: "here".into(), ..MachineNode::default() },
            switches: VolumeSwitches { classless_before_default: true },
            now: Timestamp(1_700_000_000_123),
        };
        let VolumesRequest { claims, volumes, classes, users, node, switches, now } = request.clone();
        let mut question = VolumesQuestion::new(classes, node, switches, now);
        assert!(question.is_empty());
        question.claims(&claims.into_iter().map(EncodedPart::from).collect::<Vec<_>>());
        question.volumes(&volumes.into_iter().map(EncodedPart::from).collect::<Vec<_>>());
        question.users(&users.into_iter().map(EncodedPart::from).collect::<Vec<_>>());
        assert!(!question.is_empty());
        assert_eq!(proto::PlanVolumesRequest::decode(&*question.encode_to_vec()), Ok(request.into()));
    }

    #[test]
    fn it_is_asked_where_the_service_answers() {
        let service = proto::volume_claim_service_server::SERVICE_NAME;
        assert_eq!(VolumesQuestion::PATH, format!("/{service}/PlanVolumes"));
    }
}
