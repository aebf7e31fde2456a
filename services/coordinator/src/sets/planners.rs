//! The services that plan, as this coordinator calls them.

use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use api::proto::identity_dns::v1::{AssignRequest, OrdinalRevision};
use api::proto::planning::v1::SetRef as ProtoSetRef;
use api::question::{OrdinalQuestion, UpdateQuestion, ask};
use domain::{Ordinal, OrdinalPlan, PodIdentity, RevisionName, SetRef, UpdatePlan, WaitReason};
use service_kit::Channel;
use service_kit::limits::RESPONSE_BYTES_MAX;
use tonic::Status;

/// A planner did not answer, or not sensibly.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{service} does not answer: {error}")]
pub(crate) struct PlannerError {
    /// Which.
    pub(crate) service: &'static str,
    /// What happened.
    pub(crate) error: String,
}

impl PlannerError {
    /// As a reason to wait.
    pub(crate) fn wait(&self) -> WaitReason {
        WaitReason::ServiceUnavailable { service: self.service.to_owned(), error: self.error.clone() }
    }

    pub(crate) fn call(service: &'static str) -> impl FnOnce(Status) -> Self {
        move |status| Self { service, error: format!("{} ({:?})", status.message(), status.code()) }
    }

    pub(crate) fn answer<E: std::fmt::Display>(service: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { service, error: format!("its answer makes no sense: {error}") }
    }
}

/// Clients of the planners.
#[derive(Debug, Clone)]
pub(crate) struct Planners {
    pub(crate) ordinal_scheduler: Channel,
    pub(crate) update_planner: Channel,
    pub(crate) volume_claim: Channel,
    pub(crate) identity_dns: Channel,
}

impl Planners {
    /// Revisions, targets, replacement, status.
    pub(crate) async fn update(&self, question: UpdateQuestion) -> Result<UpdatePlan, PlannerError> {
        const SERVICE: &str = "update-planner";
        let answer = ask(self.update_planner.clone(), question, RESPONSE_BYTES_MAX).await;
        UpdatePlan::try_from(answer.map_err(PlannerError::call(SERVICE))?).map_err(PlannerError::answer(SERVICE))
    }

    /// Creation and deletion.
    pub(crate) async fn order(&self, question: OrdinalQuestion) -> Result<OrdinalPlan, PlannerError> {
        const SERVICE: &str = "ordinal-scheduler";
        let answer = ask(self.ordinal_scheduler.clone(), question, RESPONSE_BYTES_MAX).await;
        OrdinalPlan::try_from(answer.map_err(PlannerError::call(SERVICE))?).map_err(PlannerError::answer(SERVICE))
    }

    /// Identities of pods to create, in their order.
    pub(crate) async fn identities(
        &self,
        set: &SetRef,
        service_name: &str,
        create: &[(Ordinal, RevisionName)],
    ) -> Result<Vec<PodIdentity>, PlannerError> {
        const SERVICE: &str = "identity-dns";
        if create.is_empty() {
            return Ok(Vec::new());
        }
        let ordinals = create
            .iter()
            .map(|(ordinal, revision)| OrdinalRevision { ordinal: ordinal.0, revision: revision.0.clone() });
        let request = AssignRequest {
            set: Some(ProtoSetRef::from(set.clone())),
            service_name: service_name.to_owned(),
            ordinals: ordinals.collect(),
        };
        let mut client = service_kit::sized_client!(IdentityDnsServiceClient::new(self.identity_dns.clone()));
        let answer = client.assign(request).await.map_err(PlannerError::call(SERVICE))?;
        let identities = answer.into_inner().identities.into_iter().map(PodIdentity::try_from);
        let identities: Vec<_> = identities.collect::<Result<_, _>>().map_err(PlannerError::answer(SERVICE))?;
        if identities.len() == create.len() {
            Ok(identities)
        } else {
            Err(PlannerError::answer(SERVICE)(format!("{} identities for {} ordinals", identities.len(), create.len())))
        }
    }
}
