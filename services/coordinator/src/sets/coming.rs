//! Reports on their way into the store, and passes that go along with them.
//!
//! The next step of a set in order mostly follows from one report: a pod has become ready. No pass may act on that before it is
//! stored, but to think it need not wait for the disk: as soon as the report is queued, a pass looks at the set as it will be,
//! and what it decides is queued behind the report. Each of its commits rests on the pod being stored exactly as reported: if
//! the report is refused, or another one comes first, so is what followed from it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use domain::{Ordinal, pod_ordinal};
use service_kit::metrics::{Counter, Page, Registry};
use tokio::sync::{Notify, watch};

use super::scene::Scene;
use super::{Sets, owner_sets};
use crate::store::{CommitError, StoreRevision};
use crate::world::{Key, Object, Transaction};

/// A report that is queued. It is told at which revision that is stored; dropped without, it is not.
pub(super) type Queued = watch::Sender<Option<StoreRevision>>;

/// What a report says of a pod, before it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Coming {
    /// The pod as it is stored.
    pub(super) stored: Arc<Object>,
    /// The pod as it will be.
    pub(super) will_be: Arc<Object>,
    ordinal: Ordinal,
    at: watch::Receiver<Option<StoreRevision>>,
}

impl Coming {
    /// A report of the pod of an ordinal, and where to tell what becomes of it.
    pub(super) fn new(stored: Arc<Object>, will_be: Arc<Object>, ordinal: Ordinal) -> (Queued, Self) {
        let (queued, at) = watch::channel(None);
        (queued, Self { stored, will_be, ordinal, at })
    }

    /// Has what follows from a scene rest on this being stored, and on all other pods of the set being as the scene shows
    /// them: else what it says of the set as a whole, such as how many pods are ready, was true at no moment.
    pub(super) fn precede(&self, scene: &Scene, transaction: &mut Transaction) {
        transaction.pods_untouched(&scene.set.key, Ordinal(Ordinal::MAX.0 + 1), scene.revision);
        transaction.come_behind(&self.will_be, self.ordinal);
    }

    /// The revision at which the report was stored; none where it was not.
    pub(super) async fn stored(&self) -> Option<StoreRevision> {
        let mut at = self.at.clone();
        at.wait_for(Option::is_some).await.ok().and_then(|at| *at)
    }

    /// Whether it ended without being stored.
    fn is_lost(&self) -> bool {
        self.at.has_changed().is_err() && self.at.borrow().is_none()
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
            Next::Along { coming, .. } => Some(coming).filter(|coming| !coming.is_lost()),
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
    /// Commits a report that a pod has become ready, and that makes it `will_be`; meanwhile a pass may plan what follows.
    ///
    /// # Errors
    /// Those of the commit.
    pub(crate) async fn commit_report(
        &self,
        stored: &Arc<Object>,
        will_be: Arc<Object>,
        transaction: Transaction,
    ) -> Result<StoreRevision, CommitError> {
        let mut committing = pin!(self.world.commit(transaction));
        // Mostly it is queued the first time it is looked at. Where it is not, what follows may come first, and is refused.
        if let Poll::Ready(committed) = futures::poll!(committing.as_mut()) {
            return committed;
        }
        let queued = self.go_along(stored, will_be);
        let committed = committing.await;
        if let (Some(queued), Ok(revision)) = (queued, &committed) {
            queued.send_replace(Some(*revision));
        }
        committed
    }

    /// Lets a pass go along with a report, where the next step of the set may follow from that alone: in a set without order
    /// it does not.
    pub(super) fn go_along(&self, stored: &Arc<Object>, will_be: Arc<Object>) -> Option<Queued> {
        let key = owner_sets(stored).next()?;
        let ordinal = pod_ordinal(&key.name, &stored.key.name)?;
        let in_order = |set: &Arc<Object>| set.text("/spec/podManagementPolicy") != "Parallel";
        self.world.get(&key).filter(in_order)?;
        let (queued, coming) = Coming::new(stored.clone(), will_be, ordinal);
        self.arrivals.put(key, coming);
        Some(queued)
    }
}
