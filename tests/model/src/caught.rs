//! By what each mutant is caught: the cheapest that does it. The same detector is silent without the mutant.

use domain::{Ordinal, Phase, PodManagementPolicy, RetentionPolicy, RetentionRule, Switches};

use crate::Mutant;
use crate::checks::{Violation, hold};
use crate::cluster::{Cluster, Kind, Rollout};
use crate::exhaustive::Config;
use crate::exhaustive::search::search;
use crate::matrix::{Cell, cells, run_cell};

/// What catches a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detector {
    /// Every state of a small set in order: two faults, no edit.
    StatesWithFaults,
    /// Every state of a small set in order: an edit and a fault.
    StatesWithEdits,
    /// Every state of a small Parallel set: one edit.
    ParallelStates,
    /// Every state of a small set that is updated only when somebody deletes its pods: one edit.
    OnDeleteStates,
    /// Every state of a small set with claims that go after a scale-down: two edits.
    ClaimStates,
    /// Every state of a small set among pods that are not its own: one fault.
    StrangerStates,
    /// Every state of a small set on machines that fall silent: one fault.
    SilentStates,
    /// Every kind of set, at random.
    Matrix,
    /// A history of its own.
    Story,
}

impl Mutant {
    /// By what it is caught.
    #[must_use]
    pub fn detector(self) -> Detector {
        match self {
            Self::DeleteByName | Self::UnguardedWrites => Detector::StatesWithFaults,
            Self::NeverHeals | Self::StaleSpec | Self::OutageStopsUpdates => Detector::StatesWithEdits,
            Self::BrokenPodsSpendTheBudget => Detector::ParallelStates,
            Self::OwnersNotChanged
            | Self::CollectorAsksNobody
            | Self::MemberStaysDecommissioned
            | Self::ClaimsNeverTakenBack
            | Self::BootsOnOldClaim => Detector::ClaimStates,
            Self::LeadingZeros | Self::LabelsDecide | Self::TakenNamesIgnored => Detector::StrangerStates,
            Self::SilenceIsDeath => Detector::SilentStates,
            Self::OnDeleteRolls | Self::OnDeleteNeverPromotes => Detector::OnDeleteStates,
            Self::ForeignClaimsShared | Self::BrokenPodsHoldScaleDown | Self::TerminatingPodHoldsParallel => {
                Detector::Story
            }
            _ => Detector::Matrix,
        }
    }

    /// What goes wrong with it; none if nothing does.
    #[must_use]
    pub fn caught(self) -> Option<Violation> {
        self.detector().run(Some(self))
    }
}

impl Detector {
    /// What this detector finds, with a mutant or with none.
    #[must_use]
    pub fn run(self, mutant: Option<Mutant>) -> Option<Violation> {
        let states = |config: Config| search(&Config { mutant, ..config }).broken.map(|trace| trace.violation);
        match self {
            Self::StatesWithFaults => states(Config { edits: 0, faults: 3, ..Config::ordered() }),
            Self::StatesWithEdits => states(Config { edits: 1, faults: 1, ..Config::ordered() }),
            Self::ParallelStates => states(Config { edits: 1, faults: 0, ..Config::parallel() }),
            Self::OnDeleteStates => states(Config { edits: 1, faults: 0, ..Config::ordered().on_delete() }),
            Self::ClaimStates => {
                states(Config { edits: 2, faults: 0, ..Config::ordered().with_claims(RetentionRule::Retain) })
            }
            Self::StrangerStates => states(Config { edits: 0, faults: 1, ..Config::ordered().with_strangers() }),
            Self::SilentStates => states(Config { edits: 0, faults: 1, ..Config::ordered().with_machines() }),
            Self::Matrix => matrix(mutant),
            Self::Story => {
                let stories = [foreign_claim, crashing_set, pod_that_does_not_stop];
                stories.into_iter().find_map(|story| story(mutant).err())
            }
        }
    }
}

/// The cells of our own profile, until one fails.
fn matrix(mutant: Option<Mutant>) -> Option<Violation> {
    let ours = cells().into_iter().filter(|cell| !cell.kubernetes);
    ours.into_iter().find_map(|cell: Cell| run_cell(cell, mutant).err()).map(|failure| failure.violation)
}

fn standard(policy: PodManagementPolicy, mutant: Option<Mutant>) -> Cluster {
    let retention = RetentionPolicy { when_deleted: RetentionRule::Retain, when_scaled: RetentionRule::Retain };
    let kind = Kind { policy, rollout: Rollout::RollingUpdate, retention, switches: Switches::SETKEEPER };
    Cluster::new(kind, mutant)
}

/// A claim of the name of one of ours was made for another set: its pod waits, and the claim stays as it is.
fn foreign_claim(mutant: Option<Mutant>) -> Result<(), Violation> {
    let mut cluster = standard(PodManagementPolicy::Parallel, mutant);
    cluster.add_foreign_claim(1);
    for _ in 0..4 {
        cluster.pass()?;
        cluster.work();
    }
    hold("L1", cluster.pods.len() == 2, || "the other ordinals do not come".to_owned())
}

/// A set all of whose pods have ended is scaled to nothing.
fn crashing_set(mutant: Option<Mutant>) -> Result<(), Violation> {
    let mut cluster = standard(PodManagementPolicy::OrderedReady, mutant);
    for _ in 0..6 {
        cluster.pass()?;
        cluster.work();
    }
    (0..3).for_each(|ordinal| cluster.observe(Ordinal(ordinal), Phase::Failed, false));
    cluster.edit("0 replicas", |spec| spec.replicas = 0);
    for _ in 0..6 {
        cluster.pass()?;
        cluster.work();
    }
    hold("L1", cluster.pods.is_empty(), || "pods that have ended are never removed".to_owned())
}

/// In a Parallel set a pod that does not stop holds up no other.
fn pod_that_does_not_stop(mutant: Option<Mutant>) -> Result<(), Violation> {
    let mut cluster = standard(PodManagementPolicy::Parallel, mutant);
    cluster.pass()?;
    cluster.work();
    cluster.observe(Ordinal(0), Phase::Running, true);
    cluster.pods.get_mut(&Ordinal(0)).into_iter().for_each(|pod| pod.terminating = true);
    cluster.remove(Ordinal(1));
    cluster.remove(Ordinal(2));
    cluster.pass()?;
    hold("L1", cluster.pods.len() == 3, || "pod 0 does not stop, and the others are not created".to_owned())
}
