//! What the planners are asked about a world, and what they answer, in their own words.

use std::time::Duration;

use domain::volume::SetClaimsPlan;
use domain::{
    Failures, Generation, IntOrPercent, Kinship, Ordinal, Phase, Revision, RevisionName, RollingUpdate, SetRef,
    SetSpec, SetStatus, Snapshot, Timestamp, Uid, UpdateRequest, UpdateStrategy, pod_name, revision_name,
};

use super::Config;
use super::claims::question;
use super::world::{Health, IMAGES, NONE, Pod, Status, Strategy, World};
use crate::Mutant;
use crate::planners::{Answer, Planners};

/// Name of the set.
pub(super) const SET: &str = "web";

/// Revisions that nobody uses and that are kept: few, so that pruning happens.
const HISTORY_LIMIT: i32 = 1;

/// The present moment of every world.
pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);

/// How long ago something happened that has had its time: longer than any delay the planners know, and shorter than
/// they remember failures.
const LONG_AGO: Duration = Duration::from_secs(400);

/// `minReadySeconds` where pods have to soak.
const SOAK_SECONDS: u32 = 10;

/// All that was answered about a world.
#[derive(Debug)]
pub struct Decision {
    /// What the planners saw.
    pub snapshot: Snapshot,
    /// Updates, and order as far as the claims let it.
    pub answer: Answer,
    /// Claims.
    pub claims: SetClaimsPlan,
}

/// Translates between worlds and the planners' words. Made once: it knows the names of all revisions.
#[derive(Debug)]
pub struct Desk {
    config: Config,
    planners: Planners,
    templates: [String; IMAGES.len()],
    names: [RevisionName; IMAGES.len()],
}

impl Desk {
    /// For one kind of set.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let templates =
            IMAGES.map(|image| format!(r#"{{"spec":{{"template":{{"$patch":"replace","image":"{image}"}}}}}}"#));
        let names = std::array::from_fn(|image| revision_name(SET, &templates[image], 0));
        Self { config: config.clone(), planners: Planners::new(config.mutant), templates, names }
    }

    /// The bug to put in.
    pub(super) fn mutant(&self) -> Option<Mutant> {
        self.config.mutant
    }

    /// What the planners answer, each answer being part of the next question.
    #[must_use]
    pub fn ask(&self, world: &World) -> Decision {
        let request = self.request(world);
        let mut answer = self.planners.ask(&request);
        let UpdateRequest { snapshot, .. } = request;
        let taken = |ordinal: Ordinal| world.is_taken(ordinal.0 as usize);
        let held = self.mutant() != Some(Mutant::TakenNamesIgnored);
        answer.order.create.retain(|creation| !(held && taken(creation.ordinal)));
        let claims = self.claims(world, &snapshot, &answer);
        let blocked = |ordinal: Ordinal| claims.waits.iter().any(|wait| wait.ordinal == Some(ordinal));
        answer.order.create.retain(|creation| !blocked(creation.ordinal));
        Decision { snapshot, answer, claims }
    }

    fn claims(&self, world: &World, snapshot: &Snapshot, answer: &Answer) -> SetClaimsPlan {
        if self.config.claims.is_none() {
            return SetClaimsPlan::default();
        }
        let question = question::of(world, &self.config, snapshot, &answer.order);
        self.planners.claims(&snapshot.spec, &question)
    }

    /// What the planners see.
    fn request(&self, world: &World) -> UpdateRequest {
        let max_unavailable = Some(IntOrPercent::Int(self.config.max_unavailable.into()));
        let strategy = match world.strategy {
            Strategy::RollingUpdate { partition } => {
                UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition: partition.into(), max_unavailable }))
            }
            Strategy::OnDelete => UpdateStrategy::OnDelete,
        };
        let spec = SetSpec {
            replicas: world.replicas.into(),
            policy: self.config.policy,
            strategy,
            min_ready_seconds: if self.config.soak { SOAK_SECONDS } else { 0 },
            revision_history_limit: HISTORY_LIMIT,
            progress_deadline_seconds: 0,
            retention: world.retention(&self.config),
            ..SetSpec::default()
        };
        let snapshot = Snapshot {
            set: set_ref(),
            generation: Generation(if world.observed { 1 } else { 2 }),
            spec,
            status: self.status(world),
            pods: self.members(world).into(),
            failures: failures(world),
            formed: (world.status.formed != NONE).then(|| Ordinal(world.status.formed.into())),
            cold_start: world.status.cold_start,
            switches: self.config.switches,
            now: NOW,
            ..Snapshot::default()
        };
        let revisions = world.stored().zip(1..).map(|(image, number)| Revision {
            name: self.name(image),
            number,
            data: self.templates[usize::from(image)].clone(),
            created_at: Timestamp(0),
        });
        UpdateRequest {
            snapshot,
            template: self.templates[usize::from(world.image)].clone(),
            revisions: revisions.collect(),
            ..UpdateRequest::default()
        }
    }

    /// Whoever is taken for a member, ascending by ordinal.
    fn members(&self, world: &World) -> Vec<domain::Pod> {
        let mut pods: Vec<_> = world.pods().map(|(ordinal, pod)| self.pod(ordinal, pod)).collect();
        if let Some(Kinship::Member(ordinal)) = world.stranger.map(|stranger| stranger.kinship(self.mutant())) {
            let pod = Pod { health: Health::Ready, aged: true, terminating: false, image: 0 };
            pods.push(self.pod(ordinal.0 as usize, pod));
            pods.sort_by_key(|pod| pod.ordinal);
        }
        pods
    }

    fn pod(&self, ordinal: usize, pod: Pod) -> domain::Pod {
        let since = moment(pod.aged);
        domain::Pod {
            ordinal: Ordinal(ordinal as u32),
            uid: pod_uid(Ordinal(ordinal as u32)),
            version: 1,
            phase: match pod.health {
                Health::Pending => Phase::Pending,
                Health::Ready | Health::Broken => Phase::Running,
                Health::Failed => Phase::Failed,
            },
            ready: pod.health == Health::Ready,
            ready_since: (pod.health != Health::Pending).then_some(since),
            terminating: pod.terminating,
            revision: Some(self.name(pod.image)),
            created_at: since,
            ..domain::Pod::default()
        }
    }

    fn status(&self, world: &World) -> SetStatus {
        let Status { counts, current, update, .. } = world.status;
        let [replicas, ready_replicas, available_replicas, current_replicas, updated_replicas] = counts.map(u32::from);
        SetStatus {
            observed_generation: 1,
            replicas,
            ready_replicas,
            available_replicas,
            current_replicas,
            updated_replicas,
            current_revision: self.name(current),
            update_revision: self.name(update),
            collision_count: 0,
        }
    }

    /// Name of a template's revision.
    fn name(&self, image: u8) -> RevisionName {
        self.names.get(usize::from(image)).cloned().unwrap_or_default()
    }

    /// Template of the revision of that name.
    pub(super) fn image(&self, name: &RevisionName) -> u8 {
        self.names.iter().position(|known| known == name).map_or(NONE, |place| place as u8)
    }
}

/// What the planners remember of pods that have ended.
fn failures(world: &World) -> Vec<Failures> {
    let counted = (0..).map(Ordinal).zip(world.status.failures).filter(|(_, (count, _))| *count > 0);
    counted.map(|(ordinal, (count, long_ago))| remembered(ordinal, count, long_ago)).collect()
}

fn remembered(ordinal: Ordinal, count: u8, long_ago: bool) -> Failures {
    Failures { ordinal, count: count.into(), last_at: moment(long_ago) }
}

/// A moment that is long ago, or the present one.
fn moment(long_ago: bool) -> Timestamp {
    if long_ago { Timestamp(NOW.0 - LONG_AGO.as_millis() as i64) } else { NOW }
}

/// The set.
pub(super) fn set_ref() -> SetRef {
    SetRef { namespace: "default".to_owned(), name: SET.to_owned(), uid: Uid("set".to_owned()) }
}

/// The present pod of an ordinal.
pub(super) fn pod_uid(ordinal: Ordinal) -> Uid {
    Uid(pod_name(SET, ordinal))
}
