//! L2, L3 and S19: from any world, with faults off, the set comes to its spec, and then nothing is written any more.
//!
//! The schedule is fair and fixed: machines do everything that is due, then one pass is decided and committed whole.
//! People make one last, sensible wish first: a template that works (L3: and nothing else is needed to undo a bad one).
//! Where the set then waits for them and rests, they do what it waits for, and it goes on.

use std::collections::HashSet;

use super::commit::State;
use super::decision::created;
use super::steps::Plans;
use super::world::{BAD, Health, World};
use super::{people, rest};
use crate::checks::{Violation, hold};

/// Rounds that a set of a few pods may take to heal; it takes a few per pod and revision.
const ROUNDS_MAX: usize = 200;

/// Heals worlds, and remembers which heal.
pub(super) struct Healer<'a> {
    plans: &'a Plans,
    heal: HashSet<World>,
}

impl<'a> Healer<'a> {
    pub(super) fn new(plans: &'a Plans) -> Self {
        Self { plans, heal: HashSet::new() }
    }

    /// Whether a world heals.
    pub(super) fn heals(&mut self, world: &World) -> Result<(), Violation> {
        let mut way = Vec::new();
        let mut world = *world;
        for _ in 0..ROUNDS_MAX {
            if self.heal.contains(&world) {
                self.heal.extend(way);
                return Ok(());
            }
            way.push(world);
            let mut next = self.round(&world)?;
            if next == world {
                rest::check(self.plans, &world)?;
                let Some(helped) = people::help(&world) else {
                    self.heal.extend(way);
                    return Ok(());
                };
                next = helped;
            }
            world = next;
        }
        hold("L2", false, || format!("does not come to rest in {ROUNDS_MAX} rounds; it goes on at {world}"))
    }

    /// One round of work, and one pass.
    fn round(&self, world: &World) -> Result<World, Violation> {
        let mut world = *world;
        people::wish(&mut world, self.plans.config());
        work(&mut world);
        let plan = self.plans.of(&world);
        let under_way = super::commit::InFlight { plan, next: 0, set_changed: false, changed: 0, replaced: 0 };
        let mut state = State { world, plans: [Some(under_way), None], edits: 0, faults: 0 };
        let writes = self.plans.writes(plan);
        for (done, write) in writes.iter().enumerate() {
            state.write(*write, 0, created(&writes[..done]), self.plans.config())?;
        }
        Ok(state.world)
    }
}

/// Machines do everything that is due.
fn work(world: &mut World) {
    for place in &mut world.pods {
        let Some(pod) = place else { continue };
        match pod.health {
            _ if pod.terminating => *place = None,
            Health::Pending if pod.image == BAD => pod.health = Health::Broken,
            Health::Pending | Health::Broken if pod.image != BAD => (pod.health, pod.aged) = (Health::Ready, false),
            _ => {}
        }
    }
    world.wait();
}
