//! Every kind of set, at random: {OrderedReady, Parallel} x {RollingUpdate, OnDelete, partition, maxUnavailable, both} x
//! four retention policies x both profiles.
//!
//! People edit the set while its pods change at random, and the n-th creation, update or deletion fails. Then faults
//! stop: the set comes to its spec and rests. Last it is deleted, in order, and its claims are those that its policy
//! leaves.

use std::fmt;

use domain::{Intent, Ordinal, PodManagementPolicy, RetentionPolicy, RetentionRule, Switches};

use crate::Mutant;
use crate::checks::{Violation, hold};
use crate::cluster::store::{Call, Outage};
use crate::cluster::{BAD, Cluster, Kind, Rollout};
use crate::random::Random;

/// Things that happen before faults stop.
const STEPS: u64 = 60;

/// Passes that a set of these sizes may take to come to rest.
const PASSES_MAX: u32 = 400;

/// Calls of each kind that fail, each in a run of its own.
const FAILING_CALLS_MAX: u32 = 8;

/// Runs of each cell in which no call fails.
const QUIET_RUNS: usize = 16;

/// One kind of set with a name.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// What kind.
    pub kind: Kind,
    /// Whether Kubernetes' own rules apply.
    pub kubernetes: bool,
}

/// A run that went wrong.
#[derive(Debug)]
pub struct Failure {
    /// Where.
    pub cell: Cell,
    /// Its seed.
    pub seed: u64,
    /// The call that failed.
    pub failing: Option<(Call, u32)>,
    /// What is broken.
    pub violation: Violation,
    /// What had happened.
    pub log: Vec<String>,
}

/// Every cell of the matrix.
#[must_use]
pub fn cells() -> Vec<Cell> {
    use PodManagementPolicy::{OrderedReady, Parallel};
    use RetentionRule::{Delete, Retain};
    let mut cells = Vec::new();
    for kubernetes in [false, true] {
        for policy in [OrderedReady, Parallel] {
            let rollouts = [
                Rollout::RollingUpdate,
                Rollout::OnDelete,
                Rollout::Partition(1),
                Rollout::MaxUnavailable(2),
                Rollout::PartitionAndPercent(1, 60),
            ];
            for rollout in rollouts {
                for (when_deleted, when_scaled) in
                    [(Retain, Retain), (Retain, Delete), (Delete, Retain), (Delete, Delete)]
                {
                    let retention = RetentionPolicy { when_deleted, when_scaled };
                    let switches = if kubernetes { Switches::KUBERNETES } else { Switches::SETKEEPER };
                    cells.push(Cell { kind: Kind { policy, rollout, retention, switches }, kubernetes });
                }
            }
        }
    }
    cells
}

/// All runs of one cell: without a failing call, then with each.
///
/// # Errors
/// The first run that went wrong.
pub fn run_cell(cell: Cell, mutant: Option<Mutant>) -> Result<u32, Box<Failure>> {
    let calls = [Call::Create, Call::Update, Call::Delete];
    let failing = calls.into_iter().flat_map(|call| (1..=FAILING_CALLS_MAX).map(move |nth| Some((call, nth))));
    let mut runs = 0;
    for (seed, failing) in (0..).zip(std::iter::repeat_n(None, QUIET_RUNS).chain(failing)) {
        run(cell, seed, failing, mutant)?;
        runs += 1;
    }
    Ok(runs)
}

/// One run.
///
/// # Errors
/// It went wrong.
pub fn run(cell: Cell, seed: u64, failing: Option<(Call, u32)>, mutant: Option<Mutant>) -> Result<(), Box<Failure>> {
    let mut cluster = Cluster::new(cell.kind, mutant);
    // Every third run with pods that must soak.
    cluster.spec.min_ready_seconds = if seed.is_multiple_of(3) { 10 } else { 0 };
    cluster.outage = failing.map_or_else(Outage::default, |(call, nth)| Outage::of(call, nth));
    let result = history(&mut cluster, &mut Random::new(seed), cell.kubernetes);
    result.map_err(|violation| Box::new(Failure { cell, seed, failing, violation, log: cluster.log }))
}

fn history(cluster: &mut Cluster, random: &mut Random, kubernetes: bool) -> Result<(), Violation> {
    for _ in 0..STEPS {
        match random.below(8) {
            0 => edit(cluster, random, kubernetes),
            1 => cluster.collect()?,
            2 | 3 => cluster.pass()?,
            _ => cluster.happen(random),
        }
    }
    recover(cluster, kubernetes);
    settle(cluster)?;
    at_rest(cluster)?;
    delete(cluster)
}

/// Somebody changes the set.
fn edit(cluster: &mut Cluster, random: &mut Random, kubernetes: bool) {
    match random.below(7) {
        0 | 1 => {
            let replicas = random.below(5) as u32;
            cluster.edit(&format!("{replicas} replicas"), |spec| spec.replicas = replicas);
        }
        4 => {
            let start = random.below(3) as u32;
            cluster.edit(&format!("start at {start}"), |spec| spec.start = Ordinal(start));
        }
        5 if !kubernetes => {
            let reserved: Vec<Ordinal> = (0..4).filter(|_| random.below(4) == 0).map(Ordinal).collect();
            cluster.edit(&format!("reserved {reserved:?}"), |spec| spec.reserved = reserved);
        }
        6 if !kubernetes => {
            let paused = !cluster.spec.paused;
            cluster.edit(&format!("paused {paused}"), |spec| spec.paused = paused);
        }
        // Kubernetes cannot leave a bad template by itself.
        2 if !kubernetes => cluster.roll(random.pick(&['A', BAD, 'C']).unwrap_or('A')),
        _ => cluster.roll(random.pick(&['A', 'C', 'D']).unwrap_or('A')),
    }
}

/// Faults stop, and people ask for what can be had. In Kubernetes they also remove what holds up a scale-down.
fn recover(cluster: &mut Cluster, kubernetes: bool) {
    if cluster.outage.failing.is_some() {
        cluster.forget_ends();
    }
    cluster.outage = Outage::default();
    if cluster.spec.paused {
        cluster.edit("resumed", |spec| spec.paused = false);
    }
    if cluster.image == BAD {
        cluster.roll('A');
    }
    // Below a partition pods stay at a revision that does not work, and under OnDelete everywhere.
    let bad = domain::revision_name(crate::cluster::SET, &crate::cluster::template(BAD), 0);
    let spec = cluster.spec.clone();
    let on_delete = cluster.kind.rollout == Rollout::OnDelete;
    if spec.partition() > 0 && cluster.status.current_revision == bad {
        cluster.edit("no partition", |spec| spec.strategy = domain::UpdateStrategy::default());
    }
    let stuck = |pod: &domain::Pod| {
        let condemned = kubernetes && !spec.contains(pod.ordinal) && !pod.is_ready();
        condemned || (on_delete && pod.at(&bad))
    };
    let stuck: Vec<_> = cluster.pods.values().filter(|pod| stuck(pod)).map(|pod| pod.ordinal).collect();
    stuck.into_iter().for_each(|ordinal| cluster.remove(ordinal));
    // A claim that is going goes when its pod does.
    let going = cluster.claims.values().filter(|claim| claim.stored.deleting).map(|claim| claim.ordinal);
    for ordinal in going.collect::<Vec<_>>() {
        cluster.terminate(ordinal);
    }
}

/// Passes, collection, work and time in turn, until nothing changes any more.
fn settle(cluster: &mut Cluster) -> Result<(), Violation> {
    for _ in 0..PASSES_MAX {
        let before = stored(cluster);
        cluster.pass()?;
        cluster.collect()?;
        let busy = cluster.work();
        if busy || stored(cluster) != before {
            continue;
        }
        let decision = cluster.decide(&cluster.request());
        let moments = [decision.update.look_again_at, decision.order.look_again_at];
        match moments.into_iter().flatten().min() {
            Some(moment) => cluster.now = moment,
            None => return Ok(()),
        }
    }
    hold("L2", false, || format!("does not come to rest in {PASSES_MAX} passes"))
}

/// Everything that is stored, as text: what a pass over a set at rest must not change.
fn stored(cluster: &Cluster) -> String {
    let Cluster { pods, claims, revisions, status, failures, outages, formed, cold_start, .. } = cluster;
    format!("{pods:?}{claims:?}{revisions:?}{status:?}{failures:?}{outages:?}{formed:?}{cold_start}")
}

/// L1, S19, S21: as its spec says, and nothing left to write.
fn at_rest(cluster: &mut Cluster) -> Result<(), Violation> {
    let view = cluster.view();
    let wrong = (0..view.pods.len()).find(|ordinal| match view.pods[*ordinal] {
        None => view.in_range[*ordinal],
        Some(pod) => {
            let outdated = !view.on_delete && view.updatable(*ordinal) && pod.revision != view.update;
            !view.in_range[*ordinal] || !view.healthy(*ordinal) || outdated
        }
    });
    let waits = || format!("{:?}", cluster.decide(&cluster.request()).order.waits);
    hold("L1", wrong.is_none(), || format!("ordinal {wrong:?} never comes right: {}", waits()))?;
    let foreign = cluster.pods.keys().find(|ordinal| {
        !cluster.claims.contains_key(&domain::claim_name(crate::cluster::TEMPLATE, crate::cluster::SET, **ordinal))
    });
    hold("L1", foreign.is_none(), || format!("pod {foreign:?} has no claim"))?;
    let counts = [cluster.status.replicas, cluster.status.ready_replicas, cluster.status.available_replicas];
    hold("S21", counts == [cluster.spec.replicas; 3], || format!("the status says {counts:?}"))?;
    let observed = cluster.status.observed_generation == cluster.generation;
    hold("S21", observed, || "the status is about an earlier generation".to_owned())?;
    let current = domain::revision_name(crate::cluster::SET, &crate::cluster::template(cluster.image), 0);
    let complete = cluster.spec.replicas > 0 && cluster.pods.values().all(|pod| pod.at(&current));
    let promoted = !complete || cluster.status.current_revision == current;
    hold("S21", promoted, || "every pod is updated, and the update is not complete".to_owned())?;
    let orphan = cluster.claims.values().find(|claim| cluster.is_orphaned(claim, &cluster.pods));
    hold("L1", orphan.is_none(), || format!("nobody collects {orphan:?}"))?;
    let before = stored(cluster);
    cluster.pass()?;
    hold("S19", stored(cluster) == before, || "a pass over a set at rest writes".to_owned())
}

/// L6: the set stops in order and goes; its claims stay or go as its policy says.
fn delete(cluster: &mut Cluster) -> Result<(), Violation> {
    cluster.intent = Intent::Delete;
    cluster.log.push("EDIT: the set is deleted".to_owned());
    settle(cluster)?;
    hold("L6", cluster.pods.is_empty(), || "a set that is deleted keeps pods".to_owned())?;
    let members: Vec<_> = cluster.spec.ordinals().collect();
    let kept_before = cluster.claims.values().filter(|claim| members.contains(&claim.ordinal)).count();
    hold("S9", kept_before == members.len(), || "a claim goes before its set".to_owned())?;
    cluster.gone = true;
    cluster.collect()?;
    let kept = cluster.claims.values().filter(|claim| members.contains(&claim.ordinal)).count();
    let expected = match cluster.spec.retention.when_deleted {
        RetentionRule::Retain => members.len(),
        RetentionRule::Delete => 0,
    };
    hold("S9", kept == expected, || format!("{kept} claims of members are left, not {expected}"))
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { policy, rollout, retention, .. } = self.kind;
        let profile = if self.kubernetes { "kubernetes" } else { "setkeeper" };
        let RetentionPolicy { when_deleted, when_scaled } = retention;
        write!(f, "{profile} {policy:?} {rollout:?} whenDeleted={when_deleted:?} whenScaled={when_scaled:?}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failing = self.failing.map_or("no call".to_owned(), |(call, nth)| format!("{call:?} number {nth}"));
        writeln!(f, "{}: {} (seed {}, {failing} fails), after:", self.cell, self.violation, self.seed)?;
        self.log.iter().try_for_each(|line| writeln!(f, "      {line}"))
    }
}
