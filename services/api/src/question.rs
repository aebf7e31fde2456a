//! Questions to the planners, put together from what is encoded already. The planners of a set are sent the same snapshot.
//!
//! A snapshot is mostly pods. Those that are as they should be, which in a large set is almost every pod, are told in runs:
//! what a question costs does not grow with them. Of the others most are the same from one pass to the next, so each
//! version of a pod is encoded once; a snapshot is put together from them, and both planners are sent the same bytes. On the
//! wire nothing is different: a message that is a field is its bytes, and fields of one number may be written one by one.

mod volumes;

use bytes::Bytes;
use domain::{Pod, Revision, RevisionName, Snapshot, TargetRange};
use prost::Message;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Body, StdError};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

pub use self::volumes::{EncodedPart, VolumesQuestion};
use crate::convert::planning::without_pods;
use crate::proto::planning::v1 as planning;
use crate::proto::{ordinal_scheduler, update_planner};

/// A pod as a part of any snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPod(Box<[u8]>);

impl From<Pod> for EncodedPod {
    fn from(pod: Pod) -> Self {
        let alone = planning::Snapshot { pods: vec![pod.into()], ..planning::Snapshot::default() };
        Self(alone.encode_to_vec().into())
    }
}

/// A snapshot. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSnapshot(Bytes);

impl EncodedSnapshot {
    /// The snapshot, each of whose pods that are not steady is `encoded` so.
    #[must_use]
    pub fn new<'a>(snapshot: &Snapshot, encoded: impl Fn(&Pod) -> &'a EncodedPod) -> Self {
        let steady = snapshot.steady_pods().into_iter().map(Into::into).collect();
        let mut bytes = planning::Snapshot { steady, ..without_pods(snapshot) }.encode_to_vec();
        let alone = snapshot.pods.iter().filter(|pods| !snapshot.is_steady(pods));
        for pod in alone {
            debug_assert_eq!(pod.count(), 1, "only steady pods are in runs");
            bytes.extend_from_slice(&encoded(pod).0);
        }
        Self(bytes.into())
    }
}

/// What a planner is asked.
pub trait Question: Message + 'static {
    /// What it answers.
    type Answer: Message + Default + 'static;

    /// Where it is asked.
    const PATH: &'static str;
}

/// What a planner of a set answers.
pub trait Answer {
    /// Uid of the set that it was made for, and how many pods that has.
    fn made_for(&self) -> (&str, u32);
}

/// To the ordinal scheduler.
#[derive(Clone, PartialEq, Message)]
pub struct OrdinalQuestion {
    #[prost(bytes = "bytes", tag = "1")]
    snapshot: Bytes,
    #[prost(message, repeated, tag = "2")]
    targets: Vec<planning::TargetRange>,
}

impl OrdinalQuestion {
    /// What comes and goes now, for these targets.
    #[must_use]
    pub fn new(snapshot: &EncodedSnapshot, targets: Vec<TargetRange>) -> Self {
        Self { snapshot: snapshot.0.clone(), targets: targets.into_iter().map(Into::into).collect() }
    }
}

impl Answer for ordinal_scheduler::v1::PlanResponse {
    fn made_for(&self) -> (&str, u32) {
        (&self.set_uid, self.pods)
    }
}

impl Answer for update_planner::v1::PlanResponse {
    fn made_for(&self) -> (&str, u32) {
        (&self.set_uid, self.pods)
    }
}

impl Question for OrdinalQuestion {
    type Answer = ordinal_scheduler::v1::PlanResponse;
    const PATH: &'static str = "/setkeeper.ordinal_scheduler.v1.OrdinalSchedulerService/Plan";
}

/// To the update planner.
#[derive(Clone, PartialEq, Message)]
pub struct UpdateQuestion {
    #[prost(bytes = "bytes", tag = "1")]
    snapshot: Bytes,
    #[prost(string, tag = "2")]
    template: String,
    #[prost(message, repeated, tag = "3")]
    revisions: Vec<update_planner::v1::Revision>,
    #[prost(string, tag = "4")]
    equal_after_defaulting: String,
    #[prost(message, repeated, tag = "5")]
    foreign: Vec<update_planner::v1::Revision>,
}

impl UpdateQuestion {
    /// What to update, where these revisions are stored, and these of others; the rest as in [`domain::UpdateRequest`].
    #[must_use]
    pub fn new(
        snapshot: &EncodedSnapshot,
        template: String,
        (revisions, foreign): (Vec<Revision>, Vec<Revision>),
        equal_after_defaulting: Option<RevisionName>,
    ) -> Self {
        Self {
            snapshot: snapshot.0.clone(),
            template,
            revisions: revisions.into_iter().map(Into::into).collect(),
            equal_after_defaulting: equal_after_defaulting.map(|name| name.to_string()).unwrap_or_default(),
            foreign: foreign.into_iter().map(Into::into).collect(),
        }
    }
}

impl Question for UpdateQuestion {
    type Answer = update_planner::v1::PlanResponse;
    const PATH: &'static str = "/setkeeper.update_planner.v1.UpdatePlannerService/Plan";
}

/// Asks a planner, as its generated client does. An answer has at most `answer_bytes_max` bytes.
///
/// # Errors
/// Those of the call.
pub async fn ask<C, Q: Question>(channel: C, question: Q, answer_bytes_max: usize) -> Result<Q::Answer, Status>
where
    C: GrpcService<tonic::body::Body>,
    C::Error: Into<StdError>,
    C::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <C::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    let mut client = Grpc::new(channel).max_decoding_message_size(answer_bytes_max);
    client.ready().await.map_err(|error| Status::unknown(format!("Service was not ready: {}", error.into())))?;
    let path = PathAndQuery::from_static(Q::PATH);
    let answer = client.unary(Request::new(question), path, ProstCodec::<Q, Q::Answer>::default()).await?;
    Ok(answer.into_inner())
}

#[cfg(test)]
mod tests {
    use domain::{Ordinal, OrdinalRequest, Phase, SetRef, Timestamp, Uid, UpdateRequest};

    use super::*;

    #[test]
    fn they_are_on_the_wire_what_the_services_take() {
        let pod = |ordinal| Pod {
            ordinal: Ordinal(ordinal),
            uid: Uid(format!("uid-{ordinal}")),
            phase: Phase::Running,
            ready_since: Some(Timestamp(1_700_000_000_123)),
            revision: Some(RevisionName("web-a".into())),
            ..Pod::default()
        };
        let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("u".into()) };
        for count in [0, 1, 300] {
            let pods: Vec<Pod> = (0..count).map(pod).collect();
            let encoded: Vec<EncodedPod> = pods.iter().cloned().map(Into::into).collect();
            let pods = pods.into();
            let snapshot = Snapshot { set: set.clone(), pods, cold_start: true, ..Snapshot::default() };
            let snapshot_sent = EncodedSnapshot::new(&snapshot, |pod| &encoded[pod.ordinal.0 as usize]);
            let revision = RevisionName("web-a".into());
            let targets = vec![TargetRange { first: Ordinal(0), last: Ordinal(400), revision: revision.clone() }];
            let sent = OrdinalQuestion::new(&snapshot_sent, targets.clone()).encode_to_vec();
            let meant = OrdinalRequest { snapshot: snapshot.clone(), targets };
            assert_eq!(ordinal_scheduler::v1::PlanRequest::decode(&*sent), Ok(meant.into()));
            let stored = Revision { name: revision.clone(), number: 7, data: "{}".into(), ..Revision::default() };
            let meant = UpdateRequest {
                snapshot,
                template: "{}".into(),
                revisions: vec![stored],
                equal_after_defaulting: Some(revision),
                foreign: vec![Revision { name: RevisionName("web-f".into()), number: 1, ..Revision::default() }],
            };
            let UpdateRequest { template, revisions, foreign, equal_after_defaulting, .. } = meant.clone();
            let revisions = (revisions, foreign);
            let sent = UpdateQuestion::new(&snapshot_sent, template, revisions, equal_after_defaulting).encode_to_vec();
            assert_eq!(update_planner::v1::PlanRequest::decode(&*sent), Ok(meant.into()));
        }
    }

    #[test]
    fn they_are_asked_where_the_services_answer() {
        let path = |service: &str| format!("/{service}/Plan");
        let order = ordinal_scheduler::v1::ordinal_scheduler_service_server::SERVICE_NAME;
        assert_eq!(OrdinalQuestion::PATH, path(order));
        let update = update_planner::v1::update_planner_service_server::SERVICE_NAME;
        assert_eq!(UpdateQuestion::PATH, path(update));
    }
}
