//! L2, L3 and S19: from any world, with faults off, the set comes to its spec, and then nothing is written any more.
//!
//! The schedule is fair and fixed: machines do everything that is due, then one pass is decided and committed whole.
//! People make one last, sensible wish first: a template that works (L3: and nothing else is needed to undo a bad one).
//! Where the set then waits for them and rests, they do what it waits for, and it goes on.

use super::commit::{InFlight, PLANS_MAX, State};
use super::decision::created;
use super::hash::HashSet;
use super::plans::Plans;
use super::world::{BAD, Health, Pod, World};
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
        Self { plans, heal: HashSet::default() }
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
        let mut state = State { world, plans: [None; PLANS_MAX], edits: 0, faults: 0 };
        self.work(&mut state)?;
        let plan = self.plans.of(&state.world);
        state.plans[0] = Some(InFlight::new(plan));
        let writes = self.plans.writes(plan);
        for (done, write) in writes.iter().enumerate() {
            state.write(*write, 0, created(&writes[..done]), self.plans.config())?;
        }
        Ok(state.world)
    }

    /// Machines and the collector do everything that is due.
    fn work(&self, state: &mut State) -> Result<(), Violation> {
        for place in 0..state.world.pods.len() {
            // Machines come back, or somebody says that they will not.
            state.come_back(place);
            state.release_pod(place, None);
            state.end_ghost(place);
            if state.world.pods[place].is_some_and(|pod| pod.terminating) {
                state.remove(place);
            }
            let can_start = state.world.can_start(place, self.plans.config());
            state.world.pods[place].iter_mut().for_each(|pod| start(pod, can_start));
            if state.world.claim_can_go(place) {
                state.remove_claim(place);
            }
            state.collect(place, self.plans.config())?;
        }
        if state.world.stranger.is_some_and(|stranger| stranger.terminating) {
            state.remove_stranger();
        }
        for place in 0..state.world.pods.len() {
            let company = state.world.has_peers(place, self.plans.config());
            state.world.pods[place].iter_mut().for_each(|pod| get_ready(pod, company));
        }
        state.world.wait();
        Ok(())
    }
}

/// The containers of a pod start, if they can.
fn start(pod: &mut Pod, can_start: bool) {
    if pod.health == Health::Pending && can_start {
        pod.health = Health::Broken;
    }
}

/// A pod of a good template gets ready, if it has the company that it needs.
fn get_ready(pod: &mut Pod, company: bool) {
    match pod.health {
        Health::Broken if pod.image != BAD && company => (pod.health, pod.aged) = (Health::Ready, false),
        Health::Ready if !company => (pod.health, pod.aged) = (Health::Broken, false),
        _ => {}
    }
}
