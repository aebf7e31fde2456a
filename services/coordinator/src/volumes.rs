//! Claims and volumes: a pass asks volume-claim what to do about those that are not at rest, has directories made and
//! removed, and commits the bonds.

pub(crate) mod read;
mod write;

use std::sync::Arc;

use api::manifest::Kind;
use api::proto::volume_claim::v1::volume_claim_service_client::VolumeClaimServiceClient;
use api::proto::volume_claim::v1::{DeprovisionRequest, ProvisionRequest};
use api::question::ask;
use domain::volume::{DIRECTORY_PROVISIONER, ObjectVersion, PendingReason, VolumeAction, VolumesPlan};
use domain::{Switches, Timestamp, Uid};
use serde_json::{Value, json};
use service_kit::limits::RESPONSE_BYTES_MAX;
use service_kit::telemetry::SpanAddress;
use service_kit::{Channel, Context};
use tonic::Status;
use tracing::Instrument as _;

use self::read::Told;
use crate::driver::{Controller, Outcome};
use crate::machines;
use crate::rollouts;
use crate::store::CommitError;
use crate::world::{Change, Key, Object, View, World};

/// Actions carried out in one pass. More wait for the next, which follows at once.
const ACTIONS_AT_ONCE_MAX: usize = 256;

/// Calls that remove one directory in one pass; each removes a bounded number of entries.
const REMOVALS_AT_ONCE_MAX: u32 = 64;

/// Binds, provisions and reclaims.
#[derive(Debug)]
pub(crate) struct Volumes {
    world: Arc<World>,
    channel: Channel,
    epoch: u64,
    switches: Switches,
    context: Context,
}

/// The class that claims without a class get: a directory on this machine.
///
/// It waits for the first pod: a claim that nobody uses makes no directory, and a volume that an administrator adds in
/// the meantime is used. A set's claims and pods are made together, so nothing gets slower by it.
pub(crate) fn default_class() -> Value {
    json!({
        "apiVersion": Kind::StorageClass.api_version(),
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": DIRECTORY_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
    })
}

/// How far an action came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It is part of the commit.
    Done,
    /// It takes more passes.
    GoesOn,
}

/// What a pass could not do.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("volume-claim: {}", .0.message())]
    Service(#[from] Box<Status>),
    #[error("volume-claim's answer makes no sense: {0}")]
    Answer(String),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<Status> for PassError {
    fn from(status: Status) -> Self {
        Self::Service(Box::new(status))
    }
}

impl Volumes {
    pub(crate) fn new(world: Arc<World>, channel: Channel, epoch: u64, switches: Switches, context: Context) -> Self {
        Self { world, channel, epoch, switches, context }
    }

    async fn try_pass(&self) -> Result<Outcome, PassError> {
        let now = self.context.clock.now();
        let (mut told, mut plan) = self.plan(Told::loose, now).await?;
        // Why a claim cannot be served is said with every volume that does not fit it.
        if plan.pending.iter().any(|report| report.reason != PendingReason::WaitForFirstConsumer) {
            (told, plan) = self.plan(Told::everything, now).await?;
        }
        let mut writer = write::Writer::new(&self.world, &told, now);
        let mut failed = None;
        let mut more = plan.actions.len() > ACTIONS_AT_ONCE_MAX;
        for action in plan.actions.iter().take(ACTIONS_AT_ONCE_MAX) {
            // One volume that cannot be made must not keep others from being bound.
            match self.carry_out(&mut writer, action).await {
                Ok(Progress::Done) => {}
                Ok(Progress::GoesOn) => more = true,
                Err(error) => {
                    writer.failed(action, &error.to_string());
                    failed = Some(error);
                }
            }
        }
        for report in &plan.pending {
            writer.pending(report);
        }
        for event in &plan.events {
            writer.event(event);
        }
        self.world.commit(writer.finish()).await?;
        match failed {
            Some(error) => Err(error),
            None if more => Ok(Outcome::Stale),
            None => Ok(Outcome::Settled),
        }
    }

    /// Asks volume-claim what to do about some claims and volumes.
    async fn plan(&self, choose: impl Fn(&View<'_>) -> Told, now: Timestamp) -> Result<(Told, VolumesPlan), PassError> {
        let (told, question) = self.world.view(|view| {
            let told = choose(view);
            let question = told.question(view, self.switches, now);
            (told, question)
        });
        if question.is_empty() {
            return Ok((told, VolumesPlan::default()));
        }
        let answer = ask(self.channel.clone(), question, RESPONSE_BYTES_MAX).await?;
        let plan = VolumesPlan::try_from(answer).map_err(|error| PassError::Answer(error.to_string()))?;
        Ok((told, plan))
    }

    async fn carry_out(&self, writer: &mut write::Writer<'_>, action: &VolumeAction) -> Result<Progress, PassError> {
        match action {
            VolumeAction::Provision { claim, volume, capacity, .. } => {
                let span = tracing::debug_span!("provision", volume, claim = claim.object.name);
                rollouts::join(&span, self.consumer(claim));
                let path = self.provision(claim, volume, capacity.0).instrument(span).await?;
                writer.provisioned(action, &path)
            }
            VolumeAction::Deprovision { volume, claim_uid } => {
                if !self.deprovision(volume, claim_uid).await? {
                    return Ok(Progress::GoesOn);
                }
                writer.write(action)
            }
            _ => writer.write(action),
        }
        .map_err(PassError::Answer)?;
        Ok(Progress::Done)
    }

    /// The place in a rollout of the pod of a set that waits for this claim. The name of a claim of a set ends with that of
    /// its pod.
    fn consumer(&self, claim: &ObjectVersion) -> Option<SpanAddress> {
        let (namespace, name) = (&claim.object.namespace, &claim.object.name);
        let ends = name.match_indices('-').map(|(dash, _)| &name[dash + 1..]);
        let mut pods = ends.filter_map(|pod| self.world.get(&Key::new(Kind::Pod, namespace, pod)));
        let waiting = pods.find(|pod| crate::pods::read::claim_names(&pod.value).any(|claim| claim == name))?;
        rollouts::place(&waiting.value)
    }

    /// Makes the directory of a volume and gives its path. The same name at every attempt, so that repeated ones meet.
    async fn provision(&self, claim: &ObjectVersion, volume: &str, capacity_bytes: u64) -> Result<String, PassError> {
        let mut client = service_kit::sized_client!(VolumeClaimServiceClient::new(self.channel.clone()));
        let request = ProvisionRequest {
            operation_id: format!("provision/{volume}/{}", self.epoch),
            store_id: self.world.store_id().to_owned(),
            epoch: self.epoch,
            generation: self.world.revision().0.max(1),
            volume: volume.to_owned(),
            claim_uid: claim.object.uid.0.clone(),
            capacity_bytes,
        };
        let path = client.provision(request).await?.into_inner().path;
        if path.is_empty() {
            // Not knowing where is not a place: the same operation says it again.
            return Err(PassError::Answer(format!("the directory of {volume} has no path")));
        }
        Ok(path)
    }

    /// Removes the directory of a volume, or a good part of it. False if something is left.
    async fn deprovision(&self, volume: &ObjectVersion, claim_uid: &Uid) -> Result<bool, PassError> {
        let mut client = service_kit::sized_client!(VolumeClaimServiceClient::new(self.channel.clone()));
        for _ in 0..REMOVALS_AT_ONCE_MAX {
            let request = DeprovisionRequest {
                operation_id: service_kit::random::uid(),
                store_id: self.world.store_id().to_owned(),
                epoch: self.epoch,
                generation: self.world.revision().0.max(1),
                volume: volume.object.name.clone(),
                claim_uid: claim_uid.0.clone(),
            };
            if client.deprovision(request).await?.into_inner().done {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Controller for Volumes {
    type Key = ();
    const NAME: &'static str = "volumes";

    fn keys(&self, _: &World) -> Vec<()> {
        vec![()]
    }

    fn affected(&self, _: &World, change: &Change) -> Vec<()> {
        let concerns = match change.key.kind {
            Kind::PersistentVolumeClaim | Kind::PersistentVolume | Kind::StorageClass => true,
            Kind::Node => machines::comes_or_goes(change),
            // A pod matters while it comes, gets its machine, ends or goes.
            Kind::Pod => uses(change.old.as_deref()) != uses(change.new.as_deref()),
            _ => false,
        };
        if concerns { vec![()] } else { Vec::new() }
    }

    async fn pass(self: Arc<Self>, (): ()) -> Outcome {
        match self.try_pass().await {
            Ok(outcome) => outcome,
            Err(PassError::Commit(CommitError::Conflict { .. })) => Outcome::Stale,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

/// What of a pod matters to its claims; none for a pod without claims.
fn uses(pod: Option<&Object>) -> Option<(Vec<String>, String, bool)> {
    let pod = pod?;
    let claims: Vec<_> = crate::pods::read::claim_names(&pod.value).map(str::to_owned).collect();
    let ending = pod.deleting() || crate::pods::read::phase(pod).terminal();
    (!claims.is_empty()).then(|| (claims, pod.text("/spec/nodeName").to_owned(), ending))
}
