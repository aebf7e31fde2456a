//! StatefulSets: one pass brings one set one safe step nearer to its spec.
//!
//! A pass takes a scene from the world, asks the planners (updates, order, claims, identities: each answer is part of the
//! next question, which [`foresight`] may ask early), and commits what they say in one transaction that rests on the very
//! versions they saw: revisions first, then claims and pods, deletions, status last, together with the record of what was
//! decided and why. Where the next step follows from one report, a pass goes along with that ([`coming`]) instead of waiting
//! until it is stored.

mod adopt;
pub(crate) mod budget;
mod claims;
mod coming;
pub(crate) mod deletion;
mod execute;
mod foresight;
mod identity;
mod outages;
mod pace;
mod planners;
mod record;
mod refusals;
mod roster;
pub(crate) mod scene;
mod settled;
mod status;
mod stored;
pub(crate) mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::manifest::Kind;
use api::question::OrdinalQuestion;
use domain::safety::Plans;
use domain::{
    DecisionRecord, Intent, OrdinalPlan, PodCreation, PodIdentity, Switches, Timestamp, Uid, UpdatePlan, Wait,
};
use service_kit::Context;
use tokio::sync::Notify;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use self::claims::ClaimPlan;
pub(crate) use self::coming::Expected;
use self::coming::{Arrivals, Coming, InVain};
use self::foresight::Foresight;
use self::pace::Pace;
pub(crate) use self::planners::{PlannerError, Planners};
use self::record::Recorder;
use self::refusals::{Failure, Refusal};
use self::roster::Rosters;
use self::scene::{Glance, InvalidSet, Scene};
use self::settled::Settled;
use self::waiting::{Telling, Waiting};
use crate::config::Patience;
use crate::driver::{Controller, Outcome};
use crate::events;
use crate::machines;
use crate::pods::placement;
use crate::rollouts::{self, Rollout};
use crate::store::{CommitError, StoreRevision};
use crate::world::{Change, Key, Transaction, Untouched, World, owners};

/// Times are whole milliseconds: what is cut off must not make a pass come too early.
const MOMENT: Duration = Duration::from_millis(1);

/// Keeps sets.
#[derive(Debug)]
pub(crate) struct Sets {
    world: Arc<World>,
    planners: Planners,
    switches: Switches,
    context: Context,
    rosters: Rosters,
    recorder: Recorder,
    foresight: Foresight,
    settled: Settled,
    pace: Pace,
    arrivals: Arc<Arrivals>,
    /// Whether every pod is to stop because the machine goes down.
    draining: AtomicBool,
    shaken: Notify,
    /// The monotonic time at which this process began to look after sets.
    started_at: Duration,
}

/// All that the planners said about one scene.
#[derive(Debug, Default)]
struct Decision {
    update: UpdatePlan,
    order: OrdinalPlan,
    claims: ClaimPlan,
    identities: Vec<PodIdentity>,
    /// Pods that cannot be created, or not be put right.
    refusals: Vec<Refusal>,
    /// What the pass fails with once all of this is done (switch `isolate_refusals`).
    failure: Option<Failure>,
}

/// What a pass has committed.
#[derive(Debug)]
struct Committed {
    /// Revision of its last commit, if that wrote anything.
    own: Option<StoreRevision>,
    /// Whether it did anything but write down what it found.
    steps: bool,
    /// Whether the next step may follow from it at once.
    goes_on: bool,
    /// When time alone may change what is to be done, or told.
    look_again_at: Option<Timestamp>,
}

/// One commit of a pass: what it rested on, and its revision.
#[derive(Debug, Clone)]
struct Done {
    untouched: Vec<Untouched>,
    at: StoreRevision,
}

impl Decision {
    /// Every reason to wait, each once, the one that matters most first: what holds up creation and deletion, then why
    /// outdated pods stay, which follows from it or is wanted. Both by ordinal, then what concerns no single one.
    fn waits(&self) -> Vec<Wait> {
        fn sorted<'a>(waits: impl Iterator<Item = &'a Wait>) -> Vec<&'a Wait> {
            let mut waits: Vec<_> = waits.collect();
            waits.sort_by_key(|wait| (wait.ordinal.is_none(), wait.ordinal));
            waits
        }
        let order = sorted(self.order.waits.iter().chain(&self.claims.waits));
        let mut seen = BTreeSet::new();
        let all = order.into_iter().chain(sorted(self.update.waits.iter()));
        all.filter(|wait| seen.insert((wait.ordinal, &wait.reason))).cloned().collect()
    }

    /// When time alone may change what the planners say.
    fn look_again_at(&self) -> Option<Timestamp> {
        [self.update.look_again_at, self.order.look_again_at].into_iter().flatten().min()
    }
}

impl Sets {
    pub(crate) fn new(
        world: Arc<World>,
        planners: Planners,
        switches: Switches,
        patience: Patience,
        context: Context,
    ) -> Self {
        let arrivals = Arrivals::new(patience, &context.metrics);
        let started_at = context.clock.monotonic();
        Self {
            world,
            planners,
            switches,
            context,
            rosters: Rosters::default(),
            recorder: Recorder::default(),
            foresight: Foresight::default(),
            settled: Settled::default(),
            pace: Pace::default(),
            arrivals,
            draining: AtomicBool::new(false),
            shaken: Notify::new(),
            started_at,
        }
    }

    /// From now on pods stop in order and none starts.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.shaken.notify_one();
    }

    fn forget(&self, set: &Uid) {
        self.rosters.forget(set);
        self.recorder.forget(set);
        self.foresight.forget(set);
        self.settled.forget(set);
        self.pace.forget(set);
    }

    async fn try_pass(&self, key: &Key) -> Result<Outcome, String> {
        let now = self.context.clock.now();
        if let Some(set) = self.world.get(key).filter(|set| deletion::lets_go(set)) {
            let letting_go = self.world.commit(deletion::let_go(&self.world, &set, now)).instrument(execute_span());
            let outcome = self.committed(letting_go.await)?;
            return Ok(outcome.unwrap_or(Outcome::At(now)));
        }
        let taken = tracing::debug_span!("snapshot").in_scope(|| self.look(key, now));
        let Some(scene) = taken.map_err(|error| error.to_string())? else {
            return Ok(Outcome::Settled);
        };
        if deletion::lets_go(&scene.set) {
            // Somebody has just asked for that.
            return Ok(Outcome::Stale);
        }
        let Some(coming) = &scene.coming else { return self.act(&scene, now).await };
        let outcome = tokio::select! {
            biased;
            outcome = self.act_along(&scene, coming, now) => outcome,
            why = coming.in_vain() => {
                if why == InVain::NamesAreLate {
                    self.arrivals.note_late(true);
                }
                None
            }
        };
        self.arrivals.ended(key, outcome.is_none());
        outcome.unwrap_or(Ok(Outcome::Stale))
    }

    /// One pass along with a report; none where it was in vain. Whatever follows from a report that is not stored, an error
    /// too, says nothing of the set. Where something came between, it is looked at again at once, whatever becomes of the report.
    async fn act_along(&self, scene: &Scene, coming: &Coming, now: Timestamp) -> Option<Result<Outcome, String>> {
        let outcome = self.act(scene, now).await;
        coming.no_more_follows();
        if outcome == Ok(Outcome::Stale) && !coming.has_followed() {
            return None;
        }
        match coming.report().await {
            Some(report) => Some(outcome.map(|outcome| outcome.knowing(report))),
            None => coming.has_followed().then_some(outcome),
        }
    }

    /// A set as it is, or as it will be once a report that is on its way is stored; none if it does not exist.
    fn look(&self, key: &Key, now: Timestamp) -> Result<Option<Scene>, InvalidSet> {
        let draining = self.draining.load(Ordering::SeqCst);
        let watched = self.context.clock.monotonic().saturating_sub(self.started_at);
        let (switches, watched_since) = (self.switches, now.minus(watched));
        let glance = Glance { draining, switches, now, watched_since, coming: self.arrivals.take(key) };
        Scene::take(&self.world, &self.rosters, key, glance)
    }

    async fn act(&self, scene: &Scene, now: Timestamp) -> Result<Outcome, String> {
        Span::current().record("generation", scene.snapshot.generation.0);
        if let Some(outcome) = self.adopt(scene, now).await? {
            return Ok(outcome);
        }
        if scene.snapshot.intent == Intent::Delete
            && scene.members.is_empty()
            && let Some(finish) = deletion::finish(scene, &self.world)
        {
            let finish = self.commit(scene, finish, None).instrument(execute_span());
            let outcome = self.committed(finish.await)?;
            self.forget(&scene.snapshot.set.uid);
            return Ok(outcome.unwrap_or(Outcome::Settled));
        }
        match self.decide(scene).instrument(tracing::debug_span!("plan")).await {
            Ok(decision) => self.execute(scene, &decision, now).instrument(execute_span()).await,
            Err(error) => {
                let wait = Wait { ordinal: None, reason: error.wait() };
                self.note_wait(scene, wait, now).instrument(execute_span()).await;
                Err(error.to_string())
            }
        }
    }

    async fn decide(&self, scene: &Scene) -> Result<Decision, PlannerError> {
        let snapshot = scene.encoded(&scene.told);
        let update = self.planners.update(scene.update_question(&snapshot), scene);
        let order = |targets| self.planners.order(OrdinalQuestion::new(&snapshot, targets), scene);
        let plans = self.foresight.ask(&scene.snapshot.set.uid, update, order);
        let (set, service_name) = (&scene.snapshot.set, scene.set.text("/spec/serviceName"));
        let expected = self.foresight.creation(&scene.told);
        let mut early = pin!(self.planners.identities(set, service_name, &expected));
        let (plans, identified) = foresight::alongside(plans, early.as_mut()).await;
        let (update, order) = plans?;
        let mut decision = Decision { update, order, ..Decision::default() };
        self.weigh(scene, &mut decision).await?;
        if deletion::only_waits(scene) {
            decision.claims.waits.extend(deletion::wait(scene, &self.world));
            decision.update.revisions.clear();
        }
        let Decision { update, order, claims, identities, .. } = &mut decision;
        order.create.retain(|creation| !claims.blocks(creation.ordinal));
        outages::add_held(&scene.snapshot, update, order.waits.iter().chain(&claims.waits));
        let created = |creation: &PodCreation| (creation.ordinal, creation.revision.clone());
        let create: Vec<_> = order.create.iter().map(created).collect();
        let anew = self.planners.identities(set, service_name, &create);
        *identities = foresight::answer(create == expected, (identified, early), anew).await?;
        // Whatever a planner says: what must never happen is refused here, and the commit rests on what was looked at.
        let plans = Plans { snapshot: &scene.snapshot, update, order };
        plans.check().map_err(PlannerError::answer("planner"))?;
        Ok(decision)
    }

    async fn execute(&self, scene: &Scene, decision: &Decision, now: Timestamp) -> Result<Outcome, String> {
        let plan = execute::transactions(&self.world, scene, decision, now)?;
        let waits = decision.waits();
        if let Some(wait) = waits.first() {
            Span::current().record("setkeeper.wait.reason", tracing::field::display(&wait.reason));
        }
        let record = DecisionRecord {
            set: scene.snapshot.set.clone(),
            generation: scene.snapshot.generation,
            at: now,
            trace_id: trace_id(),
            steps: plan.steps,
            waits: waits.clone(),
        };
        let mut transactions = plan.transactions;
        let last = transactions.last_mut().expect("there is always one, for the status");
        let number = self.recorder.add(last, &self.world, &scene.set, &record);
        let (tell_at, waiting) = self.tell_waits(last, scene, (&waits, true), now);
        let look_again_at = [decision.look_again_at(), tell_at].into_iter().flatten().min();
        let progress_only = record.steps.is_empty() && !waits.is_empty() && transactions.len() == 1;
        if progress_only && !transactions[0].is_empty() {
            let monotonic = self.context.clock.monotonic();
            if let Err(early) = self.pace.take(&scene.snapshot.set.uid, monotonic) {
                let later = self.context.clock.now().plus(early + MOMENT);
                return Ok(Outcome::At(look_again_at.map_or(later, |next| next.min(later))));
            }
        }
        let mut committed =
            Committed { own: None, steps: !record.steps.is_empty(), goes_on: plan.goes_on, look_again_at };
        let mut before = None;
        for transaction in transactions {
            let writes = !transaction.is_empty();
            let result = self.commit(scene, transaction, before.as_ref()).await;
            before = result.as_ref().ok().cloned();
            committed.own = before.as_ref().map(|done| done.at).filter(|_| writes);
            if let Some(outcome) = self.committed(result)? {
                return Ok(outcome);
            }
        }
        if let Some(number) = number {
            tracing::info!(
                namespace = scene.set.key.namespace,
                set = scene.set.key.name,
                generation = scene.snapshot.generation.0,
                steps = record.steps.len(),
                waits = record.waits.len(),
                "pass changed something"
            );
            self.recorder.committed(&scene.set, number, waits);
        }
        self.recorder.keep(&self.world, &scene.set, waiting);
        if let Some(failure) = &decision.failure {
            return Err(failure.error.clone());
        }
        Ok(self.rest(scene, &committed))
    }

    /// When to look again after a pass that committed last at `own`, if it did.
    ///
    /// What a pass wrote itself is no news to it. Only the counts that follow from its own steps are: they are written
    /// together with the next step, or no sooner than progress may be.
    fn rest(&self, scene: &Scene, committed: &Committed) -> Outcome {
        let next = committed.look_again_at;
        let Some(own) = committed.own.filter(|_| !committed.goes_on) else {
            return next.map_or(Outcome::Settled, Outcome::At);
        };
        if !committed.steps {
            return Outcome::After(vec![own], next);
        }
        let wait = self.pace.wait(&scene.snapshot.set.uid, self.context.clock.monotonic());
        let later = self.context.clock.now().plus(wait + MOMENT);
        Outcome::After(vec![own], Some(next.map_or(later, |next| next.min(later))))
    }

    /// Tells what a set has waited for for a while, and when to look again for what it has not; with what is to be kept of it
    /// once that is durable.
    fn tell_waits(
        &self,
        transaction: &mut Transaction,
        scene: &Scene,
        (waits, decided): (&[Wait], bool),
        now: Timestamp,
    ) -> (Option<Timestamp>, Waiting) {
        let mut waiting = self.recorder.waiting(&self.world, &scene.set);
        let monotonic = self.context.clock.monotonic();
        waiting.update(waits, decided, monotonic);
        if !self.switches.tell_waits {
            return (None, waiting);
        }
        let Telling { event, next } = waiting.tell(&self.world, scene, waits, monotonic);
        if let Some(event) = event {
            if transaction.is_empty() {
                transaction.unchanged(&scene.set);
            }
            let about = (&scene.set.key, &*scene.set.uid().0);
            events::record(transaction, &self.world, about, execute::COMPONENT, &event, now);
        }
        (next.map(|next| now.plus(next + MOMENT)), waiting)
    }

    /// Commits what follows from a scene, after what was done `before` for the same one. Where it shows a report that is on
    /// its way, this comes right behind the report.
    async fn commit(
        &self,
        scene: &Scene,
        mut transaction: Transaction,
        before: Option<&Done>,
    ) -> Result<Done, CommitError> {
        let coming = scene.coming.as_ref().filter(|_| !transaction.is_empty());
        if let Some(coming) = coming {
            coming.precede(scene, &mut transaction);
        }
        let untouched = transaction.untouched().to_vec();
        if let Some(Done { untouched, at }) = before {
            transaction.follow(untouched, *at);
        }
        let at = match coming {
            Some(coming) => coming.commit(&self.world, transaction).await?,
            None => self.world.commit(transaction).await?,
        };
        Ok(Done { untouched, at })
    }

    /// What a commit means for the pass: nothing, if it succeeded.
    fn committed<T>(&self, result: Result<T, CommitError>) -> Result<Option<Outcome>, String> {
        match result {
            Ok(_) => Ok(None),
            Err(CommitError::Conflict { .. }) => Ok(Some(Outcome::Stale)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Records that a planner does not answer, once.
    async fn note_wait(&self, scene: &Scene, wait: Wait, now: Timestamp) {
        let record = DecisionRecord {
            set: scene.snapshot.set.clone(),
            generation: scene.snapshot.generation,
            at: now,
            trace_id: trace_id(),
            steps: Vec::new(),
            waits: vec![wait.clone()],
        };
        let mut transaction = Transaction::default();
        let number = self.recorder.add(&mut transaction, &self.world, &scene.set, &record);
        // Also where the reason is an old one: the set may have been complete when it was first noted, and no longer be.
        if let Some(value) = status::undecided(scene, &record.waits, now) {
            transaction.update(&scene.set, value);
        }
        // It is tried again until it is time.
        let (_, waiting) = self.tell_waits(&mut transaction, scene, (&record.waits, false), now);
        if self.commit(scene, transaction, None).await.is_err() {
            return;
        }
        if let Some(number) = number {
            self.recorder.committed(&scene.set, number, vec![wait]);
        }
        self.recorder.keep(&self.world, &scene.set, waiting);
    }
}

fn execute_span() -> Span {
    tracing::debug_span!("execute", setkeeper.wait.reason = Empty)
}

/// Trace of the pass under way, 32 hexadecimal digits; empty where nothing is traced.
fn trace_id() -> String {
    let parent = service_kit::telemetry::current_traceparent();
    parent.as_deref().and_then(|parent| parent.split('-').nth(1)).unwrap_or_default().to_owned()
}

impl Controller for Sets {
    type Key = Key;
    const NAME: &'static str = "sets";

    fn keys(&self, world: &World) -> Vec<Key> {
        let sets = world.list(Kind::StatefulSet, None);
        // Also asked for when changes were missed, the end of a set among them.
        self.rosters.keep(&sets.iter().map(|set| set.uid()).collect());
        // From time to time everything is asked anew: what was right to an earlier volume-claim may not be to this one.
        self.settled.forget_all();
        sets.iter().map(|set| set.key.clone()).collect()
    }

    fn affected(&self, world: &World, change: &Change) -> Vec<Key> {
        let key = &change.key;
        let mut sets = match key.kind {
            Kind::StatefulSet => {
                if let Some(old) = change.old.as_ref().filter(|old| replaced(old, change.new.as_deref())) {
                    self.forget(&old.uid());
                }
                vec![key.clone()]
            }
            Kind::Pod => {
                let owners = change.old.iter().chain(&change.new).flat_map(|object| owner_sets(object));
                let by_name =
                    key.name.rsplit_once('-').map(|(set, _)| Key::new(Kind::StatefulSet, &key.namespace, set));
                // Also when a pod goes that was not of this set: its name is free now.
                let orphan = by_name.filter(|_| change.new.as_ref().is_none_or(|pod| pod.controller_uid().is_none()));
                let mut concerned: Vec<Key> = owners.chain(orphan).collect();
                if merely_placed(change) {
                    // Where pods are stuck the status tells what keeps them: one that got its machine is kept by something else.
                    concerned.retain(|set| world.get(set).is_some_and(|set| stored::holds(&set.value, stored::STUCK)));
                }
                concerned
            }
            // A claim bound or grown means nothing to the order; one that goes, comes or changes hands does.
            Kind::PersistentVolumeClaim if self.switches.wait_for_claims && claim_changed_hands(change) => {
                let sets = world.list(Kind::StatefulSet, Some(&key.namespace));
                sets.iter()
                    .filter(|set| templates::claim_ordinal(&set.value, &key.name).is_some())
                    .map(|set| set.key.clone())
                    .collect()
            }
            Kind::Node if machines::comes_or_goes(change) => {
                world.list(Kind::StatefulSet, None).iter().map(|set| set.key.clone()).collect()
            }
            _ => Vec::new(),
        };
        sets.extend(deletion::freed(world, change));
        sets
    }

    async fn called(&self) -> Vec<Key> {
        self.arrivals.called().await
    }

    async fn shaken(&self) {
        self.shaken.notified().await;
    }

    /// While a rollout is under way, a pass is part of its trace; else a trace of its own.
    fn span(&self, key: &Key) -> Span {
        let span = tracing::debug_span!(
            parent: None,
            "reconcile",
            controller = Self::NAME,
            k8s.namespace.name = key.namespace,
            k8s.statefulset.name = key.name,
            generation = Empty,
            outcome = Empty,
            otel.status_code = Empty,
        );
        if !span.is_none()
            && let Some(set) = self.world.get(key)
        {
            rollouts::join(&span, Rollout::under_way(&set.value).map(|rollout| rollout.root));
        }
        span
    }

    async fn pass(self: Arc<Self>, key: Key) -> Outcome {
        self.try_pass(&key).await.unwrap_or_else(Outcome::Failed)
    }
}

/// Whether this incarnation of an object is no more.
fn replaced(old: &crate::world::Object, new: Option<&crate::world::Object>) -> bool {
    new.is_none_or(|new| new.uid() != old.uid())
}

/// Whether a pod has got its machine, and nothing else has become of it: what a set waits for comes later.
fn merely_placed(change: &Change) -> bool {
    let versions = change.old.as_ref().zip(change.new.as_ref());
    versions.is_some_and(|(old, new)| placement::merely_placed(old, new))
}

fn claim_changed_hands(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let hands =
        |object: &crate::world::Object| (object.deleting(), object.value.pointer("/metadata/ownerReferences").cloned());
    hands(old) != hands(new)
}

/// The sets that an object names as owners.
fn owner_sets(object: &crate::world::Object) -> impl Iterator<Item = Key> {
    let sets = owners(&object.value).filter(|owner| owner.get("kind").is_some_and(|kind| kind == "StatefulSet"));
    let names = sets.filter_map(|owner| owner.get("name")?.as_str());
    names.map(|name| Key::new(Kind::StatefulSet, &object.key.namespace, name))
}
