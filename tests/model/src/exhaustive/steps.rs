//! Everything that can happen next in a state.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use super::Config;
use super::commit::{InFlight, Rules, State};
use super::decision::{Desk, Write, created};
use super::world::{BAD, Health, IMAGES, Status, Strategy, World, letter};
use crate::checks::Violation;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A coordinator looks and decides.
    Decide,
    /// Another coordinator looks and decides, while the plan of the first is under way. A fault.
    DecideBesides,
    /// The next write of a plan is committed alone; the newer plan is 0.
    CommitOne(u8),
    /// All that is left of a plan is committed at once.
    CommitRest(u8),
    /// What is left of a plan is refused: something has changed since it was decided.
    Refuse(u8),
    /// A plan is lost: its coordinator has crashed, or a message has. A fault.
    Lose(u8),
    /// The containers of a pod start.
    Start(u8),
    /// A pod that was asked to go is gone.
    Vanish(u8),
    /// A pod of a good template is ready again.
    Recover(u8),
    /// Time passes.
    Wait,
    /// A pod stops being ready. A fault.
    Break(u8),
    /// A pod ends. A fault.
    Fail(u8),
    /// Somebody deletes a pod. A fault.
    Delete(u8),
    /// Somebody changes the template.
    Image(u8),
    /// Somebody scales the set.
    Replicas(u8),
    /// Somebody changes the strategy, or moves its partition.
    Strategy(Strategy),
}

/// Decisions that have been made, each once.
#[derive(Debug)]
pub struct Plans {
    config: Config,
    desk: Desk,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_world: HashMap<World, u32>,
    by_writes: HashMap<Arc<[Write]>, u32>,
    writes: Vec<Arc<[Write]>>,
}

impl Plans {
    /// None yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), desk: Desk::new(config), known: RwLock::default() }
    }

    /// The desk at which they are made.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// What kind of set they are about.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The decision of a world.
    pub fn of(&self, world: &World) -> u32 {
        if let Some(plan) = self.known.read().expect("nobody panics with it").by_world.get(world) {
            return *plan;
        }
        let writes: Arc<[Write]> = self.desk.writes(world).into();
        let mut known = self.known.write().expect("nobody panics with it");
        let next = known.writes.len() as u32;
        let plan = *known.by_writes.entry(Arc::clone(&writes)).or_insert(next);
        if plan == next {
            known.writes.push(writes);
        }
        known.by_world.insert(*world, plan);
        plan
    }

    /// The writes of a decision.
    pub fn writes(&self, plan: u32) -> Arc<[Write]> {
        Arc::clone(&self.known.read().expect("nobody panics with it").writes[plan as usize])
    }

    /// How many worlds were decided about.
    pub fn decided(&self) -> usize {
        self.known.read().expect("nobody panics with it").by_world.len()
    }

    /// Every state that can be next, with the step that leads there.
    ///
    /// # Errors
    /// The first step that breaks a rule.
    pub fn next(&self, state: &State, found: &mut Vec<(Step, State)>) -> Result<(), (Step, Violation)> {
        self.decide(state, found).map_err(|violation| (Step::Decide, violation))?;
        for slot in 0..state.plans.len() {
            self.commit(state, slot, found)?;
        }
        self.work(state, found);
        if state.faults > 0 {
            self.faults(state, found);
        }
        if state.edits > 0 {
            self.edits(state, found);
        }
        Ok(())
    }

    fn decide(&self, state: &State, found: &mut Vec<(Step, State)>) -> Result<(), Violation> {
        let (step, faults, older) = match state.plans {
            [None, older] => (Step::Decide, state.faults, older),
            [Some(plan), None] if state.faults > 0 => (Step::DecideBesides, state.faults - 1, Some(plan)),
            _ => return Ok(()),
        };
        let plan = self.of(&state.world);
        let writes = self.writes(plan);
        if let Some(Write::Status(status)) = writes.last() {
            crate::checks::status(&state.world.view(&self.config), &counted(status), &counted(&state.world.status))?;
        }
        if !writes.is_empty() {
            let fresh = InFlight { plan, next: 0, set_changed: false, changed: 0, replaced: 0 };
            found.push((step, State { plans: [Some(fresh), older], faults, ..*state }));
        }
        Ok(())
    }

    fn commit(&self, state: &State, slot: usize, found: &mut Vec<(Step, State)>) -> Result<(), (Step, Violation)> {
        let Some(plan) = state.plans[slot] else { return Ok(()) };
        let writes = self.writes(plan.plan);
        let left = &writes[usize::from(plan.next)..];
        let number = slot as u8;
        let mut push = |step: Step, count: usize| -> Result<(), (Step, Violation)> {
            let mut next = *state;
            for (place, write) in left[..count].iter().enumerate() {
                let company = created(&writes[..usize::from(plan.next) + place]);
                next.write(*write, slot, company, &self.config).map_err(|violation| (step, violation))?;
            }
            let under_way = next.plans[slot].as_mut().expect("it was under way");
            under_way.next += count as u8;
            next.plans[slot] = next.plans[slot].filter(|plan| usize::from(plan.next) < writes.len());
            found.push((step, self.pruned(next)));
            Ok(())
        };
        let rules = Rules::of(self.config.mutant);
        if !rules.refuse(left[0], plan, &state.world) {
            push(Step::CommitOne(number), 1)?;
        }
        if left.iter().any(|write| rules.refuse(*write, plan, &state.world)) {
            let mut next = *state;
            next.plans[slot] = None;
            found.push((Step::Refuse(number), next));
        } else if left.len() > 1 {
            push(Step::CommitRest(number), left.len())?;
        }
        Ok(())
    }

    /// What machines do by themselves.
    fn work(&self, state: &State, found: &mut Vec<(Step, State)>) {
        for (place, pod) in state.world.pods() {
            let number = place as u8;
            if pod.terminating {
                let mut next = *state;
                next.remove(place);
                found.push((Step::Vanish(number), self.pruned(next)));
            }
            match pod.health {
                Health::Pending if !pod.terminating => {
                    let health = if pod.image == BAD { Health::Broken } else { Health::Ready };
                    found.push((Step::Start(number), self.changed(state, place, health)));
                }
                Health::Broken if !pod.terminating && pod.image != BAD => {
                    found.push((Step::Recover(number), self.changed(state, place, Health::Ready)));
                }
                _ => {}
            }
        }
        let mut later = *state;
        later.world.wait();
        if later.world != state.world {
            found.push((Step::Wait, later));
        }
    }

    fn faults(&self, state: &State, found: &mut Vec<(Step, State)>) {
        let before = State { faults: state.faults - 1, ..*state };
        for (slot, _) in state.plans.iter().enumerate().filter(|(_, plan)| plan.is_some()) {
            let mut next = before;
            next.plans[slot] = None;
            found.push((Step::Lose(slot as u8), next));
        }
        for (place, pod) in state.world.pods() {
            let number = place as u8;
            if pod.health == Health::Ready {
                found.push((Step::Break(number), self.changed(&before, place, Health::Broken)));
            }
            if pod.health != Health::Failed && !pod.terminating {
                found.push((Step::Fail(number), self.changed(&before, place, Health::Failed)));
                let mut next = before;
                next.delete(place);
                found.push((Step::Delete(number), self.pruned(next)));
            }
        }
    }

    fn edits(&self, state: &State, found: &mut Vec<(Step, State)>) {
        let mut edit = |step: Step, change: &dyn Fn(&mut World)| {
            let mut next = State { edits: state.edits - 1, ..*state };
            change(&mut next.world);
            if next.world != state.world {
                next.world.observed = false;
                next.set_touched();
                found.push((step, self.pruned(next)));
            }
        };
        for image in 0..IMAGES.len() as u8 {
            edit(Step::Image(image), &|world| world.image = image);
        }
        for number in 0..=self.config.ordinals {
            edit(Step::Replicas(number), &|world| world.replicas = number);
            let partition = Strategy::RollingUpdate { partition: number };
            edit(Step::Strategy(partition), &|world| world.strategy = partition);
        }
        edit(Step::Strategy(Strategy::OnDelete), &|world| world.strategy = Strategy::OnDelete);
    }

    /// The state once a pod is like this.
    fn changed(&self, state: &State, place: usize, health: Health) -> State {
        let mut next = *state;
        let aged = state.world.has_had_its_time(health, &self.config);
        if let Some(pod) = &mut next.world.pods[place] {
            (pod.health, pod.aged) = (health, aged);
        }
        next.touched(place, false);
        self.pruned(next)
    }

    /// Without the plans whose next write can never be committed: refused, they change nothing.
    fn pruned(&self, mut state: State) -> State {
        let rules = Rules::of(self.config.mutant);
        for plan in &mut state.plans {
            let refused = |plan: &InFlight| {
                let write = self.writes(plan.plan)[usize::from(plan.next)];
                rules.refuse(write, *plan, &state.world) && !may_come(write, &state.world)
            };
            *plan = plan.filter(|plan| !refused(plan));
        }
        state
    }
}

/// Whether a write that is refused now may be taken later: a creation, once the pod that has its place is gone.
fn may_come(write: Write, world: &World) -> bool {
    matches!(write, Write::Create { ordinal, .. } if world.pods[usize::from(ordinal)].is_some())
}

fn counted(status: &Status) -> crate::checks::Counted {
    let [replicas, ready, available, current_replicas, updated] = status.counts.map(u32::from);
    crate::checks::Counted {
        replicas,
        ready,
        available,
        current_replicas,
        updated,
        current: status.current,
        update: status.update,
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = |slot: &u8| if *slot == 0 { "the plan" } else { "the older plan" };
        match self {
            Self::Decide => f.write_str("a coordinator looks and decides"),
            Self::DecideBesides => f.write_str("FAULT: another coordinator decides too"),
            Self::CommitOne(slot) => write!(f, "the next write of {} is committed", plan(slot)),
            Self::CommitRest(slot) => write!(f, "the rest of {} is committed", plan(slot)),
            Self::Refuse(slot) => write!(f, "the rest of {} is refused", plan(slot)),
            Self::Lose(slot) => write!(f, "FAULT: {} is lost", plan(slot)),
            Self::Start(ordinal) => write!(f, "pod {ordinal} starts"),
            Self::Vanish(ordinal) => write!(f, "pod {ordinal} is gone"),
            Self::Recover(ordinal) => write!(f, "pod {ordinal} is ready again"),
            Self::Wait => f.write_str("time passes"),
            Self::Break(ordinal) => write!(f, "FAULT: pod {ordinal} is not ready any more"),
            Self::Fail(ordinal) => write!(f, "FAULT: pod {ordinal} ends"),
            Self::Delete(ordinal) => write!(f, "FAULT: somebody deletes pod {ordinal}"),
            Self::Image(image) => write!(f, "EDIT: template {}", letter(*image)),
            Self::Replicas(number) => write!(f, "EDIT: {number} replicas"),
            Self::Strategy(strategy) => write!(f, "EDIT: {strategy}"),
        }
    }
}
