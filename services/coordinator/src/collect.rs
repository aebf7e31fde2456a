//! Collection: objects whose owners are gone go too, those that some of them outlive forget the others, and records that
//! only inform are kept within bounds.
//!
//! Unknown is never gone. An owner counts as gone only when its key is read from the complete state and holds nothing,
//! or another incarnation, or a set that was asked to go after all it owns and whose pods have stopped.
//!
//! A pass looks only at what a change may have condemned, so that its cost does not grow with what is stored; at the
//! start, at each slow tick, and when changes were missed, everything is looked at.

mod claims;
mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use api::manifest::Kind;
use domain::{Switches, Timestamp};
use serde_json::Value;
use service_kit::Context;

use self::claims::Verdict;
use self::owners::{orphaned, outlives_an_owner, taking_along, without_gone_owners};
use crate::driver::{Controller, Outcome};
use crate::events::last_seen;
use crate::objects::{object_mut, time_text};
use crate::pods::lifecycle;
use crate::pods::read::phase;
use crate::sets::deletion;
use crate::store::{BATCH_BYTES_MAX, CommitError};
use crate::world::{Change, Key, Object, Transaction, View, World};

/// Events kept per namespace: those of the last rollouts of a busy machine.
const EVENTS_PER_NAMESPACE_MAX: usize = 1000;

/// Events beyond the bound that may pile up before they are removed, so that not every event costs a removal.
const EVENTS_SLACK: usize = 100;

/// Count of a namespace whose events must be counted.
const COUNT_ANEW: usize = usize::MAX;

/// Kinds that have owners, or finalizers of ours that somebody else may release last.
const COLLECTED: [Kind; 5] =
    [Kind::Decision, Kind::ControllerRevision, Kind::Pod, Kind::PersistentVolumeClaim, Kind::PersistentVolume];

/// Objects collected in one pass.
const COLLECTED_AT_ONCE_MAX: usize = 256;

/// Bytes written in one commit, roughly: pods that are asked to go are written whole.
const BYTES_AT_ONCE_MAX: usize = BATCH_BYTES_MAX / 2;

/// Tries of what becomes of one claim against changes of its set.
const TRIES_MAX: u32 = 4;

/// Collects.
#[derive(Debug)]
pub(crate) struct Collector {
    world: Arc<World>,
    switches: Switches,
    context: Context,
    candidates: Mutex<Candidates>,
}

/// What a pass looks at, instead of everything that is stored.
#[derive(Debug, Default)]
struct Candidates {
    /// Objects that may have to go.
    objects: BTreeSet<Key>,
    /// Events by namespace, as far as changes told: counted anew whenever they seem too many.
    events: BTreeMap<String, usize>,
}

/// What one pass does.
#[derive(Default)]
struct Collected {
    transaction: Transaction,
    /// Candidates that there was no room for.
    rest: Vec<Key>,
    /// Claims whose owners are gone, and what becomes of them. Each is committed by itself: it rests on a whole set, and a
    /// set that is in motion must not hold up everything else.
    claims: Vec<(Arc<Object>, Verdict)>,
    /// Objects that some of their owners outlive, as they are without the others. Each by itself, as it may be in motion.
    bereft: Vec<(Arc<Object>, Value)>,
}

impl Collected {
    /// Whether a pass does no more.
    fn is_full(&self) -> bool {
        let many = self.transaction.len() + self.claims.len() + self.bereft.len();
        many >= COLLECTED_AT_ONCE_MAX || self.transaction.bytes() >= BYTES_AT_ONCE_MAX
    }
}

impl Collector {
    pub(crate) fn new(world: Arc<World>, switches: Switches, context: Context) -> Self {
        Self { world, switches, context, candidates: Mutex::default() }
    }

    fn candidates(&self) -> MutexGuard<'_, Candidates> {
        self.candidates.lock().expect("no holder of this lock panics")
    }

    /// What could not be committed is a candidate still.
    fn look_again(&self, looked_at: BTreeSet<Key>) {
        self.candidates().objects.extend(looked_at);
    }

    /// Candidates to remove, or to ask to go, now.
    fn collect(&self, view: &View<'_>, candidates: &BTreeSet<Key>, now: Timestamp) -> Collected {
        let mut collected = Collected::default();
        let mut candidates = candidates.iter();
        for object in candidates.by_ref().filter_map(|key| view.get(key)) {
            let Collected { transaction, claims, bereft, .. } = &mut collected;
            if object.deleting() {
                if finished(&object) {
                    transaction.delete(&object);
                }
            } else if !orphaned(view, &object) {
                if outlives_an_owner(view, &object) {
                    let value = without_gone_owners(view, &object);
                    bereft.push((object, value));
                }
            } else if object.kind() != Kind::PersistentVolumeClaim {
                // Somebody may just have let go of it instead.
                taking_along(view, &object).for_each(|set| transaction.unchanged(&set));
                delete(transaction, &object, now);
            } else if let Some(verdict) = claims::judge(view, &object, self.switches.withdraw_claim_references) {
                claims.push((object, verdict));
            }
            if collected.is_full() {
                break;
            }
        }
        collected.rest = candidates.cloned().collect();
        collected
    }

    /// Carries out what is to become of a claim. Its set may have changed because another of its claims went just before:
    /// then the claim is judged again.
    async fn carry_out(&self, claim: &Object, verdict: Verdict, now: Timestamp) -> Result<(), CommitError> {
        // Kubernetes says nothing of it.
        let tells = self.switches.publish_conditions;
        let mut tries = 1;
        let mut verdict = Some(verdict);
        while let Some(present) = verdict.take() {
            match self.world.commit(present.carry_out(&self.world, claim, now, tells)).await {
                Err(CommitError::Conflict { .. }) if tries < TRIES_MAX => tries += 1,
                committed => return committed.map(drop),
            }
            verdict = self.world.view(|view| {
                let same = view.get(&claim.key).filter(|stored| stored.version == claim.version)?;
                let condemned = orphaned(view, &same);
                condemned.then(|| claims::judge(view, &same, self.switches.withdraw_claim_references)).flatten()
            });
        }
        Ok(())
    }

    /// Objects that a change may condemn: itself, those that its former incarnation owned, and those that a set leaves behind.
    fn condemned(world: &World, change: &Change) -> Vec<Key> {
        let replaced = |old: &&Arc<Object>| change.new.as_ref().is_none_or(|new| !new.is(old));
        let former = change.old.as_ref().filter(replaced);
        let owned = former.into_iter().flat_map(|former| world.owned_by(&former.uid().0));
        let mut keys: Vec<Key> = owned.map(|owned| owned.key.clone()).collect();
        let bereft = |new: &Object| world.view(|view| orphaned(view, new) || outlives_an_owner(view, new));
        let suspect = |new: &&Arc<Object>| new.deleting() || bereft(new);
        keys.extend(change.new.as_ref().filter(suspect).map(|new| new.key.clone()));
        keys.extend(claims::freed(world, change));
        keys.extend(deletion::condemned(world, change));
        keys.retain(|key| COLLECTED.contains(&key.kind));
        keys
    }
}

impl Controller for Collector {
    type Key = ();
    const NAME: &'static str = "collector";

    fn keys(&self, world: &World) -> Vec<()> {
        let objects: Vec<_> = COLLECTED.into_iter().flat_map(|kind| world.list(kind, None)).collect();
        let events = world.list(Kind::Event, None);
        let mut candidates = self.candidates();
        // Added, not replaced: a change that was told already may be newer than these lists.
        candidates.objects.extend(objects.iter().map(|object| object.key.clone()));
        candidates.events.extend(events.iter().map(|event| (event.key.namespace.clone(), COUNT_ANEW)));
        vec![()]
    }

    fn affected(&self, world: &World, change: &Change) -> Vec<()> {
        let condemned = Self::condemned(world, change);
        let namespace = match change.key.kind {
            Kind::Namespace => world.get(&change.key),
            _ => world.get(&Key::new(Kind::Namespace, "", &change.key.namespace)),
        };
        // Of a namespace that goes, whatever changes is looked at.
        let leaving = namespace.as_ref().is_some_and(|namespace| namespace.deleting());
        let mut candidates = self.candidates();
        let wakes = leaving || !condemned.is_empty();
        candidates.objects.extend(condemned);
        let crowded = change.key.kind == Kind::Event && change.old.is_none() && {
            let count = candidates.events.entry(change.key.namespace.clone()).or_default();
            *count = if namespace.is_none() { COUNT_ANEW } else { count.saturating_add(1) };
            *count > EVENTS_PER_NAMESPACE_MAX + EVENTS_SLACK
        };
        if wakes || crowded { vec![()] } else { Vec::new() }
    }

    async fn pass(self: Arc<Self>, (): ()) -> Outcome {
        let now = self.context.clock.now();
        let (looked_at, collected) = self.world.view(|view| {
            let mut candidates = self.candidates();
            // What changes from here on is added anew, and wakes the next pass.
            let looked_at = std::mem::take(&mut candidates.objects);
            let mut collected = self.collect(view, &looked_at, now);
            namespaces(view, &mut collected, now);
            events(view, &mut candidates.events, &mut collected.transaction);
            (looked_at, collected)
        });
        let more = collected.is_full();
        let Collected { transaction, rest, claims, bereft } = collected;
        if let Err(error) = self.world.commit(transaction).await {
            self.look_again(looked_at);
            return failed(&error);
        }
        self.candidates().objects.extend(rest);
        let mut outcome = if more { Outcome::At(now) } else { Outcome::Settled };
        for (claim, verdict) in claims {
            if let Err(error) = self.carry_out(&claim, verdict, now).await {
                self.look_again(BTreeSet::from([claim.key.clone()]));
                outcome = failed(&error);
            }
        }
        for (object, value) in bereft {
            let mut transaction = Transaction::default();
            transaction.update(&object, value);
            if let Err(error) = self.world.commit(transaction).await {
                self.look_again(BTreeSet::from([object.key.clone()]));
                outcome = failed(&error);
            }
        }
        outcome
    }
}

fn failed(error: &CommitError) -> Outcome {
    match error {
        CommitError::Conflict { .. } => Outcome::Stale,
        error => Outcome::Failed(error.to_string()),
    }
}

/// Whether nothing holds an object that was asked to go. Machines remove their pods themselves.
fn finished(object: &Object) -> bool {
    let held_by_machine =
        object.kind() == Kind::Pod && !object.text("/spec/nodeName").is_empty() && !phase(object).terminal();
    object.deleting() && object.finalizers().next().is_none() && !held_by_machine
}

/// Asks an object to go: pods in their grace period, others once their finalizers are released.
pub(crate) fn delete(transaction: &mut Transaction, object: &Object, now: Timestamp) {
    if object.kind() == Kind::Pod {
        lifecycle::delete(transaction, object, None, now);
    } else if object.finalizers().next().is_none() {
        transaction.delete(object);
    } else if !object.deleting() {
        let mut value = object.value.clone();
        object_mut(&mut value, "metadata").insert("deletionTimestamp".into(), time_text(now).into());
        transaction.update(object, value);
    }
}

/// A namespace that was asked to go takes everything in it along, and goes last.
fn namespaces(view: &View<'_>, collected: &mut Collected, now: Timestamp) {
    for namespace in view.list(Kind::Namespace, None).iter().filter(|namespace| namespace.deleting()) {
        let inside = Kind::all().filter(|kind| kind.namespaced());
        let inside: Vec<_> = inside.flat_map(|kind| view.list(kind, Some(&namespace.key.name))).collect();
        if inside.is_empty() {
            collected.transaction.delete(namespace);
        }
        for object in inside.into_iter().filter(|object| !object.deleting()) {
            if collected.is_full() {
                return;
            }
            delete(&mut collected.transaction, &object, now);
        }
    }
}

/// Removes the oldest events of a namespace that has too many. `counts` may be too high: what is stored decides.
fn events(view: &View<'_>, counts: &mut BTreeMap<String, usize>, transaction: &mut Transaction) {
    counts.retain(|namespace, count| {
        if *count <= EVENTS_PER_NAMESPACE_MAX + EVENTS_SLACK {
            return true;
        }
        let mut events = view.list(Kind::Event, Some(namespace));
        *count = events.len();
        let room = COLLECTED_AT_ONCE_MAX.saturating_sub(transaction.len());
        let exists = view.get(&Key::new(Kind::Namespace, "", namespace)).is_some();
        // Those said of an object after its namespace went: nobody else would ever remove them.
        let kept = if exists { EVENTS_PER_NAMESPACE_MAX } else { 0 };
        if !exists || events.len() > kept + EVENTS_SLACK {
            events.sort_by(|a, b| last_seen(&a.value).cmp(last_seen(&b.value)));
            let excess = (events.len() - kept).min(room);
            events.iter().take(excess).for_each(|event| transaction.record(event.key.clone(), None));
            // Looked at again if there is more, or if this is not committed.
            *count = if excess > 0 { COUNT_ANEW } else { *count };
        }
        exists || *count > 0
    });
}
