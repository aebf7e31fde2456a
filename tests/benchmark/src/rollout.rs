//! Whole rollouts: every service as it is shipped, on a store on disk, with a machine that does all at once.
//!
//! What is measured is everything from the request to a set that says it is complete, and the processor time of the
//! whole process: services, machine and client.

mod machine;
mod plane;
mod sets;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use self::machine::Machine;
pub(crate) use self::plane::Between;
use self::plane::Plane;
pub(crate) use self::sets::Shape;
use self::sets::{apply, complete, manifests, revision, scale};
use crate::samples::{Row, Samples, now};
use crate::usage;

/// Replicas of the set that is created, updated and scaled to nothing.
const ORDERED: u32 = 100;
const PARALLEL: u32 = 500;
const MANY: u32 = 200;
/// Replicas of each of the many.
const MANY_REPLICAS: u32 = 3;
/// Replicas of the sets that show how the cost of one ordinal grows, and of those that they are compared with.
const GROWTH: [u32; 3] = [100, 1000, 10_000];
const SMALLEST: u32 = 10;
/// Sets of the smallest size before and after each larger one.
const SMALLEST_RUNS: usize = 25;
const IMAGES: [&str; 2] = ["busybox:1.36", "busybox:1.37"];

/// What one rollout took.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) processor: Duration,
    /// Durable commits.
    pub(crate) commits: u64,
}

/// What several runs of one rollout took.
#[derive(Debug)]
pub(crate) struct Rollout {
    pub(crate) name: String,
    /// Ordinals created, replaced or removed.
    pub(crate) ordinals: u32,
    pub(crate) costs: Vec<Cost>,
    /// Seconds that a Kubernetes control plane takes, where that is known.
    pub(crate) kubernetes: Option<Kubernetes>,
}

/// For orientation: kube-apiserver, etcd and kube-controller-manager 1.36 with a kubelet that does all at once, on two
/// cores like those these figures are usually taken on; in seconds. They used 2 to 9 seconds of processor time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kubernetes {
    /// With the clients' rate limits lifted.
    pub(crate) lifted: f64,
    /// As it is shipped.
    pub(crate) default: f64,
}

/// A set of one hundred in order: created, updated, scaled to nothing; and the latency of each step of its creation.
pub(crate) async fn life(directory: &Path, between: Between, runs: usize) -> anyhow::Result<(Vec<Rollout>, Row)> {
    let how = between.words();
    let name = |what: &str| format!("{what} 1 set x {ORDERED} OrderedReady{how}");
    let kubernetes = |lifted, default| Some(Kubernetes { lifted, default });
    let rollout = |what, kubernetes| Rollout { name: name(what), ordinals: ORDERED, costs: Vec::new(), kubernetes };
    let mut rollouts = vec![
        rollout("create", kubernetes(1.63, 10.0)),
        rollout("update", kubernetes(3.03, 18.7)),
        rollout("scale to 0", kubernetes(1.82, 9.2)),
    ];
    let mut steps = Samples::default();
    for _ in 0..runs {
        let bench = Bench::start(directory, between).await?;
        let created = bench.create("web", ORDERED, Shape::OrderedReady).await?;
        steps.0.extend(bench.steps("web", ORDERED)?);
        let changed = manifests("web", ORDERED, Shape::OrderedReady, IMAGES[1]);
        let updated = bench.cost(1, apply(&bench.channel, &changed)).await?;
        let removed = bench.cost(1, scale(&bench.channel, "web", 0)).await?;
        for (rollout, cost) in rollouts.iter_mut().zip([created, updated, removed]) {
            rollout.costs.push(cost);
        }
        bench.stop().await?;
    }
    Ok((rollouts, Row::latency(&format!("pod ready to successor at the machine{how}"), steps)))
}

/// One large set whose pods come at once.
pub(crate) async fn parallel(directory: &Path, between: Between, runs: usize) -> anyhow::Result<Rollout> {
    let mut costs = Vec::new();
    for _ in 0..runs {
        let bench = Bench::start(directory, between).await?;
        costs.push(bench.create("web", PARALLEL, Shape::Parallel).await?);
        bench.stop().await?;
    }
    let name = format!("create 1 set x {PARALLEL} Parallel{}", between.words());
    Ok(Rollout { name, ordinals: PARALLEL, costs, kubernetes: Some(Kubernetes { lifted: 1.82, default: 24.2 }) })
}

/// Many small sets, applied one after the other.
pub(crate) async fn many(directory: &Path, between: Between, runs: usize) -> anyhow::Result<Rollout> {
    let mut costs = Vec::new();
    for _ in 0..runs {
        let bench = Bench::start(directory, between).await?;
        let applied = async {
            for number in 0..MANY {
                let objects = manifests(&format!("web{number}"), MANY_REPLICAS, Shape::OrderedReady, IMAGES[0]);
                apply(&bench.channel, &objects).await?;
            }
            Ok(())
        };
        costs.push(bench.cost(MANY as usize, applied).await?);
        bench.stop().await?;
    }
    let name = format!("create {MANY} sets x {MANY_REPLICAS} OrderedReady{}", between.words());
    let kubernetes = Some(Kubernetes { lifted: 6.4, default: 94.0 });
    Ok(Rollout { name, ordinals: MANY * MANY_REPLICAS, costs, kubernetes })
}

/// One size of a set, to see how the cost of one ordinal grows.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) shape: Shape,
    pub(crate) replicas: u32,
    /// None where it would have taken too long.
    pub(crate) cost: Option<Cost>,
    /// The smallest sets that were made just before and just after.
    pub(crate) beside: Cost,
    /// Memory of the process with all pods ready, in KiB.
    pub(crate) resident_kib: u64,
}

impl Growth {
    /// Processor time of an ordinal beside that in the smallest sets: 1 where growth costs nothing.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let each = |cost: Cost, replicas: u32| cost.processor.as_secs_f64() / f64::from(replicas.max(1));
        Some(each(self.cost?, self.replicas) / each(self.beside, SMALLEST))
    }
}

/// Sets of growing size, each on a store of its own, as long as one takes no more than `patience`. Between them are sets of the
/// smallest size to compare with: the speed of a machine changes by the minute.
pub(crate) async fn growth(directory: &Path, shape: Shape, patience: Duration) -> anyhow::Result<Vec<Growth>> {
    let mut before = smallest(directory, shape).await?;
    let resident_kib = usage::resident_kib(std::process::id())?;
    let beside = median(&before);
    let mut sizes = vec![Growth { shape, replicas: SMALLEST, cost: Some(beside), beside, resident_kib }];
    let mut expected = beside.wall * 10;
    for replicas in GROWTH {
        if expected > patience {
            sizes.push(Growth { shape, replicas, cost: None, beside: median(&before), resident_kib: 0 });
            continue;
        }
        let bench = Bench::start(directory, Between::OneProcess).await?;
        let created = tokio::time::timeout(patience, bench.create("web", replicas, shape)).await;
        let cost = created.ok().transpose()?;
        // The next is ten times as large: no less than ten times as long.
        expected = cost.map_or(Duration::MAX, |cost| cost.wall * 10);
        let resident_kib = usage::resident_kib(std::process::id())?;
        bench.stop().await?;
        let after = smallest(directory, shape).await?;
        before.extend_from_slice(&after);
        sizes.push(Growth { shape, replicas, cost, beside: median(&before), resident_kib });
        before = after;
    }
    Ok(sizes)
}

/// Several sets of the smallest size, one after the other.
async fn smallest(directory: &Path, shape: Shape) -> anyhow::Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for _ in 0..SMALLEST_RUNS {
        let bench = Bench::start(directory, Between::OneProcess).await?;
        costs.push(bench.create("web", SMALLEST, shape).await?);
        bench.stop().await?;
    }
    Ok(costs)
}

/// The middle of several costs, by processor time.
fn median(costs: &[Cost]) -> Cost {
    let mut costs = costs.to_vec();
    costs.sort_unstable_by_key(|cost| cost.processor);
    costs[costs.len() / 2]
}

/// All services and a machine, on an empty store.
struct Bench {
    plane: Plane,
    machine: Machine,
    channel: service_kit::Channel,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn start(directory: &Path, between: Between) -> anyhow::Result<Self> {
        let directory = tempfile::TempDir::new_in(directory)?;
        let plane = Plane::start(directory.path(), between).await?;
        let channel = plane.channel();
        let machine = Machine::join(channel.clone()).await?;
        Ok(Self { plane, machine, channel, _directory: directory })
    }

    /// What it costs until every set has done what `request` asks for.
    async fn cost(&self, sets: usize, request: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Cost> {
        let before = revision(&self.channel).await?;
        let (start, used) = (now(), usage::processor()?);
        request.await?;
        complete(&self.channel, sets).await?;
        let (wall, processor) = (now() - start, usage::processor()? - used);
        Ok(Cost { wall, processor, commits: revision(&self.channel).await? - before })
    }

    async fn create(&self, name: &str, replicas: u32, shape: Shape) -> anyhow::Result<Cost> {
        self.cost(1, apply(&self.channel, &manifests(name, replicas, shape, IMAGES[0]))).await
    }

    /// From each pod reported ready to its successor at the machine: durable, placed and told.
    fn steps(&self, name: &str, replicas: u32) -> anyhow::Result<Vec<Duration>> {
        let moments = |ordinal: u32| self.machine.moments(&format!("{name}-{ordinal}")).context("it runs every pod");
        (1..replicas).map(|next| Ok(moments(next)?.assigned.saturating_sub(moments(next - 1)?.reported))).collect()
    }

    async fn stop(self) -> anyhow::Result<()> {
        let Self { plane, machine, channel, _directory } = self;
        drop((machine, channel));
        plane.stop().await
    }
}
