//! What the real planners answer in a world, as the list of writes that the executor makes of it.

use std::fmt;
use std::time::Duration;

use domain::{
    Failures, Generation, Guard, IntOrPercent, Ordinal, OrdinalPlan, Phase, PodDeletion, Revision, RevisionChange,
    RevisionName, RollingUpdate, SetRef, SetSpec, SetStatus, Snapshot, Timestamp, Uid, UpdateRequest, UpdateStrategy,
    revision_name,
};

use super::Config;
use super::world::{FAILURES_MAX, Health, IMAGES, NONE, Pod, Status, Strategy, World, letter};
use crate::planners::{Answer, Planners};

/// Revisions that nobody uses and that are kept: few, so that pruning happens.
const HISTORY_LIMIT: i32 = 1;

/// The present moment of every world.
const NOW: Timestamp = Timestamp(1_000_000_000);

/// How long ago something happened that has had its time: longer than any delay the planners know, and shorter than
/// they remember failures.
const LONG_AGO: Duration = Duration::from_secs(400);

/// `minReadySeconds` where pods have to soak.
const SOAK_SECONDS: u32 = 10;

/// One write, and which pods it rests on besides the one it changes, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// A revision record is created.
    AddRevision(u8),
    /// A revision record becomes the newest.
    RenewRevision(u8),
    /// A revision record is deleted.
    Prune(u8),
    /// A pod is created.
    Create {
        /// Where.
        ordinal: u8,
        /// Of which template.
        image: u8,
        /// On which pods it rests.
        guard: u8,
    },
    /// A pod is deleted.
    Delete {
        /// Which.
        ordinal: u8,
        /// Why.
        cause: Cause,
        /// On which pods it rests.
        guard: u8,
    },
    /// The status is written.
    Status(Status),
}

/// Why a pod is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It has ended, and comes back.
    Ended,
    /// It is out of range.
    ScaleDown,
    /// It is outdated.
    Update,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddRevision(image) => write!(f, "create revision {}", letter(*image)),
            Self::RenewRevision(image) => write!(f, "renumber revision {}", letter(*image)),
            Self::Prune(image) => write!(f, "delete revision {}", letter(*image)),
            Self::Create { ordinal, image, .. } => write!(f, "create pod {ordinal} of {}", letter(*image)),
            Self::Delete { ordinal, cause, .. } => write!(f, "delete pod {ordinal} ({cause:?})"),
            Self::Status(_) => f.write_str("write the status"),
        }
    }
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
        let names = std::array::from_fn(|image| revision_name("web", &templates[image], 0));
        Self { config: config.clone(), planners: Planners::new(config.mutant), templates, names }
    }

    /// What the planners answer, in their own words.
    #[must_use]
    pub fn ask(&self, world: &World) -> (UpdateRequest, Answer) {
        let request = self.request(world);
        let answer = self.planners.ask(&request);
        (request, answer)
    }

    /// The writes of one pass, in the executor's order.
    #[must_use]
    pub fn writes(&self, world: &World) -> Vec<Write> {
        let (request, Answer { update, order }) = self.ask(world);
        let revisions = update.revisions.iter().map(|change| self.revision_change(change));
        let created = order.create.iter().map(|creation| Write::Create {
            ordinal: number(creation.ordinal.0),
            image: self.image(&creation.revision),
            guard: guarded(world, creation.ordinal, creation.guard),
        });
        let mut writes: Vec<Write> = revisions.chain(created).collect();
        let ended = |deletion: &PodDeletion| request.snapshot.spec.contains(deletion.ordinal);
        let ordered = order.delete.iter().map(|deletion| {
            let cause = if ended(deletion) { Cause::Ended } else { Cause::ScaleDown };
            (deletion, cause)
        });
        for (deletion, cause) in ordered.chain(update.replace.iter().map(|deletion| (deletion, Cause::Update))) {
            let ordinal = number(deletion.ordinal.0);
            let guard = guarded(world, deletion.ordinal, deletion.guard);
            let again = writes.iter_mut().find_map(|write| match write {
                Write::Delete { ordinal: other, guard, .. } if *other == ordinal => Some(guard),
                _ => None,
            });
            match again {
                Some(known) => *known |= guard,
                None => writes.push(Write::Delete { ordinal, cause, guard }),
            }
        }
        let status = self.status_after(&request.snapshot, &update.status, &order);
        // The generation is one higher than the observed one where that lags.
        let observes = !world.observed && update.status.observed_generation > 1;
        writes.extend((status != world.status || observes).then_some(Write::Status(status)));
        writes
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
            ..SetSpec::default()
        };
        let snapshot = Snapshot {
            set: SetRef { namespace: "default".to_owned(), name: "web".to_owned(), uid: Uid("set".to_owned()) },
            generation: Generation(if world.observed { 1 } else { 2 }),
            spec,
            status: self.status(world),
            pods: world.pods().map(|(ordinal, pod)| self.pod(ordinal, pod)).collect(),
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
            equal_after_defaulting: None,
        }
    }

    fn pod(&self, ordinal: usize, pod: Pod) -> domain::Pod {
        let since = moment(pod.aged);
        domain::Pod {
            ordinal: Ordinal(ordinal as u32),
            uid: Uid(format!("pod-{ordinal}")),
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

    /// What is stored after the pass: the status, and what the planners want to remember.
    fn status_after(&self, snapshot: &Snapshot, computed: &SetStatus, order: &OrdinalPlan) -> Status {
        let counts = [
            computed.replicas,
            computed.ready_replicas,
            computed.available_replicas,
            computed.current_replicas,
            computed.updated_replicas,
        ];
        let mut status = Status {
            counts: counts.map(number),
            current: self.image(&computed.current_revision),
            update: self.image(&computed.update_revision),
            formed: snapshot.formed_by_now().map_or(NONE, |ordinal| number(ordinal.0)),
            cold_start: order.cold_start,
            ..Status::new()
        };
        for Failures { ordinal, count, last_at } in &order.failures {
            status.failures[ordinal.0 as usize] = (number(*count).min(FAILURES_MAX), *last_at < NOW);
        }
        status
    }

    fn revision_change(&self, change: &RevisionChange) -> Write {
        match change {
            RevisionChange::Create(revision) => Write::AddRevision(self.image(&revision.name)),
            RevisionChange::Renumber { name, .. } => Write::RenewRevision(self.image(name)),
            RevisionChange::Prune { name } => Write::Prune(self.image(name)),
        }
    }

    fn name(&self, image: u8) -> RevisionName {
        self.names.get(usize::from(image)).cloned().unwrap_or_default()
    }

    fn image(&self, name: &RevisionName) -> u8 {
        self.names.iter().position(|known| known == name).map_or(NONE, |place| place as u8)
    }
}

/// The pods that these writes create, as bits.
#[must_use]
pub fn created(writes: &[Write]) -> u8 {
    writes.iter().fold(0, |bits, write| match write {
        Write::Create { ordinal, .. } => bits | 1 << ordinal,
        _ => bits,
    })
}

/// What the planners remember of pods that have ended.
fn failures(world: &World) -> Vec<Failures> {
    let counted = (0..).map(Ordinal).zip(world.status.failures).filter(|(_, (count, _))| *count > 0);
    counted.map(|(ordinal, (count, long_ago))| remembered(ordinal, count, long_ago)).collect()
}

fn remembered(ordinal: Ordinal, count: u8, long_ago: bool) -> Failures {
    Failures { ordinal, count: count.into(), last_at: moment(long_ago) }
}

fn moment(long_ago: bool) -> Timestamp {
    if long_ago { Timestamp(NOW.0 - LONG_AGO.as_millis() as i64) } else { NOW }
}

/// The pods that a guard names, as bits.
fn guarded(world: &World, ordinal: Ordinal, guard: Guard) -> u8 {
    match guard {
        Guard::Pod => 0,
        Guard::Predecessors => world.present() & ((1 << ordinal.0) - 1),
        Guard::AllPods => world.present(),
    }
}

fn number(number: u32) -> u8 {
    u8::try_from(number).expect("the worlds of this model are small")
}
