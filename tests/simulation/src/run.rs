//! One run: faults for a while, then none; then everything must become as it should be, and quiet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oracles::{Effect, Violation};
use serde::{Deserialize, Serialize};
use turmoil::{Builder, Sim};

use crate::calls::Made;
use crate::campaign::{Fault, Point, Which};
use crate::directory::RunDirectory;
use crate::hosts::{Hosts, randomness};
use crate::lab::{Lab, Plan};
use crate::mutant::Mutant;
use crate::people::People;
use crate::scenario::Scenario;
use crate::swarm::Swarm;

/// Simulated time between two looks at the network: also what a message takes at least.
const TICK: Duration = Duration::from_millis(5);

/// How long faults go on.
const TROUBLE: Duration = Duration::from_secs(15);

/// How long everything may take to become right once faults have ended: longer than the longest back-off, the slowest
/// resync and the notice of a dead connection together.
const CONVERGENCE_MAX: Duration = Duration::from_secs(150);

/// How long nothing may happen then: longer than the longest back-off, so that whoever met a fault last has looked again.
const QUIET: Duration = Duration::from_secs(8);

/// How long it may take until that begins.
const SETTLING_MAX: Duration = Duration::from_secs(40);

/// Steps between two looks at whether everything is right.
const LOOK_EVERY: u32 = 40;

/// What is run.
#[derive(Debug, Clone)]
pub enum Course {
    /// Everything is drawn from the seed.
    Swarm,
    /// People and pods as the seed draws them, and nothing else goes wrong.
    Calm,
    /// A scenario with at most one fault, at one commit or at one call.
    Perturbed(Scenario, Option<Point>),
}

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The rule that was broken, and how; none if none was.
    pub broken: Option<(String, String)>,
    /// Sums up its course.
    pub hash: u64,
    /// Lines of its trace.
    pub lines: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Rules that were asked.
    pub checks: u64,
    /// Commits of the coordinator.
    pub commits: u64,
    /// The longest for which DNS answered an address after its pod was asked to go, in milliseconds.
    #[serde(default)]
    pub withdrawal_ms: u64,
    /// What each commit did to which kinds of objects, of a scenario.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Calls that were made, of a scenario.
    #[serde(default)]
    pub calls: Vec<Made>,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, course: &Course, mutant: Option<Mutant>, loud: bool) -> Outcome {
    let directory =
        RunDirectory::take(&format!("{seed} {course:?} {mutant:?}")).expect("a directory of this run's own");
    randomness(seed);
    let lab = Lab::new(seed, directory.path().join("run"), mutant, loud);
    let mut driver = Driver::new(seed, &lab, course);
    let broken = driver.drive().err();
    let (hash, lines) = lab.trace();
    let (faults, checks) = lab.figures();
    Outcome {
        seed,
        broken: broken.map(|violation| (violation.rule.to_owned(), violation.how)),
        hash,
        lines,
        simulated_ms: driver.sim.elapsed().as_millis() as u64,
        faults: faults.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        checks,
        commits: lab.commits(),
        withdrawal_ms: lab.longest_withdrawal().as_millis() as u64,
        kinds: lab.commit_kinds(),
        calls: lab.calls_made(),
    }
}

struct Driver {
    sim: Sim<'static>,
    hosts: Arc<Hosts>,
    lab: Arc<Lab>,
    swarm: Swarm,
    people: People,
    operations: PathBuf,
    operations_bytes: u64,
    steps: u32,
    trouble: Duration,
    /// What is planned for commits ends with the other faults; a perturbed scenario keeps it.
    ends_plans: bool,
    /// Something goes wrong.
    faults: bool,
}

impl Driver {
    fn new(seed: u64, lab: &Arc<Lab>, course: &Course) -> Self {
        let mut sim = Builder::new()
            .rng_seed(seed)
            .epoch(std::time::UNIX_EPOCH)
            .simulation_duration(Duration::from_secs(3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(5))
            .tcp_capacity(1024 * 1024)
            .udp_capacity(1024)
            .build();
        let (swarm, people, trouble) = match course {
            Course::Swarm => (Swarm::draw(seed, lab), People::draw(seed, lab), TROUBLE),
            Course::Calm => {
                lab.calm();
                (Swarm::none(), People::draw(seed, lab), TROUBLE)
            }
            Course::Perturbed(scenario, point) => {
                if point.is_none() {
                    lab.calm();
                }
                lab.record_calls();
                match point {
                    Some(Point { fault: Fault::Commit(at), which: Which::Number(number) }) => {
                        lab.plan(Plan::from([(*number, *at)]));
                    }
                    Some(Point { fault: Fault::Call(at), which }) => lab.plan_call(which.clone(), *at),
                    // Commits have no other names.
                    Some(Point { fault: Fault::Commit(_), which: Which::First(_) }) | None => {}
                }
                (Swarm::none(), scenario.people(), Duration::ZERO)
            }
        };
        let hosts = Hosts::build(&mut sim, lab);
        let operations = lab.directory.join("volumes/.operations");
        let ends_plans = matches!(course, Course::Swarm);
        let faults = !matches!(course, Course::Calm | Course::Perturbed(_, None));
        let lab = lab.clone();
        Self { sim, hosts, lab, swarm, people, operations, operations_bytes: 0, steps: 0, trouble, ends_plans, faults }
    }

    fn drive(&mut self) -> Result<(), Violation> {
        while self.sim.elapsed() < self.trouble || self.people.has_plans() || self.swarm.is_pausing(self.sim.elapsed())
        {
            let now = self.sim.elapsed();
            self.people.step(&self.lab, now);
            self.swarm.step(&mut self.sim, &self.hosts, &self.lab, now);
            self.step()?;
        }
        let now = self.sim.elapsed();
        self.swarm.heal(&mut self.sim, &self.lab, now);
        if self.ends_plans {
            self.lab.plan(Plan::new());
            self.lab.calls_heal();
        }
        // What is repeated yet would take back what people say now.
        while self.lab.is_repeating() {
            self.step()?;
        }
        if self.faults {
            self.lab.calm();
        }
        self.people.settle(&self.lab);
        self.converge()?;
        self.be_quiet()?;
        // A campaign counts its points: each must have been one.
        let struck = !self.faults || self.ends_plans || !self.lab.figures().0.is_empty();
        if struck {
            return Ok(());
        }
        Err(Violation { rule: "point", how: "there is no such commit or call: nothing went wrong".to_owned() })
    }

    /// One step of everything, and the rules after it.
    fn step(&mut self) -> Result<(), Violation> {
        let stepped = self.sim.step();
        self.lab.advance(self.sim.elapsed());
        if let Err(error) = stepped {
            return Err(Violation { rule: "S25", how: format!("a service panicked: {error}") });
        }
        let now = self.sim.elapsed();
        self.swarm.bury(&mut self.sim, &self.lab, now);
        self.steps += 1;
        let log = self.executor_log();
        self.lab.check_step(log.as_deref());
        match self.lab.violation() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    /// L1: everything becomes as people want it.
    fn converge(&mut self) -> Result<(), Violation> {
        let deadline = self.sim.elapsed() + CONVERGENCE_MAX;
        loop {
            for _ in 0..LOOK_EVERY {
                self.step()?;
            }
            let wrong = self.wrong();
            match wrong {
                None => {
                    self.lab.note("everything matches");
                    return Ok(());
                }
                Some(violation) if self.sim.elapsed() > deadline => return Err(violation),
                Some(_) => {}
            }
        }
    }

    fn wrong(&self) -> Option<Violation> {
        if !self.lab.edits_done() {
            return Some(Violation { rule: "L4", how: "a request has not ended".to_owned() });
        }
        let desired = self.people.desired();
        self.lab.look(|state, live, names| oracles::l1_everything_matches(&desired, state, live, names)).err()
    }

    /// S19: then nothing happens any more, once those have looked again who met a fault last.
    fn be_quiet(&mut self) -> Result<(), Violation> {
        let deadline = self.sim.elapsed() + SETTLING_MAX;
        let (mut before, _) = self.lab.revision();
        let mut since = self.sim.elapsed();
        while self.sim.elapsed() < since + QUIET {
            self.step()?;
            let (now, last) = self.lab.revision();
            if now != before && self.sim.elapsed() > deadline {
                return oracles::s19_quiet(before, now, &last);
            }
            if now != before {
                (before, since) = (now, self.sim.elapsed());
            }
        }
        self.wrong().map_or(Ok(()), Err)
    }

    /// What volume-claim has written down, if that has changed.
    fn executor_log(&mut self) -> Option<Vec<Effect>> {
        let bytes = std::fs::metadata(&self.operations).map_or(0, |metadata| metadata.len());
        if bytes == self.operations_bytes {
            return None;
        }
        self.operations_bytes = bytes;
        let text = std::fs::read_to_string(&self.operations).ok()?;
        Some(text.lines().filter_map(effect).collect())
    }
}

fn effect(line: &str) -> Option<Effect> {
    let entry: serde_json::Value = serde_json::from_str(&line[line.find('{')?..]).ok()?;
    if let Some(seen) = entry.get("Seen") {
        return Some(Effect::Seen {
            subject: seen["subject"].as_str()?.to_owned(),
            epoch: seen["epoch"].as_u64()?,
            generation: seen["generation"].as_u64()?,
        });
    }
    Some(Effect::Done { id: entry.get("Done")?["id"].as_str()?.to_owned() })
}
