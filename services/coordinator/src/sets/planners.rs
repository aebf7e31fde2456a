//! The services that plan, as this coordinator calls them.

use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use api::proto::identity_dns::v1::{AssignRequest, OrdinalRevision};
use api::proto::planning::v1::SetRef as ProtoSetRef;
use api::question::{Answer, OrdinalQuestion, Question, UpdateQuestion, ask};
use domain::{Ordinal, OrdinalPlan, PodIdentity, RevisionName, SetRef, Snapshot, UpdatePlan, WaitReason};
use service_kit::Channel;
use service_kit::limits::RESPONSE_BYTES_MAX;
use tonic::Status;

use super::scene::Scene;

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

/// Asks for a plan for that set.
async fn plan<Q: Question<Answer: Answer>>(
    service: &'static str,
    channel: Channel,
    question: Q,
    scene: &Scene,
) -> Result<Q::Answer, PlannerError> {
    let answer = ask(channel, question, RESPONSE_BYTES_MAX).await.map_err(PlannerError::call(service))?;
    made_for(answer.made_for(), &scene.told).map_err(PlannerError::answer(service))?;
    Ok(answer)
}

/// Makes sure that a plan was made for this set and every pod of it: a planner of an earlier version does not know those that
/// it is told of in runs, and would create them.
fn made_for((set, understood): (&str, u32), snapshot: &Snapshot) -> Result<(), String> {
    let told = snapshot.pods.count();
    if understood != told {
        let order = "services that plan are upgraded before the coordinator";
        return Err(format!("it was made for {understood} pods, where there are {told}; {order}"));
    }
    let asked = &snapshot.set.uid;
    if set == asked.0 { Ok(()) } else { Err(format!("it was made for the set with uid {set:?}, not {asked}")) }
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
    /// Revisions, targets, replacement, status, for that set.
    pub(crate) async fn update(&self, question: UpdateQuestion, scene: &Scene) -> Result<UpdatePlan, PlannerError> {
        const SERVICE: &str = "update-planner";
        let answer = plan(SERVICE, self.update_planner.clone(), question, scene).await?;
        let mut plan = UpdatePlan::try_from(answer).map_err(PlannerError::answer(SERVICE))?;
        scene.snapshot.identify(&mut plan.replace);
        Ok(plan)
    }

    /// Creation and deletion, for that set.
    pub(crate) async fn order(&self, question: OrdinalQuestion, scene: &Scene) -> Result<OrdinalPlan, PlannerError> {
        const SERVICE: &str = "ordinal-scheduler";
        let answer = plan(SERVICE, self.ordinal_scheduler.clone(), question, scene).await?;
        let mut plan = OrdinalPlan::try_from(answer).map_err(PlannerError::answer(SERVICE))?;
        scene.snapshot.identify(&mut plan.delete);
        Ok(plan)
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
            .map(|(ordinal, revision)| OrdinalRevision { ordinal: ordinal.0, revision: revision.to_string() });
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

#[cfg(test)]
mod tests {
    use domain::{Pod, Uid};

    use super::*;

    #[test]
    fn a_plan_that_knows_nothing_of_pods_in_runs_is_refused_with_what_to_do() {
        let set = SetRef { uid: Uid("web".into()), ..SetRef::default() };
        let pods = [0, 1, 2].map(|ordinal| Pod { ordinal: Ordinal(ordinal), ..Pod::default() });
        let snapshot = Snapshot { set, pods: pods.into_iter().collect(), ..Snapshot::default() };
        assert_eq!(made_for(("web", 3), &snapshot), Ok(()));
        assert_eq!(made_for(("db", 3), &snapshot), Err("it was made for the set with uid \"db\", not web".into()));
        let refused = made_for(("web", 0), &snapshot).map_err(PlannerError::answer("update-planner")).unwrap_err();
        let said = "update-planner does not answer: its answer makes no sense: it was made for 0 pods, where there are 3; \
                    services that plan are upgraded before the coordinator";
        assert_eq!(refused.to_string(), said);
    }
}
