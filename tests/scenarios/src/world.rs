//! The world and its laws.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::safety::Plans;
use domain::{
    Failures, Generation, IntOrPercent, Intent, Ordinal, OrdinalPlan, OrdinalRequest, Outage, Phase, Pod,
    PodManagementPolicy, Revision, RevisionChange, RevisionName, RollingUpdate, SetRef, SetSpec, SetStatus, Snapshot,
    Switches, Timestamp, Uid, UpdatePlan, UpdateRequest, UpdateStrategy,
};

use crate::invariants;
use crate::told;

/// How many passes a set may need to settle. Each pod takes a handful of passes per revision; the sets of these tests
/// have at most a dozen pods.
const PASSES_MAX: usize = 400;

/// One set and everything that belongs to it.
#[derive(Debug, Clone)]
pub struct World {
    /// Its spec.
    pub spec: SetSpec,
    /// What is to become of it.
    pub intent: Intent,
    /// Which mends apply.
    pub switches: Switches,
    /// Its pods.
    pub pods: BTreeMap<Ordinal, Pod>,
    /// Its stored revisions.
    pub revisions: Vec<Revision>,
    /// Its stored status.
    pub status: SetStatus,
    /// Its generation.
    pub generation: i64,
    /// What its template runs, such as `A`; also the name of the revision in these tests.
    pub image: String,
    /// Images whose pods start but never become ready.
    pub bad: BTreeSet<String>,
    /// Whether the newest revision is said to equal the template once it is defaulted anew.
    pub equal_after_defaulting: bool,
    /// Ordinals whose pods have ended lately, as the last pass remembers them.
    pub failures: Vec<Failures>,
    /// Since when ordinals are out, where their pods do not tell, as the last pass remembers it.
    pub outages: Vec<Outage>,
    /// Up to where the set was complete at one time.
    pub formed: Option<Ordinal>,
    /// Whether the last pass found that the set must be started as a whole.
    pub cold_start: bool,
    /// Whether the set was paused in the last pass.
    pub was_paused: bool,
    /// When it was resumed last, as far as a pass has seen it.
    pub resumed_at: Option<Timestamp>,
    /// The present moment.
    pub now: Timestamp,
    incarnations: u64,
    images: BTreeMap<RevisionName, String>,
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The update planner's answer.
    pub update: UpdatePlan,
    /// The ordinal scheduler's answer.
    pub ordinals: OrdinalPlan,
    /// Creations and deletions in words, such as `create 0@A, delete 2@A`; `none` without any.
    pub actions: String,
    /// Whether the status was written.
    pub wrote: bool,
}

impl World {
    /// A new standard set: three replicas, OrderedReady, RollingUpdate with a block, one at a time.
    #[must_use]
    pub fn new(switches: Switches) -> Self {
        let block = RollingUpdate { partition: 0, max_unavailable: Some(IntOrPercent::Int(1)) };
        let strategy = UpdateStrategy::RollingUpdate(Some(block));
        Self {
            spec: SetSpec { replicas: 3, strategy, revision_history_limit: 10, ..SetSpec::default() },
            intent: Intent::Keep,
            switches,
            pods: BTreeMap::new(),
            revisions: Vec::new(),
            status: SetStatus::default(),
            generation: 1,
            image: "A".to_owned(),
            bad: BTreeSet::new(),
            equal_after_defaulting: false,
            failures: Vec::new(),
            outages: Vec::new(),
            formed: None,
            cold_start: false,
            was_paused: false,
            resumed_at: None,
            now: Timestamp(1_000_000_000),
            incarnations: 0,
            images: BTreeMap::new(),
        }
    }

    /// What the planners see now.
    #[must_use]
    pub fn request(&self) -> UpdateRequest {
        let set = SetRef { namespace: "default".to_owned(), name: "web".to_owned(), uid: Uid("set".to_owned()) };
        let snapshot = Snapshot {
            set,
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
            switches: self.switches,
            now: self.now,
        };
        let newest = self.revisions.iter().max_by_key(|revision| revision.number);
        let equal_after_defaulting = newest.filter(|_| self.equal_after_defaulting).map(|newest| newest.name.clone());
        let revisions = self.revisions.clone();
        UpdateRequest {
            snapshot,
            template: template(&self.image),
            revisions,
            equal_after_defaulting,
            ..UpdateRequest::default()
        }
    }

    /// Asks both planners and applies what they say, then checks the invariants.
    pub fn pass(&mut self) -> Pass {
        let before = self.clone();
        let request = self.request();
        let update = update_planner::plan::plan(&request);
        told::assert_same_update(&request, &update);
        let question = OrdinalRequest { snapshot: request.snapshot, targets: update.targets.clone() };
        let ordinals = ordinal_scheduler::plan::plan(&question);
        told::assert_same_order(&question, &ordinals);
        let plans = Plans { snapshot: &question.snapshot, update: &update, order: &ordinals };
        plans.check().unwrap_or_else(|breach| panic!("{breach}: {update:#?} {ordinals:#?}"));
        self.failures.clone_from(&ordinals.failures);
        self.outages.clone_from(&update.outages);
        self.formed = question.snapshot.formed_by_now();
        self.cold_start = ordinals.cold_start;
        (self.was_paused, self.resumed_at) = (self.spec.paused, question.snapshot.resumed_at);
        for change in &update.revisions {
            self.change_revision(change);
        }
        let actions = self.apply(&update, &ordinals);
        let wrote = differs(&self.status, &update.status);
        if wrote {
            self.status = update.status.clone();
        }
        let pass = Pass { update, ordinals, actions, wrote };
        invariants::check(&before, &pass, self);
        pass
    }

    /// Lets everything that can go well go well, pass after pass, until nothing is left to do: pods that have not run
    /// become ready, terminating ones disappear, time passes. Pods that broke stay broken.
    ///
    /// # Panics
    /// If the set does not come to rest.
    pub fn settle(&mut self) {
        for _ in 0..PASSES_MAX {
            let pass = self.pass();
            let idle = pass.actions == "none" && !pass.wrote && pass.update.revisions.is_empty();
            if self.progress() || !idle {
                continue;
            }
            let moments = [pass.update.look_again_at, pass.ordinals.look_again_at];
            match moments.into_iter().flatten().min() {
                Some(moment) => self.now = moment,
                None => return,
            }
        }
        panic!("does not settle: {self:#?}");
    }

    /// One step of the world towards rest; whether anything changed.
    fn progress(&mut self) -> bool {
        let starting: Vec<Ordinal> = self.those(|pod| pod.phase == Phase::Pending && !pod.terminating);
        let ending: Vec<Ordinal> = self.those(|pod| pod.terminating);
        for ordinal in &starting {
            self.run(*ordinal);
        }
        for ordinal in &ending {
            self.pods.remove(ordinal);
        }
        let snapshot = self.request().snapshot;
        let soaking = snapshot.pods.iter().any(|pod| pod.is_ready() && snapshot.unavailable(pod));
        if soaking {
            self.advance(Duration::from_secs(self.spec.min_ready_seconds.into()));
        }
        soaking || !starting.is_empty() || !ending.is_empty()
    }

    /// The ordinals of the pods that are like this.
    pub fn those(&self, like: impl Fn(&Pod) -> bool) -> Vec<Ordinal> {
        self.pods.values().filter(|pod| like(pod)).map(|pod| pod.ordinal).collect()
    }

    /// A pod starts its containers, and becomes ready unless its image is bad.
    pub fn run(&mut self, ordinal: Ordinal) {
        let revision = self.pod_mut(ordinal).revision.clone();
        let good = !self.bad.contains(self.image_of(revision.as_ref()));
        self.observe(ordinal, Phase::Running, good);
    }

    /// Time passes.
    pub fn advance(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    /// A pod is reported to be in this phase, ready or not. Readiness keeps its time if it does not change.
    pub fn observe(&mut self, ordinal: Ordinal, phase: Phase, ready: bool) {
        let now = self.now;
        let pod = self.pod_mut(ordinal);
        if pod.ready != ready {
            pod.ready_since = Some(now);
        }
        (pod.phase, pod.ready) = (phase, ready);
        pod.version += 1;
    }

    /// Somebody deletes a pod, and it has time to end.
    pub fn terminate(&mut self, ordinal: Ordinal) {
        self.pod_mut(ordinal).terminating = true;
    }

    /// The pod of an ordinal, which must exist.
    ///
    /// # Panics
    /// If it does not.
    pub fn pod_mut(&mut self, ordinal: Ordinal) -> &mut Pod {
        self.pods.get_mut(&ordinal).unwrap_or_else(|| panic!("no pod {ordinal}"))
    }

    /// A pod appears that nobody planned.
    pub fn adopt(&mut self, ordinal: Ordinal, revision: &str) {
        let name = RevisionName(format!("web-{revision}").into());
        self.images.insert(name.clone(), revision.to_owned());
        self.start(ordinal, name);
        self.observe(ordinal, Phase::Running, true);
    }

    /// The image of a revision, even of one that is stored no more.
    #[must_use]
    pub fn image_of(&self, revision: Option<&RevisionName>) -> &str {
        revision.and_then(|revision| self.images.get(revision)).map_or("", String::as_str)
    }

    fn apply(&mut self, update: &UpdatePlan, ordinals: &OrdinalPlan) -> String {
        let mut actions = Vec::new();
        for creation in &ordinals.create {
            assert!(!self.pods.contains_key(&creation.ordinal), "created twice: {creation:?}");
            self.start(creation.ordinal, creation.revision.clone());
            actions.push(format!("create {}@{}", creation.ordinal, self.image_of(Some(&creation.revision))));
        }
        for ordinal in &update.recall {
            assert!(ordinals.create.iter().any(|creation| creation.ordinal == *ordinal), "recalled: {ordinal}");
            self.terminate(*ordinal);
            let image = self.image_of(self.pods[ordinal].revision.as_ref());
            actions.push(format!("delete {ordinal}@{image}"));
        }
        for deletion in ordinals.delete.iter().chain(&update.replace) {
            if !self.pods.contains_key(&deletion.ordinal) {
                let again = ordinals.delete.iter().any(|first| first.uid == deletion.uid);
                assert!(again && !self.switches.delete_once, "nothing to delete: {deletion:?}");
                actions.push(format!("delete {} again", deletion.ordinal));
                continue;
            }
            let pod = self.pod_mut(deletion.ordinal);
            assert_eq!(pod.uid, deletion.uid, "deletes another incarnation");
            assert!(!pod.terminating, "deleted twice: {deletion:?}");
            pod.terminating = true;
            let (ended, revision) = (pod.phase.terminal(), pod.revision.clone());
            actions.push(format!("delete {}@{}", deletion.ordinal, self.image_of(revision.as_ref())));
            if ended {
                self.pods.remove(&deletion.ordinal);
            }
        }
        if actions.is_empty() { "none".to_owned() } else { actions.join(", ") }
    }

    fn start(&mut self, ordinal: Ordinal, revision: RevisionName) {
        self.incarnations += 1;
        let uid = Uid(format!("pod-{}", self.incarnations));
        let (revision, created_at) = (Some(revision), self.now);
        let pod = Pod { ordinal, uid, version: 1, revision, created_at, ..Pod::default() };
        self.pods.insert(ordinal, pod);
    }

    fn change_revision(&mut self, change: &RevisionChange) {
        match change {
            RevisionChange::Create(revision) => {
                assert!(self.revisions.iter().all(|old| old.name != revision.name), "name taken: {revision:?}");
                self.images.insert(revision.name.clone(), self.image.clone());
                self.revisions.push(revision.clone());
            }
            RevisionChange::Renumber { name, number } => {
                let revision = self.revisions.iter_mut().find(|revision| revision.name == *name);
                revision.expect("renumbers a stored revision").number = *number;
            }
            RevisionChange::Prune { name } => self.revisions.retain(|revision| revision.name != *name),
        }
    }

    /// Stored revisions by number, such as `A=1 B=2`.
    #[must_use]
    pub fn history(&self) -> String {
        let mut sorted: Vec<_> = self.revisions.iter().collect();
        sorted.sort_by_key(|revision| revision.number);
        let shown =
            sorted.iter().map(|revision| format!("{}={}", self.image_of(Some(&revision.name)), revision.number));
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Changes the spec.
    pub fn change(&mut self, change: impl FnOnce(&mut SetSpec)) {
        change(&mut self.spec);
        self.generation += 1;
    }

    /// Changes the block of the rolling update, which must be there.
    ///
    /// # Panics
    /// If there is none.
    pub fn change_block(&mut self, change: impl FnOnce(&mut RollingUpdate)) {
        self.change(|spec| match &mut spec.strategy {
            UpdateStrategy::RollingUpdate(Some(block)) => change(block),
            other => panic!("no block in {other:?}"),
        });
    }

    /// Changes the template.
    pub fn roll(&mut self, image: &str) {
        self.generation += 1;
        image.clone_into(&mut self.image);
    }

    /// Whether pods are handled one after another.
    #[must_use]
    pub fn ordered(&self) -> bool {
        self.spec.policy == PodManagementPolicy::OrderedReady
    }
}

/// Canonical bytes of the template that runs `image`.
#[must_use]
pub(crate) fn template(image: &str) -> String {
    format!(r#"{{"spec":{{"template":{{"$patch":"replace","image":"{image}"}}}}}}"#)
}

/// Whether a status must be written (StatefulSet rules, section 10.5).
fn differs(stored: &SetStatus, computed: &SetStatus) -> bool {
    let compared = SetStatus {
        observed_generation: stored.observed_generation,
        collision_count: stored.collision_count,
        ..computed.clone()
    };
    compared != *stored || computed.observed_generation > stored.observed_generation
}
