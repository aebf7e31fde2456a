//! What is stored about one set, without anything that can grow.
//!
//! Versions, uids and times are left out: a pod is fresh or has had its time, and a plan under way remembers which of
//! the objects it was decided from have changed since ([`super::commit::InFlight`]).

use std::fmt;

use domain::RetentionRule;

use super::Config;
use super::claims::Claim;
use super::machines::Machines;
use super::strangers::Stranger;
use crate::checks::{PodView, View};

/// The most ordinals that a world can have.
pub const ORDINALS_MAX: usize = 4;

/// Templates that people choose from: `A` and `C` work, pods of `B` start and never become ready.
pub const IMAGES: [char; 3] = ['A', 'B', 'C'];

/// The template whose pods never become ready.
pub const BAD: u8 = 1;

/// Where no template stands.
pub const NONE: u8 = u8::MAX;

/// How a change of the template reaches the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// One after another, the lowest ones not at all.
    RollingUpdate {
        /// How many of the lowest stay as they are.
        partition: u8,
    },
    /// When somebody deletes them.
    OnDelete,
}

impl Strategy {
    /// One after another, all of them.
    pub const ROLLING: Self = Self::RollingUpdate { partition: 0 };
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RollingUpdate { partition } => write!(f, "partition {partition}"),
            Self::OnDelete => f.write_str("OnDelete"),
        }
    }
}

/// How a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Its containers have not started.
    Pending,
    /// It is ready.
    Ready,
    /// It runs and is not ready.
    Broken,
    /// It has ended and will never run again.
    Failed,
}

/// A stored pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pod {
    /// How it is.
    pub health: Health,
    /// Whether it has been so for longer than anybody waits for.
    pub aged: bool,
    /// Whether its deletion has been requested.
    pub terminating: bool,
    /// Its template.
    pub image: u8,
}

/// The stored status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status {
    /// Pods: all, ready, available, at the current revision, at the update revision.
    pub counts: [u8; 5],
    /// Template of the current revision.
    pub current: u8,
    /// Template of the update revision.
    pub update: u8,
    /// Ordinal up to which the set was complete once; [`NONE`] before.
    pub formed: u8,
    /// Whether the set is being started as a whole.
    pub cold_start: bool,
    /// How often the pods of each ordinal have ended, and whether the last time is long ago.
    pub failures: [(u8, bool); ORDINALS_MAX],
}

/// Ends of an ordinal's pods that are counted; the delay grows with each, and passes at once here.
pub const FAILURES_MAX: u8 = 3;

impl Status {
    /// Of a set that nobody has looked at.
    #[must_use]
    pub fn new() -> Self {
        let failures = [(0, true); ORDINALS_MAX];
        Self { counts: [0; 5], current: NONE, update: NONE, formed: NONE, cold_start: false, failures }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything that is stored about the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    /// Its pods by ordinal.
    pub pods: [Option<Pod>; ORDINALS_MAX],
    /// `spec.replicas`.
    pub replicas: u8,
    /// `spec.updateStrategy`.
    pub strategy: Strategy,
    /// Its template.
    pub image: u8,
    /// Templates of the stored revisions, the oldest number first.
    pub history: [u8; IMAGES.len()],
    /// Its status.
    pub status: Status,
    /// Whether the status is about the present generation.
    pub observed: bool,
    /// Claims by ordinal; none where the set has no template for them.
    pub claims: [Option<Claim>; ORDINALS_MAX],
    /// What becomes of claims after a scale-down.
    pub when_scaled: RetentionRule,
    /// A pod that is no member.
    pub stranger: Option<Stranger>,
    /// Machines of which nobody hears.
    pub machines: Machines,
}

impl World {
    /// A set that was just applied: nothing has been done for it.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            pods: [None; ORDINALS_MAX],
            replicas: config.ordinals,
            strategy: config.strategy,
            image: 0,
            history: [NONE; IMAGES.len()],
            status: Status::new(),
            observed: false,
            claims: [None; ORDINALS_MAX],
            when_scaled: config.claims.unwrap_or_default().when_scaled,
            stranger: None,
            machines: Machines::default(),
        }
    }

    /// How many of the lowest ordinals stay at the current revision.
    #[must_use]
    pub fn partition(&self) -> u8 {
        match self.strategy {
            Strategy::RollingUpdate { partition } => partition,
            Strategy::OnDelete => 0,
        }
    }

    /// Templates of the stored revisions, ascending by number.
    pub fn stored(&self) -> impl Iterator<Item = u8> {
        self.history.into_iter().filter(|image| *image != NONE)
    }

    /// Ordinals that have a pod, with it.
    pub fn pods(&self) -> impl Iterator<Item = (usize, Pod)> {
        self.pods.into_iter().enumerate().filter_map(|(ordinal, pod)| Some((ordinal, pod?)))
    }

    /// Ordinals that have a claim, with it.
    pub fn claims(&self) -> impl Iterator<Item = (usize, Claim)> {
        self.claims.into_iter().enumerate().filter_map(|(ordinal, claim)| Some((ordinal, claim?)))
    }

    /// Which ordinals have a pod, as bits.
    #[must_use]
    pub fn present(&self) -> u8 {
        self.pods().fold(0, |bits, (ordinal, _)| bits | 1 << ordinal)
    }

    /// The template that the present one is rolled out from: the one that the status names. Before there is a status,
    /// the stored one that most pods carry, of equals the newest; else the present one.
    #[must_use]
    pub fn current(&self, config: &Config) -> u8 {
        let named = self.status.current;
        if self.stored().any(|image| image == named) {
            return named;
        }
        let carried = |image: u8| self.pods().filter(|(_, pod)| pod.image == image).count();
        let others = self.stored().filter(|image| *image != self.image && carried(*image) > 0);
        let most_used = others.max_by_key(|image| carried(*image));
        most_used.filter(|_| config.switches.current_from_pods).unwrap_or(self.image)
    }

    /// As the checks see it.
    #[must_use]
    pub fn view(&self, config: &Config) -> View {
        let mut view = View {
            ordered: config.policy == domain::PodManagementPolicy::OrderedReady,
            on_delete: self.strategy == Strategy::OnDelete,
            in_range: std::array::from_fn(|ordinal| ordinal < usize::from(self.replicas)),
            partition: self.partition().into(),
            max_unavailable: config.max_unavailable.into(),
            current: self.current(config),
            current_recorded: self.stored().any(|image| image == self.status.current),
            update: self.image,
            formed: (self.status.formed != NONE).then_some(self.status.formed.into()),
            ..View::new(config.switches)
        };
        for (ordinal, pod) in self.pods() {
            view.pods[ordinal] = Some(PodView {
                revision: pod.image,
                ready: pod.health == Health::Ready,
                available: pod.health == Health::Ready && (pod.aged || !config.soak),
                stalled: matches!(pod.health, Health::Pending | Health::Broken) && pod.aged && !pod.terminating,
                terminating: pod.terminating,
                ended: pod.health == Health::Failed,
            });
        }
        view
    }

    /// Whether a pod that is like this from now on has nothing to wait for. Only pods that soak do, and those that are
    /// not ready while a set that was complete once may have to be started as a whole.
    #[must_use]
    pub fn has_had_its_time(&self, health: Health, config: &Config) -> bool {
        match health {
            Health::Ready => !config.soak,
            Health::Pending | Health::Broken => !config.switches.break_cold_start || self.status.formed == NONE,
            Health::Failed => true,
        }
    }

    /// Time passes until nothing more comes of it.
    pub fn wait(&mut self) {
        for pod in self.pods.iter_mut().flatten() {
            pod.aged = true;
        }
        for (_, long_ago) in &mut self.status.failures {
            *long_ago = true;
        }
    }
}

/// The letter of a template.
#[must_use]
pub fn letter(image: u8) -> char {
    IMAGES.get(usize::from(image)).copied().unwrap_or('-')
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replicas of {}", self.replicas, letter(self.image))?;
        if self.strategy != Strategy::ROLLING {
            write!(f, ", {}", self.strategy)?;
        }
        if self.when_scaled == RetentionRule::Delete {
            f.write_str(", claims go")?;
        }
        f.write_str(" |")?;
        for (ordinal, pod) in self.pods() {
            let away = if self.machines.is_away(ordinal) { ",silent" } else { "" };
            write!(f, " {ordinal}@{}:{}{away}", letter(pod.image), pod)?;
        }
        for (ordinal, claim) in self.claims() {
            write!(f, " claim {ordinal} of {:?}{}", claim.owner, if claim.going { ",going" } else { "" })?;
        }
        if let Some(stranger) = self.stranger {
            write!(f, " besides {stranger}")?;
        }
        let Status { counts, current, update, formed, cold_start, failures } = self.status;
        let [all, ready, available, at_current, at_update] = counts;
        write!(f, " | {all}/{ready}/{available}/{at_current}/{at_update} {}>{}", letter(current), letter(update))?;
        write!(f, " [{}]", self.stored().map(letter).collect::<String>())?;
        if formed != NONE {
            write!(f, " complete up to {formed}")?;
        }
        if cold_start {
            f.write_str(" cold start")?;
        }
        for (ordinal, (count, _)) in failures.iter().enumerate().filter(|(_, (count, _))| *count > 0) {
            write!(f, " {ordinal} ended {count} times")?;
        }
        f.write_str(if self.observed { "" } else { " not observed" })
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = match self.health {
            Health::Pending => "pending",
            Health::Ready => "ready",
            Health::Broken => "broken",
            Health::Failed => "failed",
        };
        let soaking = if !self.aged { "(new)" } else { "" };
        write!(f, "{health}{soaking}{}", if self.terminating { ",terminating" } else { "" })
    }
}
