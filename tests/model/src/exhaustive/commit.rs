//! The executor: a plan under way, and what a store with conditional commits takes of it.
//!
//! The coordinator commits a plan in pieces. Each piece rests on the set being unchanged, each deletion on the version
//! of its pod, each write on the pods that its guard names. What does not hold refuses the piece, and with it the rest
//! of the plan.

use super::Config;
use super::decision::Write;
use super::world::{Health, NONE, Pod, World};
use crate::Mutant;
use crate::checks::{self, Cause, View, Violation};

/// Plans under way at once: one coordinator's, and that of another which lags.
pub const PLANS_MAX: usize = 2;

/// A plan that has been decided and not been committed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InFlight {
    /// Which ([`super::plans::Plans`]).
    pub plan: u32,
    /// How many of its writes are done.
    pub next: u8,
    /// Whether the set has changed since it was decided.
    pub set_changed: bool,
    /// Pods that have changed since, as bits.
    pub changed: u8,
    /// Pods that are another incarnation since, as bits.
    pub replaced: u8,
    /// Claims that others have changed since, as bits.
    pub claims_changed: u8,
}

impl InFlight {
    /// Just decided.
    #[must_use]
    pub fn new(plan: u32) -> Self {
        Self { plan, next: 0, set_changed: false, changed: 0, replaced: 0, claims_changed: 0 }
    }

    /// Whether a pod is another incarnation than the one that was seen.
    pub(super) fn has_lost(self, place: usize) -> bool {
        self.replaced & (1 << place) != 0
    }

    /// Whether others have changed a claim since.
    pub(super) fn finds_changed(self, place: usize) -> bool {
        self.claims_changed & (1 << place) != 0
    }
}

/// World, plans under way, and how much may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// What is stored.
    pub world: World,
    /// The newer plan, and an older one.
    pub plans: [Option<InFlight>; PLANS_MAX],
    /// Edits that are left.
    pub edits: u8,
    /// Faults that are left.
    pub faults: u8,
}

/// How a deletion says which pod it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// By the version that was seen: ours.
    Version,
    /// By its uid.
    Uid,
    /// By its name, as Kubernetes does.
    Name,
}

/// What the store checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// That the set is the one that was seen.
    pub set: bool,
    /// Which pod a deletion means.
    pub target: Target,
    /// That the guarded pods are those that were seen.
    pub guards: bool,
}

impl Rules {
    /// Ours, save for what the mutant takes away.
    #[must_use]
    pub fn of(mutant: Option<Mutant>) -> Self {
        let ours = Self { set: true, target: Target::Version, guards: true };
        match mutant {
            Some(Mutant::DeleteByName) => Self { target: Target::Name, ..ours },
            Some(Mutant::UnguardedWrites) => Self { target: Target::Uid, guards: false, ..ours },
            Some(Mutant::StaleSpec) => Self { set: false, ..ours },
            _ => ours,
        }
    }

    /// Whether the store refuses the write now.
    #[must_use]
    pub fn refuse(self, write: Write, plan: InFlight, world: &World) -> bool {
        let bits_of = |guard: u8| self.guards && plan.changed & guard != 0;
        let of_write = match write {
            Write::Adopt(_) | Write::Release => plan.finds_another_stranger(),
            Write::Own { ordinal, .. } => plan.finds_changed(ordinal.into()),
            Write::CreateClaim { ordinal, .. } => world.claims[usize::from(ordinal)].is_some(),
            Write::Create { ordinal, guard, .. } => !world.is_free(ordinal.into()) || bits_of(guard),
            Write::Delete { ordinal, guard, .. } => {
                let own = 1 << ordinal;
                (self.target == Target::Version && plan.changed & own != 0) || bits_of(guard & !own)
            }
            Write::AddRevision(image) => world.stored().any(|stored| stored == image),
            Write::RenewRevision(image) | Write::Prune(image) => world.stored().all(|stored| stored != image),
            Write::Status(_) => false,
        };
        of_write || (self.set && plan.set_changed)
    }

    /// Whether a deletion finds what it means; if not it does nothing.
    fn hits(self, ordinal: u8, plan: InFlight, world: &World) -> bool {
        let exists = world.pods[usize::from(ordinal)].is_some();
        exists && (self.target == Target::Name || !plan.has_lost(ordinal.into()))
    }
}

impl State {
    /// Does one write of the plan in `slot`, and checks it. `company` are the pods that the plan has created before, as
    /// bits.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn write(&mut self, write: Write, slot: usize, company: u8, config: &Config) -> Result<(), Violation> {
        let rules = Rules::of(config.mutant);
        let plan = self.plans[slot].expect("this plan is under way");
        let view = View { company, ..self.world.view(config) };
        match write {
            Write::AddRevision(image) => {
                let free = self.world.history.iter().position(|stored| *stored == NONE);
                self.world.history[free.expect("as many places as templates")] = image;
            }
            Write::RenewRevision(image) => self.world.forget_revision(image, Some(image)),
            Write::Prune(image) => {
                checks::s20_live_revisions_stay(&view, image)?;
                self.world.forget_revision(image, None);
            }
            Write::Adopt(ordinal) => self.adopt(ordinal.into(), config)?,
            Write::Release => self.release(),
            Write::Own { ordinal, owner } => self.own(ordinal.into(), owner, slot),
            Write::CreateClaim { ordinal, owner } => self.create_claim(ordinal.into(), owner, slot),
            Write::Create { ordinal, image, .. } => self.create(ordinal.into(), image, &view, plan, config)?,
            Write::Delete { ordinal, cause, .. } if rules.hits(ordinal, plan, &self.world) => {
                self.delete_for(ordinal.into(), cause, &view, plan)?;
            }
            Write::Delete { .. } => {}
            Write::Status(status) => {
                self.world.status = status;
                self.world.observed = true;
                self.set_touched();
            }
        }
        Ok(())
    }

    /// A plan creates a pod.
    fn create(
        &mut self,
        place: usize,
        image: u8,
        view: &View,
        plan: InFlight,
        config: &Config,
    ) -> Result<(), Violation> {
        checks::creation(view, place, image)?;
        checks::s2_no_name_twice(place, self.world.is_taken(place))?;
        checks::s1_predecessor_has_ended(place, self.world.machines.has_ghost(place))?;
        if config.claims.is_some() {
            self.world.claim_is_there(place, plan.finds_changed(place))?;
        }
        let aged = self.world.has_had_its_time(Health::Pending, config);
        self.world.pods[place] = Some(Pod { health: Health::Pending, aged, terminating: false, image });
        self.touched(place, false);
        Ok(())
    }

    /// A plan deletes a pod.
    fn delete_for(&mut self, place: usize, cause: Cause, view: &View, plan: InFlight) -> Result<(), Violation> {
        checks::s13_only_the_observed_pod(place, plan.has_lost(place))?;
        checks::deletion(view, place, cause)?;
        if cause == Cause::ScaleDown {
            self.world.claim_is_handed_over(place)?;
        }
        self.delete(place);
        Ok(())
    }

    /// A pod is asked to go: at once if it has ended, else in its time.
    pub fn delete(&mut self, place: usize) {
        match &mut self.world.pods[place] {
            Some(pod) if pod.health == Health::Failed => self.remove(place),
            Some(pod) => {
                pod.terminating = true;
                self.touched(place, false);
            }
            None => {}
        }
    }

    /// A pod is gone.
    pub fn remove(&mut self, place: usize) {
        self.world.pods[place] = None;
        self.world.claim_outlives_pod(place);
        self.touched(place, true);
    }

    /// Plans under way no longer rest on this pod.
    pub fn touched(&mut self, place: usize, replaced: bool) {
        for plan in self.plans.iter_mut().flatten() {
            plan.changed |= 1 << place;
            plan.replaced |= u8::from(replaced) << place;
        }
    }

    /// Plans under way no longer rest on this set.
    pub fn set_touched(&mut self) {
        for plan in self.plans.iter_mut().flatten() {
            plan.set_changed = true;
        }
    }
}

impl World {
    /// Whether nobody has the name of this ordinal's pod.
    #[must_use]
    pub fn is_free(&self, place: usize) -> bool {
        self.pods[place].is_none() && !self.is_taken(place)
    }

    /// Takes a revision record out, and puts `newest` at the end.
    fn forget_revision(&mut self, image: u8, newest: Option<u8>) {
        let mut history = [NONE; super::world::IMAGES.len()];
        let kept = self.stored().filter(|stored| *stored != image).chain(newest);
        kept.zip(&mut history).for_each(|(image, place)| *place = image);
        self.history = history;
    }
}
