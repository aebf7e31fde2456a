//! Level-triggered loops: a wake-up says *which* key, never *what changed*.
//!
//! One pass per key at a time, several keys in parallel up to a limit; wake-ups during a pass collapse into one more
//! pass. The loop is the retry: a failing pass is repeated with capped, jittered back-off, a waiting one at the time it
//! names, and every key at a slow tick in case nobody told us.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use service_kit::Context;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use self::passes::Passes;
use crate::store::StoreRevision;
use crate::world::{Change, World};

mod passes;
#[cfg(test)]
mod storm;

/// Passes that may run at once. A pass mostly waits for planners and the disk, so more than the cores helps; more than
/// this only lengthens every one of them.
const PASSES_AT_ONCE_MAX: usize = 16;

/// First delay after a failure; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);

/// Longest delay after failures: a set must heal within seconds of the fault's end.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Stale passes in a row that are repeated at once. More than that is no race but a state that will not go away by
/// looking: then the delays of failures apply.
const STALE_AT_ONCE_MAX: u32 = 3;

/// Revisions that are told apart where they make a key dirty: those that one pass may know of, its own and another's.
const DIRTY_AT_MAX: usize = 2;

/// Every key is looked at this often even if nothing seems to have changed.
const RESYNC: Duration = Duration::from_secs(60);

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing more to do until something changes.
    Settled,
    /// Look again at that time, or when something changes.
    At(Timestamp),
    /// Look again at that time, if any, or when something changes; what this pass committed itself, or knew of, at these
    /// revisions, is no such change.
    After(Vec<StoreRevision>, Option<Timestamp>),
    /// What was decided rests on what has changed meanwhile: look again at once.
    Stale,
    /// It could not be done, in words; try again with growing delay.
    Failed(String),
}

impl Outcome {
    /// The same after a pass that knew what would be committed at that revision.
    pub(crate) fn knowing(self, revision: StoreRevision) -> Self {
        match self {
            Self::Settled => Self::After(vec![revision], None),
            Self::At(moment) => Self::After(vec![revision], Some(moment)),
            Self::After(mut own, moment) => {
                own.push(revision);
                Self::After(own, moment)
            }
            Self::Stale | Self::Failed(_) => self,
        }
    }

    /// Tells it in the span of the pass.
    fn record(&self, span: &Span) {
        let outcome = match self {
            Self::Settled => "settled",
            Self::At(_) => "at",
            Self::After(..) => "after",
            Self::Stale => "stale",
            Self::Failed(error) => {
                span.record("otel.status_code", "error");
                error
            }
        };
        span.record("outcome", outcome);
    }
}

/// What a loop is about.
pub(crate) trait Controller: Send + Sync + 'static {
    /// What it looks at.
    type Key: Clone + Debug + Ord + Hash + Send + Sync + 'static;

    /// Name in logs.
    const NAME: &'static str;

    /// Every key there is.
    fn keys(&self, world: &World) -> Vec<Self::Key>;

    /// Keys that a change may concern.
    fn affected(&self, world: &World, change: &Change) -> Vec<Self::Key>;

    /// Returns when some keys must be looked at for a reason that is not in the world, with those. Never, for most. It may be
    /// dropped before that at any time, and loses none.
    fn called(&self) -> impl Future<Output = Vec<Self::Key>> + Send {
        std::future::pending()
    }

    /// Returns when every key must be looked at for a reason that is not in the world. Never, for most.
    fn shaken(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The span of a pass, and the root of its trace.
    fn span(&self, _key: &Self::Key) -> Span {
        tracing::debug_span!(parent: None, "reconcile", controller = Self::NAME, outcome = Empty, otel.status_code = Empty)
    }

    /// One pass. Not dropped half-way, except when the process ends.
    fn pass(self: Arc<Self>, key: Self::Key) -> impl Future<Output = Outcome> + Send;
}

#[derive(Debug, Default, PartialEq, Eq)]
struct KeyState {
    running: bool,
    dirty: bool,
    /// The revisions that made it dirty; none where it was something else, or more than [`DIRTY_AT_MAX`].
    dirty_at: Vec<StoreRevision>,
    /// What its last pass committed, or knew of, and need not be looked at.
    own: Vec<StoreRevision>,
    failures: u32,
    /// Passes in a row that found their view out of date.
    stale: u32,
    /// Monotonic time of the next pass, if one is due by time.
    due: Option<Duration>,
    /// Monotonic time since which only a place is missing.
    queued: Option<Duration>,
}

/// Runs `controller` until shutdown; waits for the passes under way.
pub(crate) async fn run<C: Controller>(controller: Arc<C>, world: Arc<World>, context: Context) {
    let mut commits = world.subscribe();
    let mut keys: BTreeMap<C::Key, KeyState> = BTreeMap::new();
    let mut passes = JoinSet::new();
    let measured = Passes::of(C::NAME, &context.metrics);
    wake(&mut keys, controller.keys(&world), None);
    let mut resync_at = context.clock.monotonic() + RESYNC;
    let mut last_started = None;
    loop {
        let now = context.clock.monotonic();
        if now >= resync_at {
            wake(&mut keys, controller.keys(&world), None);
            resync_at = now + RESYNC;
        }
        start_due(&controller, &mut keys, &mut passes, (now, &mut last_started), (&context, &measured));
        // When every place is taken, only the end of a pass makes room for one that is due.
        let full = passes.len() >= PASSES_AT_ONCE_MAX;
        let next = keys.values().filter(|state| !state.running && !full).filter_map(|state| state.due).min();
        let sleep = next.unwrap_or(resync_at).min(resync_at).saturating_sub(now);
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            Some(done) = passes.join_next() => finish::<C>(&context, &measured, &mut keys, done),
            () = controller.shaken() => wake(&mut keys, controller.keys(&world), None),
            commit = commits.recv() => match commit {
                Ok(commit) => {
                    // What several commits changed is not any pass's own.
                    let alone = (!commit.merged).then_some(commit.revision);
                    for change in &commit.changes {
                        wake(&mut keys, controller.affected(&world, change), alone);
                    }
                }
                Err(RecvError::Lagged(_)) => wake(&mut keys, controller.keys(&world), None),
                Err(RecvError::Closed) => break,
            },
            // After what was committed: a pass that is called for may have taken account of that by then.
            called = controller.called() => wake(&mut keys, called, None),
            () = context.clock.sleep(sleep) => {}
        }
    }
    while passes.join_next().await.is_some() {}
}

/// Notes that keys must be looked at, for what was committed at a revision or for another reason.
fn wake<K: Ord>(keys: &mut BTreeMap<K, KeyState>, woken: Vec<K>, revision: Option<StoreRevision>) {
    for key in woken {
        let state = keys.entry(key).or_default();
        match revision {
            Some(revision) if state.own.contains(&revision) => continue,
            Some(revision) if !state.dirty => state.dirty_at = vec![revision],
            Some(revision) if state.dirty_at.contains(&revision) => {}
            Some(revision) if (1..DIRTY_AT_MAX).contains(&state.dirty_at.len()) => state.dirty_at.push(revision),
            _ => state.dirty_at.clear(),
        }
        state.dirty = true;
    }
}

fn start_due<C: Controller>(
    controller: &Arc<C>,
    keys: &mut BTreeMap<C::Key, KeyState>,
    passes: &mut JoinSet<(C::Key, Outcome)>,
    (now, last_started): (Duration, &mut Option<C::Key>),
    (context, measured): (&Context, &Arc<Passes>),
) {
    let ready = |state: &KeyState| {
        // After a failure the delay holds, whatever wakes: else a storm of changes would defeat the back-off.
        let delayed = state.failures > 0 || state.stale > STALE_AT_ONCE_MAX;
        let held_back = delayed && state.due.is_some_and(|due| due > now);
        let due = state.dirty || state.due.is_some_and(|due| due <= now);
        !state.running && !held_back && due
    };
    let room = PASSES_AT_ONCE_MAX.saturating_sub(passes.len());
    // Keys take turns: those after the last that started come first, so that busy ones never keep others waiting.
    let later: Vec<_> = match last_started.as_ref() {
        Some(last) => {
            let later = keys.range((Bound::Excluded(last), Bound::Unbounded));
            later.chain(keys.range(..=last)).filter(|(_, state)| ready(state)).map(|(key, _)| key.clone()).collect()
        }
        None => keys.iter().filter(|(_, state)| ready(state)).map(|(key, _)| key.clone()).collect(),
    };
    measured.queued.set(later.len().saturating_sub(room) as u64);
    for key in later.iter().skip(room) {
        keys.entry(key.clone()).and_modify(|state| _ = state.queued.get_or_insert(now));
    }
    for key in later.into_iter().take(room) {
        let Some(state) = keys.get_mut(&key) else { continue };
        measured.wait.observe(state.queued.take().map_or(Duration::ZERO, |since| now.saturating_sub(since)));
        (state.running, state.dirty, state.due) = (true, false, None);
        (state.dirty_at, state.own) = (Vec::new(), Vec::new());
        *last_started = Some(key.clone());
        let controller = controller.clone();
        let span = controller.span(&key);
        let (clock, measured) = (context.clock.clone(), measured.clone());
        let pass = async move {
            let outcome = controller.pass(key.clone()).await;
            measured.ended(&outcome, clock.monotonic().saturating_sub(now));
            outcome.record(&Span::current());
            (key, outcome)
        };
        passes.spawn(pass.instrument(span));
    }
}

fn finish<C: Controller>(
    context: &Context,
    measured: &Passes,
    keys: &mut BTreeMap<C::Key, KeyState>,
    done: Result<(C::Key, Outcome), tokio::task::JoinError>,
) {
    let (key, outcome) = match done {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => return,
    };
    let Some(state) = keys.get_mut(&key) else { return };
    state.running = false;
    let now = context.clock.monotonic();
    match outcome {
        Outcome::Settled => (state.failures, state.stale) = (0, 0),
        Outcome::At(moment) => {
            (state.failures, state.stale) = (0, 0);
            state.due = Some(now + moment.since(context.clock.now()));
        }
        Outcome::After(own, moment) => {
            (state.failures, state.stale) = (0, 0);
            state.due = moment.map(|moment| now + moment.since(context.clock.now()));
            let news = |revision| !own.contains(revision);
            state.dirty &= state.dirty_at.is_empty() || state.dirty_at.iter().any(news);
            state.own = own;
        }
        Outcome::Stale => {
            // Not a failure, but not free either: a key that is always stale must not spin.
            state.failures = 0;
            state.stale = state.stale.saturating_add(1);
            (state.dirty, state.dirty_at) = (true, Vec::new());
            if let Some(delayed) = state.stale.checked_sub(STALE_AT_ONCE_MAX).filter(|delayed| *delayed > 0) {
                let delay = backoff(&key, delayed);
                measured.backed_off(delay);
                state.due = Some(now + delay);
            }
        }
        Outcome::Failed(error) => {
            state.failures = state.failures.saturating_add(1);
            state.stale = 0;
            let delay = backoff(&key, state.failures);
            measured.backed_off(delay);
            state.due = Some(now + delay);
            tracing::warn!(
                controller = C::NAME,
                key = ?key,
                attempt = state.failures,
                delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                error,
                "pass failed"
            );
        }
    }
    if *state == KeyState::default() {
        keys.remove(&key);
    }
}

/// Doubles from [`BACKOFF_FIRST`] to [`BACKOFF_MAX`], less up to a quarter that depends on the key, so that keys which
/// failed together do not come back together.
fn backoff<K: Hash>(key: &K, failures: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (key, failures).hash(&mut hasher);
    let doubled = BACKOFF_FIRST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    let delay = doubled.min(BACKOFF_MAX);
    let quarter = u64::try_from(delay.as_millis() / 4).unwrap_or(0);
    delay - Duration::from_millis(hasher.finish() % (quarter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_not_repeated_for_its_own_commit_but_for_every_other() {
        let (own, other) = (StoreRevision(7), StoreRevision(6));
        let told = |own: &[StoreRevision], revisions: &[StoreRevision]| {
            let context = Context::default();
            let mut keys = BTreeMap::from([("web", KeyState { running: true, ..KeyState::default() })]);
            let (before, after) = revisions.split_at(revisions.len() / 2);
            before.iter().for_each(|revision| wake(&mut keys, vec!["web"], Some(*revision)));
            let outcome = Outcome::After(own.to_vec(), Some(context.clock.now().plus(Duration::from_secs(60))));
            finish::<Nobody>(&context, &Passes::of("nobody", &context.metrics), &mut keys, Ok(("web", outcome)));
            after.iter().for_each(|revision| wake(&mut keys, vec!["web"], Some(*revision)));
            assert!(keys["web"].due.is_some(), "it is looked at in any case");
            keys["web"].dirty
        };
        assert!(!told(&[own], &[own, own]) && !told(&[own], &[own]));
        for revisions in [[other, own], [own, other], [other, other]] {
            assert!(told(&[own], &revisions), "{revisions:?}");
            assert!(!told(&[own, other], &revisions), "{revisions:?}");
        }
        assert!(told(&[own], &[other, own, own, own]) && told(&[own], &[own, other, own, own]));
        // A report that the pass went along with, and what it committed behind; the third is somebody else's.
        let third = StoreRevision(8);
        let both = [other, own];
        assert!(!told(&both, &[other, own, other, own]) && !told(&both, &[other, other, own, own]));
        for place in 0..4 {
            let mut revisions = vec![other, own, own];
            revisions.insert(place, third);
            assert!(told(&both, &revisions), "{revisions:?}");
        }
    }

    /// A controller of nothing.
    struct Nobody;

    impl Controller for Nobody {
        type Key = &'static str;
        const NAME: &'static str = "nobody";

        fn keys(&self, _: &World) -> Vec<&'static str> {
            Vec::new()
        }

        fn affected(&self, _: &World, _: &Change) -> Vec<&'static str> {
            Vec::new()
        }

        async fn pass(self: Arc<Self>, _: &'static str) -> Outcome {
            Outcome::Settled
        }
    }

    #[test]
    fn what_a_pass_knew_of_counts_as_its_own_however_it_ends() {
        let (known, own, moment) = (StoreRevision(6), StoreRevision(7), Timestamp(9));
        assert_eq!(Outcome::Settled.knowing(known), Outcome::After(vec![known], None));
        assert_eq!(Outcome::At(moment).knowing(known), Outcome::After(vec![known], Some(moment)));
        let after = Outcome::After(vec![own], Some(moment));
        assert_eq!(after.knowing(known), Outcome::After(vec![own, known], Some(moment)));
        for nothing_done in [Outcome::Stale, Outcome::Failed("why".to_owned())] {
            assert_eq!(nothing_done.clone().knowing(known), nothing_done);
        }
    }

    #[test]
    fn backoff_grows_and_is_bounded() {
        let delays: Vec<_> = (1..40).map(|failures| backoff(&"web", failures)).collect();
        assert!(delays.iter().all(|delay| *delay <= BACKOFF_MAX && *delay >= BACKOFF_FIRST * 3 / 4));
        assert!(*delays.last().unwrap() >= BACKOFF_MAX * 3 / 4);
    }
}
