//! L2, L3 and S19: from any world, with faults off, the set comes to its spec, and then nothing is written any more.
//!
//! The schedule is fair and fixed: machines do everything that is due, then one pass is decided and committed whole.
//! People make one last, sensible wish first: a template that works (L3: and nothing else is needed to undo a bad one).

use std::collections::HashSet;

use super::commit::State;
use super::decision::{Write, created};
use super::steps::Plans;
use super::world::{BAD, Health, World, letter};
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
            let next = self.round(&world)?;
            if next == world {
                self.at_rest(&world)?;
                way.push(world);
                self.heal.extend(way);
                return Ok(());
            }
            way.push(world);
            world = next;
        }
        hold("L2", false, || format!("does not come to rest in {ROUNDS_MAX} rounds; it goes on at {world}"))
    }

    /// One round of work, and one pass.
    fn round(&self, world: &World) -> Result<World, Violation> {
        let mut world = *world;
        self.wish(&mut world);
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

    /// People ask for a template that works. Where a partition keeps pods at a revision that does not, they lift it.
    /// Where pods out of range that are not healthy hold up the scale-down, as in Kubernetes, they remove those.
    fn wish(&self, world: &mut World) {
        let before = *world;
        if world.image == BAD {
            world.image = 0;
        }
        if world.partition > 0 && world.current(self.plans.config()) == BAD {
            world.partition = 0;
        }
        if !self.plans.config().switches.remove_broken_condemned {
            for ordinal in usize::from(world.replicas)..world.pods.len() {
                world.pods[ordinal] = world.pods[ordinal].filter(|pod| pod.health == Health::Ready);
            }
        }
        let edited = (world.image, world.partition) != (before.image, before.partition);
        world.observed &= !edited;
    }

    /// The set is as its spec says, its status too, and a further pass writes nothing.
    fn at_rest(&self, world: &World) -> Result<(), Violation> {
        let plan = self.plans.writes(self.plans.of(world));
        let writes = |write: &Write| !matches!(write, Write::Status(_));
        hold("S19", plan.is_empty(), || format!("a pass over a set at rest writes {plan:?}; at {world}"))?;
        let view = world.view(self.plans.config());
        let wrong = (0..world.pods.len()).find(|ordinal| match world.pods[*ordinal] {
            None => view.in_range[*ordinal],
            Some(pod) => {
                let outdated = view.updatable(*ordinal) && pod.image != world.image;
                !view.in_range[*ordinal] || !view.healthy(*ordinal) || outdated
            }
        });
        hold("L2", wrong.is_none(), || {
            let (_, answer) = self.plans.desk().ask(world);
            let waits: Vec<String> =
                answer.order.waits.iter().chain(&answer.update.waits).map(|wait| wait.reason.to_string()).collect();
            let ordinal = wrong.unwrap_or_default();
            let acts = plan.iter().any(writes);
            format!("ordinal {ordinal} never comes right (acts: {acts}, waits: {}); at {world}", waits.join("; "))
        })?;
        let count = |image| world.pods().filter(|(_, pod)| pod.image == image).count() as u8;
        let all = world.replicas;
        let expected = [all, all, all, count(world.status.current), count(world.image)];
        let right = world.status.counts == expected && world.status.update == world.image && world.observed;
        hold("S21", right, || format!("the status of a set at rest is wrong, not {expected:?}; at {world}"))?;
        let complete = count(world.image) == all && (all > 0 || world.partition == 0);
        let promoted = !complete || world.status.current == world.image;
        hold("S21", promoted, || format!("every pod is updated and {} is not current; at {world}", letter(world.image)))
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
