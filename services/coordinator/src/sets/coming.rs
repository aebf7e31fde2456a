//! Reports on their way into the store, and passes that go along with them.
//!
//! The next step of a set in order mostly follows from one report: a pod has become ready. No pass may act on that before it is
//! stored, and it is not stored before the pod's names are served; but to think, a pass need wait for neither. As soon as the
//! report is there, it looks at the set as it will be, and what it decides is committed right behind the report, in one go with
//! it: a step of a rollout waits for the disk once. Each of its commits rests on the pod being stored exactly as reported.
//!
//! Neither holds up the other for long ([`Patience`]). A report whose names are served waits a moment for what follows from it;
//! then it is stored alone, and what follows comes behind. A pass waits a few moments for the names. After that, or where the
//! report is not stored or something comes between, it was in vain: the set is looked at again, as it is. While names take
//! longer, passes begin when they are served.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Ordinal, pod_ordinal};
use service_kit::metrics::{Counter, Page, Registry};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::scene::Scene;
use super::{Sets, owner_sets};
use crate::config::Patience;
use crate::store::{CommitError, CommitResult, StoreRevision};
use crate::world::{Key, Object, Transaction, World};

/// How far a report has come.
#[derive(Debug)]
enum Stage {
    /// Its names are not served yet, or it waits for what follows.
    Awaiting {
        served: bool,
        follow: Follow,
    },
    /// It is being stored.
    Storing,
    Ended(Ended),
}

impl Stage {
    /// Whether a pass may still say what follows.
    fn is_open(&self) -> bool {
        matches!(self, Self::Awaiting { follow: Follow::Unknown, .. })
    }
}

/// What a pass says that follows from a report.
#[derive(Debug)]
enum Follow {
    Unknown,
    Nothing,
    This(Transaction),
}

/// What became of a report.
#[derive(Debug, Clone, Default)]
struct Ended {
    /// Where it is stored, if it is.
    report: Option<StoreRevision>,
    /// What became of that which was said to follow, if that was committed with it.
    follow: Option<CommitResult>,
}

/// A report that a pass may go along with, for whoever stores it. Dropped without, it has ended as one that is not stored.
#[derive(Debug)]
pub(crate) struct Expected {
    stage: Arc<watch::Sender<Stage>>,
    /// How long it waits for what follows.
    wait: Duration,
}

impl Expected {
    /// From now on the report is being stored, with what follows from it where a pass says so in time.
    pub(super) async fn storing(&self) -> Option<Transaction> {
        self.stage.send_modify(|stage| {
            if let Stage::Awaiting { served, .. } = stage {
                *served = true;
            }
        });
        let mut stage = self.stage.subscribe();
        let known = stage.wait_for(|stage| !stage.is_open());
        let _ = timeout(self.wait, known).await.map(drop);
        match self.stage.send_replace(Stage::Storing) {
            Stage::Awaiting { follow: Follow::This(follow), .. } => Some(follow),
            _ => None,
        }
    }

    /// Whether no pass has said yet that nothing follows.
    pub(crate) fn may_be_followed(&self) -> bool {
        !matches!(*self.stage.borrow(), Stage::Awaiting { follow: Follow::Nothing, .. })
    }

    fn ended(&self, ended: Ended) {
        self.stage.send_replace(Stage::Ended(ended));
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.stage.send_if_modified(|stage| {
            let open = !matches!(stage, Stage::Ended(_));
            if open {
                *stage = Stage::Ended(Ended::default());
            }
            open
        });
    }
}

/// What a report says of a pod, for the pass that goes along with it. Dropped, it says that nothing follows.
#[derive(Debug)]
pub(crate) struct Coming {
    /// The pod as it is stored.
    pub(super) stored: Arc<Object>,
    /// The pod as it will be.
    pub(super) will_be: Arc<Object>,
    ordinal: Ordinal,
    stage: Arc<watch::Sender<Stage>>,
    /// When its names are late.
    names_by: Instant,
    /// Whether something that follows is stored.
    followed: AtomicBool,
}

/// Why a pass was in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InVain {
    NotStored,
    NamesAreLate,
}

impl Coming {
    /// A report of the pod of an ordinal, for both sides.
    pub(super) fn new(
        stored: Arc<Object>,
        will_be: Arc<Object>,
        ordinal: Ordinal,
        patience: Patience,
    ) -> (Expected, Self) {
        let stage = Arc::new(watch::Sender::new(Stage::Awaiting { served: false, follow: Follow::Unknown }));
        let expected = Expected { stage: stage.clone(), wait: patience.follow };
        let (names_by, followed) = (Instant::now() + patience.names, AtomicBool::new(false));
        (expected, Self { stored, will_be, ordinal, stage, names_by, followed })
    }

    /// Has what follows from a scene rest on this being stored, and on all other pods of the set being as the scene shows
    /// them: else what it says of the set as a whole, such as how many pods are ready, was true at no moment.
    pub(super) fn precede(&self, scene: &Scene, transaction: &mut Transaction) {
        transaction.pods_untouched(&scene.set.key, Ordinal(Ordinal::MAX.0 + 1), scene.revision);
        transaction.come_behind(&self.will_be, self.ordinal);
    }

    /// Commits what follows: together with the report, or behind it where it is too late for that. Takes as long as the report
    /// takes; dropped when the pass is [in vain](Self::in_vain), it has done nothing.
    pub(super) async fn commit(&self, world: &World, follow: Transaction) -> CommitResult {
        let late = self.say(Follow::This(follow));
        let ended = self.ended().await;
        let committed = match late {
            Some(Follow::This(follow)) if ended.report.is_some() => Some(world.commit(follow).await),
            Some(_) => None,
            None => ended.follow,
        };
        let (key, expected) = (&self.stored.key, Some(self.stored.version));
        let in_vain = || Err(CommitError::Conflict { key: key.to_store(), expected, actual: None });
        let committed = committed.unwrap_or_else(in_vain);
        self.followed.fetch_or(committed.is_ok(), Ordering::Relaxed);
        committed
    }

    /// What follows was said, or there is nothing.
    pub(super) fn no_more_follows(&self) {
        self.say(Follow::Nothing);
    }

    /// Whether something that follows is stored.
    pub(super) fn has_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// Where the report is stored, once that is so; none where it is not.
    pub(super) async fn report(&self) -> Option<StoreRevision> {
        self.ended().await.report
    }

    /// Returns when nothing that follows can be stored any more, nor is: the report is not stored, or its names are late.
    pub(super) async fn in_vain(&self) -> InVain {
        let mut stage = self.stage.subscribe();
        let served = stage.wait_for(|stage| !matches!(stage, Stage::Awaiting { served: false, .. }));
        let late = timeout_at(self.names_by, served).await.map(drop).is_err();
        if late && self.take_back(|served| !served) {
            return InVain::NamesAreLate;
        }
        let lost = |stage: &Stage| matches!(stage, Stage::Ended(Ended { report: None, follow: None }));
        // Its sender lives as long as self.
        let _ = stage.wait_for(lost).await.map(drop);
        InVain::NotStored
    }

    /// Whether it has not ended.
    fn is_under_way(&self) -> bool {
        !matches!(*self.stage.borrow(), Stage::Ended(_))
    }

    async fn ended(&self) -> Ended {
        let mut stage = self.stage.subscribe();
        let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await;
        match ended.as_deref() {
            Ok(Stage::Ended(ended)) => ended.clone(),
            _ => Ended::default(),
        }
    }

    /// Says what follows, once. Where it is too late for that, it is given back.
    fn say(&self, follow: Follow) -> Option<Follow> {
        let mut late = Some(follow);
        self.stage.send_if_modified(|stage| match stage {
            Stage::Awaiting { follow: follow @ Follow::Unknown, .. } => {
                *follow = late.take().unwrap_or(Follow::Nothing);
                true
            }
            _ => false,
        });
        late
    }

    /// Has nothing follow, whatever was said, if that is not being stored by now and `whether` its names are served allows it.
    fn take_back(&self, whether: impl Fn(bool) -> bool) -> bool {
        self.stage.send_if_modified(|stage| match stage {
            Stage::Awaiting { served, follow } if whether(*served) => {
                *follow = Follow::Nothing;
                true
            }
            _ => false,
        })
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.take_back(|_| true);
    }
}

/// The reports of all sets that a pass is to go along with. Each entry is taken by the pass that it causes, so there are no
/// more than sets.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    next: Mutex<BTreeMap<Key, Next>>,
    names_are_late: AtomicBool,
    patience: Patience,
    news: Notify,
    pub(super) along: Counter,
    pub(super) in_vain: Counter,
}

/// How the next pass over a set goes about reports.
#[derive(Debug)]
enum Next {
    /// Along with this one.
    Along {
        coming: Coming,
        /// Whether the driver knows.
        called: bool,
    },
    /// Along with none: the last one was in vain, and where reports come in a row, it could be so for ever.
    Alone,
}

impl Arrivals {
    /// None yet; from now on in the registry.
    pub(super) fn new(patience: Patience, registry: &Registry) -> Arc<Self> {
        let arrivals = Arc::new(Self { patience, ..Self::default() });
        let read = arrivals.clone();
        registry.add(move |page| read.write(page));
        arrivals
    }

    /// What a pass over this set goes along with.
    pub(super) fn take(&self, set: &Key) -> Option<Coming> {
        match self.next().remove(set)? {
            Next::Along { coming, .. } => Some(coming).filter(Coming::is_under_way),
            Next::Alone => None,
        }
    }

    /// The sets that are to have a pass, each once. Dropped before it is done, it has told nothing and loses nothing.
    pub(super) async fn called(&self) -> Vec<Key> {
        self.news.notified().await;
        let mut next = self.next();
        let uncalled = next.iter_mut().filter_map(|(set, next)| match next {
            Next::Along { called, .. } => (!std::mem::replace(called, true)).then(|| set.clone()),
            Next::Alone => None,
        });
        uncalled.collect()
    }

    /// Notes whether names take longer than a pass goes along without them.
    pub(super) fn note_late(&self, late: bool) {
        self.names_are_late.store(late, Ordering::Relaxed);
    }

    /// A pass that went along with a report has ended.
    pub(super) fn ended(&self, set: &Key, in_vain: bool) {
        if in_vain {
            self.in_vain.increment();
            // It is repeated at once.
            self.next().insert(set.clone(), Next::Alone);
        } else {
            self.along.increment();
        }
    }

    fn put(&self, set: Key, coming: Coming) {
        let mut next = self.next();
        if !matches!(next.get(&set), Some(Next::Alone)) {
            next.insert(set, Next::Along { coming, called: false });
            self.news.notify_one();
        }
    }

    fn write(&self, page: &mut Page) {
        let help = "Passes over sets that began before the report they follow from was stored, by whether what they decided was.";
        for (outcome, count) in [("along", &self.along), ("in_vain", &self.in_vain)] {
            page.counter("setkeeper_coordinator_passes_ahead_total", help, &[("outcome", outcome)], count.value());
        }
    }

    fn next(&self) -> MutexGuard<'_, BTreeMap<Key, Next>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sets {
    /// Lets a pass go along with a report that a pod has become ready, whose names are not served yet: while those are mostly
    /// served in time.
    pub(crate) fn expect_before_names(&self, stored: &Arc<Object>, will_be: &Arc<Object>) -> Option<Expected> {
        let late = self.arrivals.names_are_late.load(Ordering::Relaxed);
        if late { None } else { self.expect(stored, will_be) }
    }

    /// Notes how long the names of a pod took; none where they were not served at all.
    pub(crate) fn names_took(&self, took: Option<Duration>) {
        self.arrivals.note_late(took.is_none_or(|took| took > self.arrivals.patience.names));
    }

    /// Lets a pass go along with a report that a pod has become ready, where the next step of the set may follow from that
    /// alone: in a set without order it does not.
    pub(crate) fn expect(&self, stored: &Arc<Object>, will_be: &Arc<Object>) -> Option<Expected> {
        let key = owner_sets(stored).next()?;
        let ordinal = pod_ordinal(&key.name, &stored.key.name)?;
        let in_order = |set: &Arc<Object>| set.text("/spec/podManagementPolicy") != "Parallel";
        self.world.get(&key).filter(in_order)?;
        let (expected, coming) = Coming::new(stored.clone(), will_be.clone(), ordinal, self.arrivals.patience);
        self.arrivals.put(key, coming);
        Some(expected)
    }

    /// Commits a report, and what follows from it where that is known in time.
    ///
    /// # Errors
    /// Those of the commit of the report. Nothing that is wrong with what follows keeps a report from being stored.
    ///
    /// # Cancel safety
    /// None: dropped half-way, it leaves the pass in the belief that nothing was stored. Whoever calls it runs to its end.
    pub(crate) async fn commit_report(&self, report: Transaction, expected: Option<Expected>) -> CommitResult {
        let Some(expected) = expected else { return self.world.commit(report).await };
        let (reported, follow) = match expected.storing().await {
            None => (self.world.commit(report).await, None),
            Some(follow) => match self.world.commit_both(report.clone(), follow).await {
                // There may be no space for both.
                (Err(CommitError::Store(error)), follow) if !error.is_fatal() => {
                    (self.world.commit(report).await, Some(follow))
                }
                (reported, follow) => (reported, Some(follow)),
            },
        };
        // What follows may be stored although this report is not: another one said the same.
        expected.ended(Ended { report: reported.as_ref().ok().copied(), follow });
        reported
    }
}
