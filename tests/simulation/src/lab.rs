//! What the hosts of a run share with whoever drives it: what was seen, and what is to go wrong.

mod calls;
mod machine;
mod names;
mod people;
mod planted;
mod store;
mod withdrawal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use coordinator::Patience;
use coordinator::store::simulated_disk::{Faults, Random, SimulatedDisk};
use oracles::{Answer, History, State, Violation, Written};
use serde_json::Value;
use tokio::sync::watch;

use crate::machine::Machine;
use crate::mutant::Mutant;
use crate::place::Place;
use crate::store::AtCommit;
use crate::trace::Trace;
use crate::user::Edit;

use withdrawal::Withdrawal;

pub use calls::CallFaults;
pub use planted::Planted;

/// What of an un-synced write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it: only the process died.
    Nothing,
    /// Any part of it may not: the power failed.
    Unsynced,
}

/// A coordinator that should be dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    /// Its store.
    pub store: String,
    /// Its epoch.
    pub epoch: u64,
    /// A volume.
    pub volume: String,
    /// The claim that the volume was made for.
    pub claim_uid: String,
}

/// When something happens at a commit.
pub type Plan = BTreeMap<u64, AtCommit>;

struct Inner {
    /// Simulated time at the end of the last step.
    elapsed: Duration,
    trace: Trace,
    random: Random,
    history: History,
    disk: SimulatedDisk,
    disk_before: Option<SimulatedDisk>,
    loss: Loss,
    commits: u64,
    /// What each commit does to which kinds of objects.
    commit_kinds: Vec<String>,
    plan: Plan,
    slow_disk: Option<Duration>,
    underway: BTreeMap<u64, Written>,
    deliveries: BTreeMap<u64, AtCommit>,
    to_compare: Vec<(u64, u64, Vec<String>)>,
    dead: Vec<&'static str>,
    faults: BTreeMap<&'static str, u64>,
    machine: Machine,
    repeats_reports: bool,
    ghosts: bool,
    /// What the machine was told in its life before.
    remembered: Vec<(Value, Vec<String>)>,
    /// Names of pods that were reported stopped.
    stopped: BTreeSet<String>,
    calls: calls::Calls,
    edits: VecDeque<Edit>,
    edit_at_hand: Option<Edit>,
    /// Generation of a set before the counted call that is at hand.
    counted_from: Option<u64>,
    answers: BTreeMap<String, BTreeSet<String>>,
    asked_last: BTreeMap<String, Answer>,
    serial: Option<u32>,
    withdrawal: Withdrawal,
    zone: (u64, u64),
    mutant: Option<Mutant>,
    violations: Vec<Violation>,
    checks: u64,
    executor_epoch: u64,
    store_id: Option<String>,
    /// Names and addresses of pods, kept for questions.
    known: BTreeSet<String>,
}

/// The laboratory of one run.
pub struct Lab {
    inner: Mutex<Inner>,
    /// Whether faults are over.
    healthy: watch::Sender<bool>,
    /// Directory of what is not simulated: the volumes and the journal of names.
    pub directory: PathBuf,
    /// How long a report and what follows from it wait for each other. Messages take milliseconds here: for every second
    /// seed it is so long that they mostly meet, for the others so short that they hardly do.
    pub patience: Patience,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").finish_non_exhaustive()
    }
}

impl Lab {
    /// A laboratory for a seed.
    #[must_use]
    pub fn new(seed: u64, directory: PathBuf, mutant: Option<Mutant>, loud: bool) -> Arc<Self> {
        let trace = Trace::new(loud);
        let disk = SimulatedDisk::new();
        let lies = mutant == Some(Mutant::DiskLies);
        disk.set_faults(Faults { sync_lies: lies, ..Faults::default() });
        let inner = Inner {
            elapsed: Duration::ZERO,
            trace,
            random: Random::new(seed ^ 0x5eed),
            history: History::default(),
            disk,
            disk_before: None,
            loss: Loss::Nothing,
            commits: 0,
            commit_kinds: Vec::new(),
            plan: Plan::new(),
            slow_disk: None,
            underway: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            to_compare: Vec::new(),
            dead: Vec::new(),
            faults: BTreeMap::new(),
            machine: Machine::default(),
            repeats_reports: false,
            ghosts: false,
            remembered: Vec::new(),
            stopped: BTreeSet::new(),
            edits: VecDeque::new(),
            edit_at_hand: None,
            counted_from: None,
            calls: calls::Calls::new(seed),
            answers: BTreeMap::new(),
            asked_last: BTreeMap::new(),
            serial: None,
            withdrawal: Withdrawal::default(),
            zone: (0, 0),
            mutant,
            violations: Vec::new(),
            checks: 0,
            executor_epoch: 0,
            store_id: None,
            known: BTreeSet::new(),
        };
        let long = Patience { names: Duration::from_millis(100), follow: Duration::from_millis(50) };
        let patience = if seed.is_multiple_of(2) { long } else { Patience::default() };
        Arc::new(Self { inner: Mutex::new(inner), healthy: watch::Sender::new(false), directory, patience })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// Adds a line to the trace.
    pub fn note(&self, line: &str) {
        self.inner().note(line);
    }

    /// Breaks the run.
    pub fn violated(&self, violation: Violation) {
        self.inner().judge(Err(violation));
    }

    /// The first rule that was broken.
    pub fn violation(&self) -> Option<Violation> {
        self.inner().violations.first().cloned()
    }

    /// Hash and length of the trace.
    pub fn trace(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.trace.hash(), inner.trace.lines())
    }

    /// Faults by kind, and rules asked.
    pub fn figures(&self) -> (BTreeMap<&'static str, u64>, u64) {
        let inner = self.inner();
        (inner.faults.clone(), inner.checks + inner.history.checks)
    }

    /// Commits of the coordinator so far.
    pub fn commits(&self) -> u64 {
        self.inner().commits
    }

    /// Revision of the last commit, and the keys of it.
    pub fn revision(&self) -> (u64, Vec<String>) {
        let inner = self.inner();
        let revision = inner.history.revision();
        (revision, inner.history.keys.get(&revision).cloned().unwrap_or_default())
    }

    /// Looks at everything that is stored, what runs, and what DNS said last.
    pub fn look<T>(
        &self,
        look: impl FnOnce(&State, &[oracles::Process], &BTreeMap<String, BTreeSet<String>>) -> T,
    ) -> T {
        let inner = self.inner();
        let live: Vec<_> = inner.machine.live().cloned().collect();
        look(inner.history.state(), &live, &inner.answers)
    }

    /// The rules that are asked after every step.
    pub fn check_step(&self, log: Option<&[oracles::Effect]>) {
        let inner = &mut *self.inner();
        let live: Vec<_> = inner.machine.live().cloned().collect();
        inner.judge(oracles::s1_at_most_one(live.iter()));
        inner.judge(oracles::s11_claims_are_exclusive(live.iter()));
        inner.judge(inner.calls_end());
        let seen = inner.history.revision();
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut inner.to_compare).into_iter().partition(|(_, revision, _)| *revision <= seen);
        inner.to_compare = later;
        for (last, revision, keys) in now {
            let told = oracles::s16_watch_is_gapless(last, revision, &keys, &inner.history.keys, "/objects/");
            inner.judge(told);
        }
        if let Some(log) = log {
            inner.judge(oracles::s17_effect_once(log));
            match oracles::s18_fences_never_fall(log, inner.executor_epoch) {
                Ok(epoch) => inner.executor_epoch = epoch,
                Err(violation) => inner.judge(Err(violation)),
            }
        }
    }

    /// Counts a fault.
    pub fn fault(&self, kind: &'static str) {
        let inner = &mut *self.inner();
        *inner.faults.entry(kind).or_default() += 1;
        inner.note(&format!("fault: {kind}"));
    }

    /// What happens at which commit.
    pub fn plan(&self, plan: Plan) {
        self.inner().plan = plan;
    }

    /// Adds one more thing to happen, so many commits from now.
    pub fn plan_in(&self, commits: u64, at: AtCommit) {
        let inner = &mut *self.inner();
        inner.plan.insert(inner.commits + commits, at);
    }

    /// From now on nothing is withheld from watchers.
    pub fn heal(&self) {
        self.healthy.send_replace(true);
    }

    /// Returns once faults are over.
    pub async fn healed(&self) {
        // The sender lives as long as this.
        let _ = self.healthy.subscribe().wait_for(|healthy| *healthy).await;
    }

    /// Makes the disk slow, or fast again.
    pub fn slow_disk(&self, time: Option<Duration>) {
        self.inner().slow_disk = time;
    }

    /// What a crash of the coordinator does to its disk from now on.
    pub fn loss(&self, loss: Loss) {
        self.inner().loss = loss;
    }

    /// How processes behave from now on.
    pub fn processes(&self, flaky: bool, stubborn: bool, repeats_reports: bool) {
        let inner = &mut *self.inner();
        (inner.machine.flaky, inner.machine.stubborn) = (flaky, stubborn);
        inner.repeats_reports = repeats_reports;
    }

    /// The host is gone from this very moment. Whoever drives the run takes its tasks away before the next step.
    pub fn crash(&self, place: &Place, kind: &'static str) {
        if place.wires.is_silent() {
            return;
        }
        place.wires.silence();
        let inner = &mut *self.inner();
        inner.note(&format!("{kind}: {}", place.name));
        *inner.faults.entry(kind).or_default() += 1;
        inner.down(place.name);
        inner.dead.push(place.name);
    }

    /// The host is about to be crashed from outside.
    pub fn down(&self, place: &Place) {
        if !place.wires.is_silent() {
            place.wires.silence();
            self.inner().down(place.name);
        }
    }

    /// Hosts that died by themselves since this was asked last.
    pub fn take_dead(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.inner().dead)
    }

    /// The bug that is planted.
    pub fn mutant(&self) -> Option<Mutant> {
        self.inner().mutant
    }
}

impl Inner {
    /// The present moment, inside of a host and between steps.
    fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or(self.elapsed)
    }

    fn note(&mut self, line: &str) {
        let at = self.now();
        self.note_at(at, line);
    }

    fn note_at(&mut self, at: Duration, line: &str) {
        self.trace.note(at, line);
    }

    fn now_ms(&self) -> i64 {
        crate::clock::EPOCH_MS + self.now().as_millis() as i64
    }

    fn judge(&mut self, judged: Result<(), Violation>) {
        self.checks += 1;
        if let Err(violation) = judged {
            self.note(&format!("BROKEN: {violation}"));
            self.violations.push(violation);
        }
    }

    fn take(&mut self, taken: Result<Vec<String>, Violation>) {
        match taken {
            Ok(lines) => {
                let (revision, now) = (self.history.revision(), self.now());
                self.withdrawal.look(self.history.state(), now);
                lines.iter().for_each(|line| self.note(&format!("commit {revision} {line}")));
            }
            Err(violation) => self.judge(Err(violation)),
        }
    }

    fn stored_uid(&self, uid: &str) -> bool {
        let pods = self.history.state().range("/objects/pods/".to_owned()..);
        let mut pods = pods.take_while(|(key, _)| key.starts_with("/objects/pods/"));
        pods.any(|(_, stored)| oracles::text(&stored.value, "/metadata/uid") == uid)
    }

    /// The coordinator's disk from the moment it died on.
    fn down(&mut self, host: &'static str) {
        if host != "coordinator" {
            return;
        }
        let after = match self.loss {
            Loss::Nothing => self.disk.copy(),
            Loss::Unsynced => self.disk.after_crash(&mut self.random),
        };
        if self.mutant == Some(Mutant::DiskLies) {
            after.set_faults(Faults { sync_lies: true, ..Faults::default() });
        }
        // What the dying process still writes goes nowhere.
        self.disk.crash_at(0);
        let before = self.disk_before.replace(after.copy());
        self.disk = before.filter(|_| self.mutant == Some(Mutant::StaleStart)).unwrap_or(after);
    }
}
