//! Numbers for Prometheus.
//!
//! What is measured is an atomic that its owner counts up: no lock and no allocation where calls pass. A [`Registry`]
//! knows how to read all of them when somebody asks; [`Endpoint`] answers over HTTP.
//!
//! Names are `setkeeper_<service>_<what>_<unit>`, so that services in one process do not share any. Labels come from
//! closed sets: methods, codes, controllers, never names of objects.

mod endpoint;
mod page;
mod rpc;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use self::endpoint::Endpoint;
pub use self::page::Page;
pub(crate) use self::rpc::{Call, Counted, Rpc, Side};

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is so many now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// How many it was last.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How things are distributed: how many were at most each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    /// One more than there are bounds: the last is for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Bounds of a histogram in whole numbers, and what they are multiplied with to become the unit in its name.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    bounds: &'static [u64],
    unit: f64,
}

impl Scale {
    /// Calls and passes, in seconds: from what memory takes to what nobody waits for.
    pub const SECONDS: Self = Self {
        bounds: &[
            250_000,
            500_000,
            1_000_000,
            2_500_000,
            5_000_000,
            10_000_000,
            25_000_000,
            50_000_000,
            100_000_000,
            250_000_000,
            500_000_000,
            1_000_000_000,
            2_500_000_000,
            5_000_000_000,
            10_000_000_000,
        ],
        unit: 1e-9,
    };
    /// What is done without waiting for anything, in seconds: from one microsecond on.
    pub const SHORT_SECONDS: Self = Self {
        bounds: &[1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000, 100_000_000],
        unit: 1e-9,
    };
    /// Sizes of groups.
    pub const COUNT: Self = Self { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256], unit: 1.0 };
}

impl Histogram {
    /// Empty.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        let counts = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { scale, counts, sum: AtomicU64::new(0) }
    }

    /// Something took so long. For scales in seconds.
    pub fn observe(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Something was so many. For scales of counts.
    pub fn record(&self, value: u64) {
        let place = self.scale.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Upper bound and how many were at most that, for every bound; then the sum of all. In the unit of its name.
    fn cumulative(&self) -> (Vec<(f64, u64)>, f64) {
        let mut total = 0;
        let mut read = |count: &AtomicU64| {
            total += count.load(Ordering::Relaxed);
            total
        };
        let bounds = self.scale.bounds.iter().map(|bound| *bound as f64 * self.scale.unit).chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.counts).map(|(bound, count)| (bound, read(count))).collect();
        (buckets, self.sum.load(Ordering::Relaxed) as f64 * self.scale.unit)
    }
}

type Source = Box<dyn Fn(&mut Page) + Send + Sync>;

/// Everything that a process measures. Clones are of the same.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Sources>>);

#[derive(Default)]
struct Sources {
    /// One per service, controller and listener: added at start, never taken away.
    all: Vec<Arc<Source>>,
    /// Calls that each service makes, whatever number of channels it has.
    clients: BTreeMap<&'static str, Arc<Rpc>>,
    /// Whether each server takes calls, and what else has to be true.
    subjects: Vec<(&'static str, watch::Receiver<bool>)>,
}

/// No server has begun to serve.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NothingServes;

impl Registry {
    /// Adds what is to be read whenever somebody asks. It must not wait for anything.
    pub fn add(&self, source: impl Fn(&mut Page) + Send + Sync + 'static) {
        self.lock().all.push(Arc::new(Box::new(source)));
    }

    /// The calls that `service` answers on one server with these gRPC services.
    pub(crate) fn server(&self, service: &'static str, services: impl Iterator<Item = &'static str>) -> Arc<Rpc> {
        let rpc = Arc::new(Rpc::new(service, Side::Server, services.collect()));
        let read = rpc.clone();
        self.add(move |page| read.write(page));
        rpc
    }

    /// Whether a server of `service` takes calls.
    pub(crate) fn health(&self, service: &'static str, serving: watch::Receiver<bool>) {
        let name = format!("setkeeper_{}_ready", service.replace('-', "_"));
        let read = serving.clone();
        self.add(move |page| {
            page.gauge(&name, "Whether it takes calls: 1, or 0 while it ends.", &[], f64::from(*read.borrow()));
        });
        self.ready_when(service, serving);
    }

    /// What has to be true for the process to be ready, and who or what that is about.
    pub(crate) fn ready_when(&self, subject: &'static str, truth: watch::Receiver<bool>) {
        self.lock().subjects.push((subject, truth));
    }

    /// Who or what is not ready now; none where all are. An error where nothing has begun to serve.
    pub(super) fn unready(&self) -> Result<Vec<&'static str>, NothingServes> {
        let sources = self.lock();
        if sources.subjects.is_empty() {
            return Err(NothingServes);
        }
        let unready = sources.subjects.iter().filter(|(_, truth)| !*truth.borrow());
        Ok(unready.map(|(subject, _)| *subject).collect())
    }

    /// The calls that `service` makes.
    pub(crate) fn client(&self, service: &'static str) -> Arc<Rpc> {
        // One lock for both: a sample that is there twice is refused as a whole page.
        let mut sources = self.lock();
        if let Some(rpc) = sources.clients.get(service) {
            return rpc.clone();
        }
        let rpc = Arc::new(Rpc::new(service, Side::Client, Vec::new()));
        sources.clients.insert(service, rpc.clone());
        let read = rpc.clone();
        sources.all.push(Arc::new(Box::new(move |page: &mut Page| read.write(page))));
        rpc
    }

    /// All of it in the text format of Prometheus, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let sources = self.lock().all.clone();
        let mut page = Page::default();
        sources.iter().for_each(|source| source(&mut page));
        page.render()
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Registry").field("sources", &self.lock().all.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_each_bound() {
        let histogram = Histogram::new(Scale::COUNT);
        for value in [1, 2, 3, 256, 257] {
            histogram.record(value);
        }
        let (buckets, sum) = histogram.cumulative();
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 2, 3, 3, 3, 3, 3, 3, 4, 5]);
        assert!((sum - 519.0).abs() < f64::EPSILON && buckets[9].0.is_infinite());
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    fn every_scale_rises() {
        for scale in [Scale::SECONDS, Scale::SHORT_SECONDS, Scale::COUNT] {
            assert!(scale.bounds.is_sorted_by(|one, next| one < next), "{scale:?}");
        }
    }

    #[test]
    fn a_service_has_one_count_of_its_calls_however_many_channels_it_has() {
        let registry = Registry::default();
        assert!(Arc::ptr_eq(&registry.client("coordinator"), &registry.client("coordinator")));
        assert!(!Arc::ptr_eq(&registry.client("coordinator"), &registry.client("pod-runtime")));
    }
}
