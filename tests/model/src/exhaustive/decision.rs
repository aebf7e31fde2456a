//! What the real planners answer in a world, as the list of writes that the executor makes of it.

use std::fmt;

use domain::{Failures, Guard, Ordinal, OrdinalPlan, PodDeletion, RevisionChange, SetStatus, Snapshot};

use super::claims::{Owner, question};
use super::desk::{Decision, Desk, NOW};
use super::world::{FAILURES_MAX, NONE, Status, World, letter};
use crate::checks::Cause;
use crate::planners::Answer;

/// One write, and which pods it rests on besides the one it changes, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// A revision record is created.
    AddRevision(u8),
    /// A revision record becomes the newest.
    RenewRevision(u8),
    /// A revision record is deleted.
    Prune(u8),
    /// The stranger, which nobody controls, becomes the member of an ordinal.
    Adopt(u8),
    /// The set controls the stranger no more.
    Release,
    /// A claim gets another owner.
    Own {
        /// Whose it is.
        ordinal: u8,
        /// Who owns it from now on.
        owner: Owner,
    },
    /// A claim is created.
    CreateClaim {
        /// Whose it is.
        ordinal: u8,
        /// Who owns it from the first.
        owner: Owner,
    },
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

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddRevision(image) => write!(f, "create revision {}", letter(*image)),
            Self::RenewRevision(image) => write!(f, "renumber revision {}", letter(*image)),
            Self::Prune(image) => write!(f, "delete revision {}", letter(*image)),
            Self::Adopt(ordinal) => write!(f, "adopt pod {ordinal}"),
            Self::Release => f.write_str("let go of the stray pod"),
            Self::Own { ordinal, owner } => write!(f, "give claim {ordinal} to {owner:?}"),
            Self::CreateClaim { ordinal, owner } => write!(f, "create claim {ordinal} of {owner:?}"),
            Self::Create { ordinal, image, .. } => write!(f, "create pod {ordinal} of {}", letter(*image)),
            Self::Delete { ordinal, cause, .. } => write!(f, "delete pod {ordinal} ({cause:?})"),
            Self::Status(_) => f.write_str("write the status"),
        }
    }
}

impl Desk {
    /// The writes of one pass, in the executor's order.
    #[must_use]
    pub fn writes(&self, world: &World) -> Vec<Write> {
        if let Some(write) = world.taking_over(self.mutant()) {
            return vec![write];
        }
        let Decision { snapshot, answer: Answer { update, order }, claims } = self.ask(world);
        let revisions = update.revisions.iter().map(|change| self.revision_change(change));
        let created = order.create.iter().map(|creation| Write::Create {
            ordinal: number(creation.ordinal.0),
            image: self.image(&creation.revision),
            guard: guarded(world, creation.ordinal, creation.guard),
        });
        let mut writes: Vec<Write> = revisions.chain(question::writes(&claims)).chain(created).collect();
        let ended = |deletion: &PodDeletion| snapshot.spec.contains(deletion.ordinal);
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
        let status = self.status_after(&snapshot, &update.status, &order);
        // The generation is one higher than the observed one where that lags.
        let observes = !world.observed && update.status.observed_generation > 1;
        writes.extend((status != world.status || observes).then_some(Write::Status(status)));
        writes
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
}

/// The pods that these writes create, as bits.
#[must_use]
pub fn created(writes: &[Write]) -> u8 {
    writes.iter().fold(0, |bits, write| match write {
        Write::Create { ordinal, .. } => bits | 1 << ordinal,
        _ => bits,
    })
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
