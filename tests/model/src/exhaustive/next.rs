//! Everything that can happen next in a state.

use domain::RetentionRule;

use super::Edited;
use super::commit::{InFlight, Rules, State};
use super::decision::{Write, created};
use super::plans::Plans;
use super::steps::Step;
use super::strangers::Stranger;
use super::world::{BAD, Health, IMAGES, Status, Strategy, World};
use crate::checks::{self, Violation};

impl Plans {
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
        self.collect(state, found)?;
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
        if self.config().strangers {
            state.world.only_its_own_are_members(self.config().mutant)?;
        }
        let plan = self.of(&state.world);
        let writes = self.writes(plan);
        if let Some(Write::Status(status)) = writes.last() {
            checks::status(&state.world.view(self.config()), &counted(status), &counted(&state.world.status))?;
        }
        if !writes.is_empty() {
            let fresh = InFlight::new(plan);
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
                next.write(*write, slot, company, self.config()).map_err(|violation| (step, violation))?;
            }
            let under_way = next.plans[slot].as_mut().expect("it was under way");
            under_way.next += count as u8;
            next.plans[slot] = next.plans[slot].filter(|plan| usize::from(plan.next) < writes.len());
            found.push((step, self.pruned(next)));
            Ok(())
        };
        let rules = Rules::of(self.config().mutant);
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

    /// What becomes of silent machines.
    fn machines(&self, state: &State, found: &mut Vec<(Step, State)>) {
        let mutant = self.config().mutant;
        for (place, number) in (0..state.world.pods.len()).zip(0..) {
            let mut then = |step: Step, change: &dyn Fn(&mut State)| {
                let mut next = *state;
                change(&mut next);
                if next != *state {
                    found.push((step, self.pruned(next)));
                }
            };
            if state.world.machines.silent & (1 << place) != 0 {
                then(Step::ComeBack(number), &|next| next.come_back(place));
                then(Step::Die(number), &|next| next.die(place));
            }
            then(Step::Fence(number), &|next| _ = next.release_pod(place, mutant));
            then(Step::GhostEnds(number), &|next| next.end_ghost(place));
        }
    }

    /// What machines do by themselves.
    fn work(&self, state: &State, found: &mut Vec<(Step, State)>) {
        if self.config().machines {
            self.machines(state, found);
        }
        for (place, pod) in state.world.pods().filter(|(place, _)| !state.world.machines.is_away(*place)) {
            let number = place as u8;
            if pod.terminating {
                let mut next = *state;
                next.remove(place);
                found.push((Step::Vanish(number), self.pruned(next)));
            }
            match pod.health {
                Health::Pending if !pod.terminating && state.world.can_start(place, self.config()) => {
                    let alone = pod.image == BAD || !state.world.has_peers(place, self.config());
                    let health = if alone { Health::Broken } else { Health::Ready };
                    found.push((Step::Start(number), self.changed(state, place, health)));
                }
                Health::Ready if !state.world.has_peers(place, self.config()) => {
                    found.push((Step::Alone(number), self.changed(state, place, Health::Broken)));
                }
                Health::Broken
                    if !pod.terminating && pod.image != BAD && state.world.has_peers(place, self.config()) =>
                {
                    found.push((Step::Recover(number), self.changed(state, place, Health::Ready)));
                }
                _ => {}
            }
        }
        if let Some(stranger) = state.world.stranger {
            let mut next = *state;
            if stranger.terminating {
                next.remove_stranger()
            } else {
                next.delete_stranger()
            }
            let step = if stranger.terminating { Step::StrangerGone } else { Step::DeleteStranger };
            found.push((step, self.pruned(next)));
        }
        let mut later = *state;
        later.world.wait();
        if later.world != state.world {
            found.push((Step::Wait, later));
        }
    }

    /// What the collector does, and claims that go.
    fn collect(&self, state: &State, found: &mut Vec<(Step, State)>) -> Result<(), (Step, Violation)> {
        for place in 0..state.world.claims.len() {
            let number = place as u8;
            let mut next = *state;
            if state.world.claim_can_go(place) {
                next.remove_claim(place);
                found.push((Step::ClaimGone(number), self.pruned(next)));
            } else if next.collect(place, self.config()).map_err(|violation| (Step::Collect(number), violation))? {
                found.push((Step::Collect(number), self.pruned(next)));
            }
        }
        Ok(())
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
            let away = state.world.machines.is_away(place);
            if self.config().machines && !away && pod.health != Health::Failed {
                let mut next = before;
                next.silence(place);
                found.push((Step::Silence(number), next));
            }
            if pod.health == Health::Ready && !away {
                found.push((Step::Break(number), self.changed(&before, place, Health::Broken)));
            }
            if pod.health != Health::Failed && !pod.terminating {
                if !away {
                    found.push((Step::Fail(number), self.changed(&before, place, Health::Failed)));
                }
                let mut next = before;
                next.delete(place);
                found.push((Step::Delete(number), self.pruned(next)));
            }
        }
        for (place, _) in state.world.claims().filter(|(_, claim)| !claim.going) {
            let mut next = before;
            next.delete_claim(place);
            found.push((Step::DeleteClaim(place as u8), self.pruned(next)));
        }
        if self.config().strangers && state.world.stranger.is_none() {
            self.strangers(&before, found);
        }
    }

    /// Pods that are no members turn up.
    fn strangers(&self, before: &State, found: &mut Vec<(Step, State)>) {
        for stranger in Stranger::all(&before.world, self.config()) {
            let mut next = *before;
            next.world.stranger = Some(stranger);
            found.push((Step::Appear(stranger), self.pruned(next)));
        }
        for (place, _) in before.world.pods() {
            let mut next = *before;
            next.relabel(place);
            found.push((Step::Relabel(place as u8), self.pruned(next)));
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
        for number in 0..=self.config().ordinals {
            edit(Step::Replicas(number), &|world| world.replicas = number);
        }
        if self.config().claims.is_some() {
            for rule in [RetentionRule::Retain, RetentionRule::Delete] {
                edit(Step::WhenScaled(rule), &|world| world.when_scaled = rule);
            }
        }
        if self.config().edited == Edited::Scale {
            return;
        }
        for image in 0..IMAGES.len() as u8 {
            edit(Step::Image(image), &|world| world.image = image);
        }
        for number in 0..=self.config().ordinals {
            let partition = Strategy::RollingUpdate { partition: number };
            edit(Step::Strategy(partition), &|world| world.strategy = partition);
        }
        edit(Step::Strategy(Strategy::OnDelete), &|world| world.strategy = Strategy::OnDelete);
    }

    /// The state once a pod is like this.
    fn changed(&self, state: &State, place: usize, health: Health) -> State {
        let mut next = *state;
        let aged = state.world.has_had_its_time(health, self.config());
        if let Some(pod) = &mut next.world.pods[place] {
            (pod.health, pod.aged) = (health, aged);
        }
        next.touched(place, false);
        self.pruned(next)
    }

    /// Without the plans whose next write can never be committed: refused, they change nothing.
    fn pruned(&self, mut state: State) -> State {
        let rules = Rules::of(self.config().mutant);
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

/// Whether a write that is refused now may be taken later: a creation, once the pod or claim that has its place is gone.
fn may_come(write: Write, world: &World) -> bool {
    match write {
        Write::Create { ordinal, .. } => !world.is_free(ordinal.into()),
        Write::CreateClaim { .. } => true,
        _ => false,
    }
}

fn counted(status: &Status) -> checks::Counted {
    let [replicas, ready, available, current_replicas, updated] = status.counts.map(u32::from);
    checks::Counted {
        replicas,
        ready,
        available,
        current_replicas,
        updated,
        current: status.current,
        update: status.update,
    }
}
