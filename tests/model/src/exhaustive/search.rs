//! Breadth first over every state, on two threads.
//!
//! Each level is done in two strokes: all threads look for the states after those of the level, reading what is known;
//! then each takes the new ones of its own shard into the known. So nothing is locked, and the result does not depend
//! on who is faster.

use std::collections::hash_map::Entry;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::Config;
use super::commit::{PLANS_MAX, State};
use super::hash::{HashMap, HashSet, hash_of};
use super::heal;
use super::plans::Plans;
use super::steps::Step;
use super::world::World;
use crate::checks::Violation;

/// Threads, and shards of what is known. Two: the smallest machines that run these tests have two cores.
const THREADS: usize = 2;

/// Most states that a search keeps: some ten gigabytes.
const STATES_MAX: usize = 60_000_000;

type Known = HashMap<State, Link>;

/// How a state was reached first.
#[derive(Debug, Clone, Copy)]
struct Link {
    id: Id,
    from: Id,
    step: Step,
}

/// Shard, and place within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Id(u32);

impl Id {
    /// Before the first state.
    const START: Self = Self(u32::MAX);
}

/// What a search found.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Ways from one state to another.
    pub transitions: u64,
    /// Different worlds, plans under way and budgets left out; from each the set was healed. None where a rule is broken before that.
    pub worlds: usize,
    /// Worlds for which the planners were asked.
    pub decided: usize,
    /// The longest shortest way to a state, in steps.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// The first rule that was broken, and the shortest way there.
    pub broken: Option<Trace>,
}

/// The shortest history of a violation.
#[derive(Debug)]
pub struct Trace {
    /// What is broken at its end.
    pub violation: Violation,
    lines: Vec<String>,
}

struct Search<'a> {
    plans: &'a Plans,
    known: [Known; THREADS],
}

/// Visits every state of a set of this kind; then heals each world that was found.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "measures itself; nothing is decided by it")]
pub fn search(config: &Config) -> Report {
    let begun = Instant::now();
    let plans = Plans::new(config);
    let mut search = Search { plans: &plans, known: Default::default() };
    let mut report = search.run(config);
    if report.broken.is_none() {
        (report.worlds, report.broken) = search.heal();
    }
    report.decided = plans.decided();
    report.time = begun.elapsed();
    report
}

/// What one thread finds after its part of a level.
#[derive(Default)]
struct Found {
    states: [Vec<(State, Id, Step)>; THREADS],
    transitions: u64,
    broken: Option<(State, Step, Violation)>,
}

impl Search<'_> {
    fn run(&mut self, config: &Config) -> Report {
        let first =
            State { world: World::new(config), plans: [None; PLANS_MAX], edits: config.edits, faults: config.faults };
        let mut level = self.take(vec![Found { states: in_shard((first, Id::START, Step::Wait)), ..Found::default() }]);
        let mut report =
            Report { states: 0, transitions: 0, worlds: 0, decided: 0, depth: 0, time: Duration::ZERO, broken: None };
        while level.iter().any(|shard| !shard.is_empty()) {
            let found = self.expand(&level);
            report.transitions += found.iter().map(|found| found.transitions).sum::<u64>();
            let broken = found.iter().find_map(|found| found.broken.clone());
            if let Some((state, step, violation)) = broken {
                report.broken = Some(self.trace(&state, Some(step), violation));
                break;
            }
            level = self.take(found);
            report.depth += 1;
            let states: usize = self.known.iter().map(Known::len).sum();
            assert!(states <= STATES_MAX, "more than {STATES_MAX} states: allow fewer edits or faults");
        }
        report.states = self.known.iter().map(Known::len).sum();
        report
    }

    /// The states after those of a level that are not known yet.
    fn expand(&self, level: &[Vec<(State, Id)>; THREADS]) -> Vec<Found> {
        thread::scope(|scope| {
            let workers = level.iter().map(|part| scope.spawn(move || self.expand_part(part)));
            let workers: Vec<_> = workers.collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker that panics fails the search")).collect()
        })
    }

    fn expand_part(&self, part: &[(State, Id)]) -> Found {
        let mut found = Found::default();
        let mut next = Vec::new();
        for (state, id) in part {
            next.clear();
            if let Err((step, violation)) = self.plans.next(state, &mut next) {
                found.broken = Some((*state, step, violation));
                return found;
            }
            found.transitions += next.len() as u64;
            for (step, state) in next.drain(..) {
                let shard = shard(&state);
                if !self.known[shard].contains_key(&state) {
                    found.states[shard].push((state, *id, step));
                }
            }
        }
        found
    }

    /// Takes what was found into the known; the new states are the next level.
    fn take(&mut self, found: Vec<Found>) -> [Vec<(State, Id)>; THREADS] {
        let found = &found;
        thread::scope(|scope| {
            let workers = self.known.iter_mut().enumerate().map(|(shard, known)| {
                scope.spawn(move || {
                    let mut fresh = Vec::new();
                    for (state, from, step) in found.iter().flat_map(|found| &found.states[shard]) {
                        let id = Id((known.len() * THREADS + shard) as u32);
                        if let Entry::Vacant(place) = known.entry(*state) {
                            place.insert(Link { id, from: *from, step: *step });
                            fresh.push((*state, id));
                        }
                    }
                    fresh
                })
            });
            let workers: Vec<_> = workers.collect();
            let mut levels = workers.into_iter().map(|worker| worker.join().expect("inserting does not panic"));
            std::array::from_fn(|_| levels.next().expect("one per shard"))
        })
    }

    /// L2: with faults off, every world that was found comes to its spec. How many those are; and one that does not.
    fn heal(&self) -> (usize, Option<Trace>) {
        let mut worlds: HashSet<&World> = HashSet::default();
        let mut healer = heal::Healer::new(self.plans);
        // Nearest first, so that the trace is short.
        let mut states: Vec<(&State, Id)> =
            self.known.iter().flat_map(|known| known.iter().map(|(state, link)| (state, link.id))).collect();
        states.sort_unstable_by_key(|(_, id)| id.0);
        for (state, _) in states {
            let healed = if worlds.insert(&state.world) { healer.heals(&state.world) } else { Ok(()) };
            if let Err(violation) = healed {
                return (worlds.len(), Some(self.trace(state, None, violation)));
            }
        }
        (worlds.len(), None)
    }

    /// The way to `state`, and what happens then.
    fn trace(&self, state: &State, last: Option<Step>, violation: Violation) -> Trace {
        let by_id: HashMap<Id, (&State, &Link)> =
            self.known.iter().flatten().map(|(state, link)| (link.id, (state, link))).collect();
        let link = &self.known[shard(state)][state];
        let mut lines: Vec<String> = last.into_iter().map(|step| self.line(step, state, None)).collect();
        let (mut state, mut link) = (state, link);
        while let Some((before, earlier)) = by_id.get(&link.from) {
            lines.push(self.line(link.step, before, Some(state)));
            (state, link) = (before, earlier);
        }
        lines.push(format!("in the beginning\n      {}", state.world));
        lines.reverse();
        Trace { violation, lines }
    }

    /// One step in words: the writes of a plan by name, and the world after it where that has changed.
    fn line(&self, step: Step, before: &State, after: Option<&State>) -> String {
        let mut line = step.to_string();
        let slot = match step {
            Step::CommitOne(slot) | Step::CommitRest(slot) | Step::Refuse(slot) => Some((slot, before)),
            Step::Decide | Step::DecideBesides => after.map(|after| (0, after)),
            _ => None,
        };
        if let Some((slot, state)) = slot
            && let Some(plan) = state.plans[usize::from(slot)]
        {
            let writes = self.plans.writes(plan.plan);
            let mut left: Vec<String> =
                writes[usize::from(plan.next)..].iter().map(|write| write.to_string()).collect();
            if matches!(step, Step::CommitOne(_)) {
                left.truncate(1);
            }
            line += &format!(": {}", left.join(", "));
        }
        if let Some(after) = after.filter(|after| after.world != before.world) {
            line += &format!("\n      {}", after.world);
        }
        line
    }
}

fn in_shard(first: (State, Id, Step)) -> [Vec<(State, Id, Step)>; THREADS] {
    let mut shards: [Vec<(State, Id, Step)>; THREADS] = Default::default();
    shards[shard(&first.0)].push(first);
    shards
}

/// Which shard knows a state. Told by bits in the middle of its hash: maps look at those at both ends, and their places
/// would else be half empty.
fn shard(state: &State) -> usize {
    (hash_of(state) >> 40) as usize % THREADS
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, worlds, decided, depth, time, .. } = self;
        let seconds = time.as_secs_f64();
        write!(
            f,
            "{states} states, {transitions} transitions, {worlds} worlds healed, {decided} decisions, depth {depth}, \
             {seconds:.1} s"
        )?;
        self.broken.as_ref().map_or(Ok(()), |trace| write!(f, "\n{trace}"))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} steps:", self.violation, self.lines.len() - 1)?;
        for (number, line) in self.lines.iter().enumerate() {
            writeln!(f, "{number:4}  {line}")?;
        }
        Ok(())
    }
}
