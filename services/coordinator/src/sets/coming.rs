//! Reports on their way into the store, and passes that go along with them.
//!
//! The next step of a set in order mostly follows from one report: a pod has become ready. No pass may act on that before it is
//! stored, and it is not stored before the pod's names are served; but to think, a pass need wait for neither. As soon as the
//! report is there, it looks at the set as it will be, and what it decides is committed right behind the report, in one go with it: a
//! step of a rollout waits for the disk once. Each of its commits rests on the pod being stored exactly as reported.
//!
//! Neither holds up the other for long. A report whose names are served waits [`FOLLOWS_WAIT_MAX`] for what follows from it; then
//! it is stored alone, and what follows comes behind. A pass waits [`NAMES_WAIT_MAX`] for names. After that, or where the report
//! is not stored or something comes between, it was in vain: the set is looked at again, as it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Ordinal, pod_ordinal};
use service_kit::metrics::{Counter, Page, Registry};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use super::scene::Scene;
use super::{Sets, owner_sets};
use crate::store::{CommitError, CommitResult, StoreRevision};
use crate::world::{Key, Object, Transaction, World};

/// How long a report waits for what follows from it. Planners mostly answer before the names are served.
const FOLLOWS_WAIT_MAX: Duration = Duration::from_millis(1);

/// How long a pass that goes along with a report waits until the names of its pod are served. It is all that a name server which
/// does not answer holds up a set.
const NAMES_WAIT_MAX: Duration = Duration::from_millis(10);

/// How far a report has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The names of its pod are not served yet.
    NamesComing,
    /// It is being stored.
    Storing,
    Stored(Stored),
}

/// That a report is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) at: StoreRevision,
    /// Where what was said to follow is stored, if that is.
    follows: Option<StoreRevision>,
}

/// A report that a pass may go along with, for whoever stores it. Dropped before that, it is not stored.
#[derive(Debug)]
pub(crate) struct Expected {
    stage: watch::Sender<Stage>,
    follows: oneshot::Receiver<Transaction>,
}

impl Expected {
    /// What follows from the report; none where no pass says so in time. From now on it is being stored.
    pub(super) async fn what_follows(&mut self) -> Option<Transaction> {
        let follows = match timeout(FOLLOWS_WAIT_MAX, &mut self.follows).await {
            Ok(follows) => follows.ok(),
            Err(_) => {
                self.follows.close();
                self.follows.try_recv().ok()
            }
        };
        self.stage.send_replace(Stage::Storing);
        // What a pass has said that has given up since is no longer to be done.
        follows.filter(|_| !self.stage.is_closed())
    }

    fn stored(self, at: StoreRevision, follows: Option<StoreRevision>) {
        self.stage.send_replace(Stage::Stored(Stored { at, follows }));
    }
}

/// What a report says of a pod, for the pass that goes along with it.
#[derive(Debug)]
pub(crate) struct Coming {
    /// The pod as it is stored.
    pub(super) stored: Arc<Object>,
    /// The pod as it will be.
    pub(super) will_be: Arc<Object>,
    ordinal: Ordinal,
    stage: watch::Receiver<Stage>,
    /// Where to say what follows, once. Whoever stores the report waits for that, or until it is dropped.
    follows: Mutex<Option<oneshot::Sender<Transaction>>>,
}

impl Coming {
    /// A report of the pod of an ordinal, for both sides.
    pub(super) fn new(stored: Arc<Object>, will_be: Arc<Object>, ordinal: Ordinal) -> (Expected, Self) {
        let ((at, stage), (say, follows)) = (watch::channel(Stage::NamesComing), oneshot::channel());
        let coming = Self { stored, will_be, ordinal, stage, follows: Mutex::new(Some(say)) };
        (Expected { stage: at, follows }, coming)
    }

    /// Has what follows from a scene rest on this being stored, and on all other pods of the set being as the scene shows
    /// them: else what it says of the set as a whole, such as how many pods are ready, was true at no moment.
    pub(super) fn precede(&self, scene: &Scene, transaction: &mut Transaction) {
        transaction.pods_untouched(&scene.set.key, Ordinal(Ordinal::MAX.0 + 1), scene.revision);
        transaction.come_behind(&self.will_be, self.ordinal);
    }

    /// Commits what follows: together with the report, or behind it where it is too late for that.
    pub(super) async fn commit(&self, world: &World, follows: Transaction) -> CommitResult {
        let late = match self.follows().take() {
            Some(say) => say.send(follows).err(),
            None => Some(follows),
        };
        match (self.stored().await, late) {
            (Some(_), Some(follows)) => world.commit(follows).await,
            (Some(Stored { follows: Some(at), .. }), None) => Ok(at),
            _ => {
                let (key, expected) = (self.stored.key.to_store(), Some(self.stored.version));
                Err(CommitError::Conflict { key, expected, actual: None })
            }
        }
    }

    /// Nothing follows, or no more.
    pub(super) fn nothing_follows(&self) {
        self.follows().take();
    }

    /// That the report is stored; none where it is not, or its names take too long.
    pub(super) async fn stored(&self) -> Option<Stored> {
        let mut stage = self.stage.clone();
        let named = timeout(NAMES_WAIT_MAX, stage.wait_for(|stage| *stage != Stage::NamesComing)).await;
        named.ok()?.ok()?;
        match *stage.wait_for(|stage| matches!(stage, Stage::Stored(_))).await.ok()? {
            Stage::Stored(stored) => Some(stored),
            Stage::NamesComing | Stage::Storing => None,
        }
    }

    /// Whether whoever stores the report still waits for what follows.
    fn is_awaited(&self) -> bool {
        self.follows().as_ref().is_some_and(|follows| !follows.is_closed())
    }

    fn follows(&self) -> MutexGuard<'_, Option<oneshot::Sender<Transaction>>> {
        self.follows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reports of all sets that a pass is to go along with. Each entry is taken by the pass that it causes, so there are no
/// more than sets.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    next: Mutex<BTreeMap<Key, Next>>,
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
    pub(super) fn new(registry: &Registry) -> Arc<Self> {
        let arrivals = Arc::new(Self::default());
        let read = arrivals.clone();
        registry.add(move |page| read.write(page));
        arrivals
    }

    /// What a pass over this set goes along with.
    pub(super) fn take(&self, set: &Key) -> Option<Coming> {
        match self.next().remove(set)? {
            Next::Along { coming, .. } => Some(coming).filter(Coming::is_awaited),
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
        let help = "Passes over sets that began before the report they follow from was stored, by whether they held.";
        for (outcome, count) in [("along", &self.along), ("in_vain", &self.in_vain)] {
            page.counter("setkeeper_coordinator_passes_ahead_total", help, &[("outcome", outcome)], count.value());
        }
    }

    fn next(&self) -> MutexGuard<'_, BTreeMap<Key, Next>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sets {
    /// Lets a pass go along with a report that a pod has become ready, where the next step of the set may follow from that
    /// alone: in a set without order it does not.
    pub(crate) fn expect(&self, stored: &Arc<Object>, will_be: Arc<Object>) -> Option<Expected> {
        let key = owner_sets(stored).next()?;
        let ordinal = pod_ordinal(&key.name, &stored.key.name)?;
        let in_order = |set: &Arc<Object>| set.text("/spec/podManagementPolicy") != "Parallel";
        self.world.get(&key).filter(in_order)?;
        let (expected, coming) = Coming::new(stored.clone(), will_be, ordinal);
        self.arrivals.put(key, coming);
        Some(expected)
    }

    /// Commits a report, and what follows from it where that is known in time.
    ///
    /// # Errors
    /// Those of the commit of the report. Nothing that is wrong with what follows keeps a report from being stored.
    pub(crate) async fn commit_report(&self, report: Transaction, expected: Option<Expected>) -> CommitResult {
        let Some(mut expected) = expected else { return self.world.commit(report).await };
        let (at, follows) = match expected.what_follows().await {
            Some(follows) => {
                let (report, follows) = self.world.commit_both(report, follows).await;
                (report?, follows.ok())
            }
            None => (self.world.commit(report).await?, None),
        };
        expected.stored(at, follows);
        Ok(at)
    }
}
