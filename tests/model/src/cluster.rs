//! One set with its claims, in memory, moved by the real planners of pods and of claims.
//!
//! - [`store`]: what a pass writes, one call after another, each checked as it is made; the n-th call of a kind
//!   can fail;
//! - [`machines`]: what happens to pods, and the collector that removes claims whose owners are gone.
//!
//! Unlike the worlds of [`crate::exhaustive`] these have claims, uids, versions and time, and any number of ordinals.

pub mod machines;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};

use domain::volume::{ClaimOrdinal, ClaimTemplate, OwnerReference, SetClaim, SetClaimsPlan, SetClaimsRequest};
use domain::{
    Failures, Generation, IntOrPercent, Intent, Ordinal, OrdinalPlan, Pod, PodManagementPolicy, RetentionPolicy,
    Revision, RevisionName, RollingUpdate, SetRef, SetSpec, SetStatus, Snapshot, Switches, Timestamp, Uid, UpdatePlan,
    UpdateRequest, UpdateStrategy,
};

use crate::Mutant;
use crate::checks::{self, ORDINALS_MAX, PodView, View, Violation, hold};
use crate::planners::{Answer, Planners};
use store::Outage;

/// Name of the set.
pub const SET: &str = "web";

/// Name of its claim template.
pub const TEMPLATE: &str = "data";

/// Templates whose pods start and never become ready.
pub const BAD: char = 'B';

/// How a template change reaches the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollout {
    /// One after another.
    RollingUpdate,
    /// When somebody deletes them.
    OnDelete,
    /// One after another, the lowest ones not at all.
    Partition(u32),
    /// Several at once.
    MaxUnavailable(u32),
    /// Several of those above the partition at once, in percent of all.
    PartitionAndPercent(u32, u32),
}

/// A kind of set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Order of creation and deletion.
    pub policy: PodManagementPolicy,
    /// How updates go.
    pub rollout: Rollout,
    /// What becomes of claims.
    pub retention: RetentionPolicy,
    /// Which mends apply.
    pub switches: Switches,
}

/// A stored claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Ordinal in its name.
    pub ordinal: Ordinal,
    /// As the planner sees it.
    pub stored: SetClaim,
}

/// The set, its objects, and what has happened so far.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// What kind of set it is.
    pub kind: Kind,
    /// Its spec.
    pub spec: SetSpec,
    /// What is to become of it.
    pub intent: Intent,
    /// Whether it is gone.
    pub gone: bool,
    /// Its generation.
    pub generation: i64,
    /// Letter of its template.
    pub image: char,
    /// Its pods.
    pub pods: BTreeMap<Ordinal, Pod>,
    /// Claims of its names.
    pub claims: BTreeMap<String, Claim>,
    /// Its revisions.
    pub revisions: Vec<Revision>,
    /// Its status.
    pub status: SetStatus,
    /// What the planners remember.
    pub failures: Vec<Failures>,
    /// Since when ordinals are out, where their pods do not tell.
    pub outages: Vec<domain::Outage>,
    /// Up to where it was complete once.
    pub formed: Option<Ordinal>,
    /// Whether it is started as a whole.
    pub cold_start: bool,
    /// Whether it was paused when the status was written.
    pub was_paused: bool,
    /// When it was resumed last.
    pub resumed_at: Option<Timestamp>,
    /// The present moment.
    pub now: Timestamp,
    /// Which call fails.
    pub outage: Outage,
    /// What has happened, in words.
    pub log: Vec<String>,
    /// Claims whose pod went while its ordinal was out of range, as far as a pass had seen: they may be collected.
    pub(crate) scaled_away: BTreeSet<Uid>,
    /// How often the pods of each ordinal have ended, by our own count.
    pub(crate) ends: BTreeMap<Ordinal, Failures>,
    /// Which bug the collector has.
    pub(crate) mutant: Option<Mutant>,
    /// Ordinals whose pods have gone, as a collector that acts on events is told.
    pub(crate) reported: Vec<Ordinal>,
    /// Pods as a collector that lags sees them.
    pub(crate) pods_before: BTreeMap<Ordinal, Pod>,
    planners: Planners,
    incarnations: u64,
}

/// All that was decided in one pass.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Updates.
    pub update: UpdatePlan,
    /// Order, as far as the claims let it.
    pub order: OrdinalPlan,
    /// Claims.
    pub claims: SetClaimsPlan,
}

impl Cluster {
    /// A set that was just applied.
    #[must_use]
    pub fn new(kind: Kind, mutant: Option<Mutant>) -> Self {
        let block = |partition, max_unavailable| {
            let max_unavailable = Some(IntOrPercent::Int(max_unavailable));
            UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition, max_unavailable }))
        };
        let strategy = match kind.rollout {
            Rollout::RollingUpdate => block(0, 1),
            Rollout::OnDelete => UpdateStrategy::OnDelete,
            Rollout::Partition(partition) => block(partition, 1),
            Rollout::MaxUnavailable(number) => block(0, number),
            Rollout::PartitionAndPercent(partition, percent) => {
                let max_unavailable = Some(IntOrPercent::Percent(percent));
                UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition, max_unavailable }))
            }
        };
        let (policy, retention) = (kind.policy, kind.retention);
        let spec =
            SetSpec { replicas: 3, policy, strategy, retention, revision_history_limit: 2, ..SetSpec::default() };
        Self {
            kind,
            spec,
            intent: Intent::Keep,
            gone: false,
            generation: 1,
            image: 'A',
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            revisions: Vec::new(),
            status: SetStatus::default(),
            failures: Vec::new(),
            outages: Vec::new(),
            formed: None,
            cold_start: false,
            was_paused: false,
            resumed_at: None,
            now: Timestamp(1_000_000_000),
            outage: Outage::default(),
            log: Vec::new(),
            scaled_away: BTreeSet::new(),
            ends: BTreeMap::new(),
            mutant,
            reported: Vec::new(),
            pods_before: BTreeMap::new(),
            planners: Planners::new(mutant),
            incarnations: 0,
        }
    }

    /// Changes the spec.
    pub fn edit(&mut self, what: &str, change: impl FnOnce(&mut SetSpec)) {
        change(&mut self.spec);
        self.generation += 1;
        self.log.push(format!("EDIT: {what}"));
    }

    /// Changes the template.
    pub fn roll(&mut self, image: char) {
        self.image = image;
        self.generation += 1;
        self.log.push(format!("EDIT: template {image}"));
    }

    /// One pass: look, ask, write.
    ///
    /// # Errors
    /// A rule that is broken. A call that fails ends the pass, and is no error.
    pub fn pass(&mut self) -> Result<(), Violation> {
        if self.gone {
            return Ok(());
        }
        let request = self.request();
        let decision = self.decide(&request);
        // An ordinal that the set does not have starts anew.
        self.ends.retain(|ordinal, _| self.spec.contains(*ordinal));
        self.log.push(format!("pass: {}", words(&decision)));
        self.explained(&request.snapshot, &decision)?;
        for ordinal in self.pods.keys() {
            let name = domain::pod_name(SET, *ordinal);
            checks::s2_members_are_ours(SET, &name, true, domain::pod_ordinal(SET, &name))?;
        }
        self.write(&request.snapshot, &decision)
    }

    /// What the planners see.
    #[must_use]
    pub fn request(&self) -> UpdateRequest {
        let snapshot = Snapshot {
            set: set_ref(),
            generation: Generation(self.generation),
            spec: self.spec.clone(),
            intent: self.intent,
            status: self.status.clone(),
            pods: self.pods.values().cloned().collect(),
            failures: self.failures.clone(),
            outages: self.outages.clone(),
            formed: self.formed,
            cold_start: self.cold_start,
            resumed_at: if self.was_paused && !self.spec.paused { Some(self.now) } else { self.resumed_at },
            watched_since: None,
            switches: self.kind.switches,
            now: self.now,
        };
        let revisions = self.revisions.clone();
        UpdateRequest { snapshot, template: template(self.image), revisions, ..UpdateRequest::default() }
    }

    /// Asks all planners, in the coordinator's order.
    #[must_use]
    pub fn decide(&self, request: &UpdateRequest) -> Decision {
        let Answer { update, mut order } = self.planners.ask(request);
        let claims = self.planners.claims(&self.spec, &self.claims_request(&request.snapshot, &order));
        let blocked = |ordinal: Ordinal| claims.waits.iter().any(|wait| wait.ordinal == Some(ordinal));
        order.create.retain(|creation| !blocked(creation.ordinal));
        Decision { update, order, claims }
    }

    fn claims_request(&self, snapshot: &Snapshot, order: &OrdinalPlan) -> SetClaimsRequest {
        let existing = snapshot.pods.iter().map(|pod| ClaimOrdinal::of(&snapshot.spec, pod));
        let coming = order.create.iter().map(ClaimOrdinal::to_create);
        let mut ordinals: Vec<_> = existing.chain(coming).collect();
        ordinals.sort_by_key(|ordinal| ordinal.ordinal);
        let parallel = snapshot.spec.policy == PodManagementPolicy::Parallel;
        SetClaimsRequest {
            set: set_ref(),
            intent: snapshot.intent,
            retention: snapshot.spec.retention,
            match_labels: BTreeMap::from([("app".to_owned(), SET.to_owned())]),
            templates: vec![ClaimTemplate { name: TEMPLATE.to_owned(), ..ClaimTemplate::default() }],
            scaling_down: parallel || snapshot.first_unhealthy().is_none(),
            abandoned: snapshot.abandoned(),
            claims: self
                .claims
                .values()
                .filter(|claim| ordinals.iter().any(|ordinal| ordinal.ordinal == claim.ordinal))
                .map(|claim| claim.stored.clone())
                .collect(),
            ordinals,
            switches: snapshot.switches,
        }
    }

    /// Every ordinal that is not as it should be is acted on, or says why it waits.
    fn explained(&self, snapshot: &Snapshot, decision: &Decision) -> Result<(), Violation> {
        let Decision { update, order, claims } = decision;
        let acted = order.create.iter().map(|creation| creation.ordinal);
        let acted = acted.chain(order.delete.iter().chain(&update.replace).map(|deletion| deletion.ordinal));
        let waits = order.waits.iter().chain(&update.waits).chain(&claims.waits);
        let known: Vec<Ordinal> = acted.chain(waits.filter_map(|wait| wait.ordinal)).collect();
        let missing = snapshot.spec.ordinals().filter(|_| snapshot.intent == Intent::Keep);
        let mut missing = missing.filter(|ordinal| snapshot.pod(*ordinal).is_none());
        let silent = missing.find(|ordinal| !known.contains(ordinal));
        hold("S21", silent.is_none(), || format!("nobody says why ordinal {silent:?} is missing"))
    }

    /// As the checks see it. Revisions are numbered as their names sort.
    #[must_use]
    pub fn view(&self) -> View {
        let mut view = View {
            ordered: self.kind.policy == PodManagementPolicy::OrderedReady,
            on_delete: self.spec.strategy == UpdateStrategy::OnDelete,
            paused: self.spec.paused,
            stopping: self.intent != Intent::Keep,
            formed: self.formed.map(|ordinal| ordinal.0 as usize),
            in_range: std::array::from_fn(|ordinal| self.spec.contains(Ordinal(ordinal as u32))),
            partition: self.spec.partition(),
            max_unavailable: self.spec.max_unavailable(),
            current_recorded: self.revisions.iter().any(|revision| revision.name == self.status.current_revision),
            update: image_number(self.image),
            ..View::new(self.kind.switches)
        };
        view.current = if view.current_recorded { self.number(&self.status.current_revision) } else { view.update };
        let snapshot = self.request().snapshot;
        let stalled = |since: Timestamp| since.plus(domain::PATIENCE) <= self.now;
        for pod in self.pods.values().filter(|pod| (pod.ordinal.0 as usize) < ORDINALS_MAX) {
            view.pods[pod.ordinal.0 as usize] = Some(PodView {
                revision: pod.revision.as_ref().map_or(u8::MAX, |name| self.number(name)),
                ready: pod.is_ready(),
                available: pod.available(self.spec.min_ready_seconds, self.now),
                stalled: snapshot.stalled_since(pod.ordinal).is_some_and(stalled),
                terminating: pod.terminating,
                ended: pod.phase.terminal(),
            });
        }
        view
    }

    /// A revision as a number: that of its template.
    pub(crate) fn number(&self, name: &RevisionName) -> u8 {
        let image = ('A'..='Z').find(|image| domain::revision_name(SET, &template(*image), 0) == *name);
        image.map_or(u8::MAX, image_number)
    }

    pub(crate) fn uid(&mut self, what: &str) -> Uid {
        self.incarnations += 1;
        Uid(format!("{what}-{}", self.incarnations))
    }

    /// A claim of another set, under a name of ours.
    pub fn add_foreign_claim(&mut self, ordinal: u32) {
        let name = domain::claim_name(TEMPLATE, SET, Ordinal(ordinal));
        let uid = self.uid("foreign");
        let stored =
            SetClaim { name: name.clone(), uid, version: 1, made_for: "b-web".to_owned(), ..SetClaim::default() };
        self.claims.insert(name, Claim { ordinal: Ordinal(ordinal), stored });
    }
}

/// Our set.
#[must_use]
pub fn set_ref() -> SetRef {
    SetRef { namespace: "default".to_owned(), name: SET.to_owned(), uid: Uid("set".to_owned()) }
}

/// Canonical bytes of a template.
#[must_use]
pub fn template(image: char) -> String {
    format!(r#"{{"spec":{{"template":{{"$patch":"replace","image":"{image}"}}}}}}"#)
}

fn image_number(image: char) -> u8 {
    image as u8 - b'A'
}

/// Whether an owner is our set.
pub(crate) fn is_set(owner: &OwnerReference) -> bool {
    owner.kind == "StatefulSet"
}

fn words(decision: &Decision) -> String {
    let Decision { update, order, claims } = decision;
    let mut words: Vec<String> = update
        .revisions
        .iter()
        .map(|change| match change {
            domain::RevisionChange::Create(revision) => format!("create revision {}", revision.name),
            domain::RevisionChange::Renumber { name, number } => format!("renumber {name} to {number}"),
            domain::RevisionChange::Prune { name } => format!("delete revision {name}"),
        })
        .collect();
    words
        .extend(claims.owners.iter().map(|change| format!("{} is owned by {:?}", change.claim, kinds(&change.owners))));
    words.extend(claims.create.iter().map(|claim| format!("create claim {}", claim.name)));
    words.extend(
        order.create.iter().map(|creation| format!("create pod {} at {}", creation.ordinal, creation.revision)),
    );
    let deletions = order.delete.iter().chain(&update.replace);
    words.extend(deletions.map(|deletion| format!("delete pod {} ({})", deletion.ordinal, deletion.why)));
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn kinds(owners: &[OwnerReference]) -> Vec<&str> {
    owners.iter().map(|owner| owner.kind.as_str()).collect()
}

/// The status in numbers, for the checks.
pub(crate) fn counted(cluster: &Cluster, status: &SetStatus) -> checks::Counted {
    checks::Counted {
        replicas: status.replicas,
        ready: status.ready_replicas,
        available: status.available_replicas,
        current_replicas: status.current_replicas,
        updated: status.updated_replicas,
        current: cluster.number(&status.current_revision),
        update: cluster.number(&status.update_revision),
    }
}
