//! Prints what Setkeeper costs on this machine: durable commits, planner calls, whole rollouts, and the program's
//! start-up, memory and size.
//!
//! It judges nothing. Figures of the store stand beside those of the disk itself, measured in the same directory, and
//! rollouts beside what a Kubernetes control plane took for the same on a machine of two cores.

mod disk;
mod planner;
mod print;
mod rollout;
mod rules;
mod samples;
mod startup;
mod store;
mod tracing;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use mimalloc::MiMalloc;
use rollout::{Between, Shape};
use service_kit::Target;
use service_kit::telemetry::{self, Options};

/// As it is shipped.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Services whose spans these are.
const SERVICES: [&str; 5] = ["coordinator", "ordinal-scheduler", "update-planner", "volume-claim", "identity-dns"];

/// What to measure.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these figures; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Figure>,
    /// How often each rollout is repeated.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Seconds that a growing set may take before it is given up.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    growth_seconds: u32,
    /// The program whose start-up, memory and size are measured; without it they are left out. Build it with --release.
    #[arg(long)]
    setkeeper: Option<PathBuf>,
    /// Where the program serves its API.
    #[arg(long, default_value = "127.0.0.1:7700")]
    target: Target,
    /// Directory on the disk to measure.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Collector of traces over OTLP; without it nothing is traced.
    #[arg(long)]
    otlp_endpoint: Option<String>,
    /// Only one life of a set, and its figures as numbers; what `tracing` runs.
    #[arg(long, hide = true)]
    one_life: bool,
    /// Arguments of the program. Its home is an empty directory.
    #[arg(last = true, default_values_t = [String::from("up")])]
    arguments: Vec<String>,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Append and fdatasync.
    Disk,
    /// Durable commits and reads of the embedded store.
    Store,
    /// One call of a planner, and its rules alone.
    Planner,
    /// A set of 100 in order: create, update, scale to 0; and one ordered step beside its durable commits.
    Ordered,
    /// A set of 500 at once.
    Parallel,
    /// 200 sets of 3.
    Many,
    /// Ordered sets of 10 to 10,000.
    GrowthOrdered,
    /// Parallel sets of 10 to 10,000.
    GrowthParallel,
    /// Ordered sets of 10 to 10,000 with a claim for each pod.
    GrowthClaims,
    /// A set of 100 in order, traced and not.
    Tracing,
    /// The program of --setkeeper.
    Program,
}

impl Arguments {
    fn wants(&self, figure: Figure) -> bool {
        self.only.is_empty() || self.only.contains(&figure)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        println!("note: built without optimisation, so figures are worse than what is shipped");
    }
    let scratch = tempfile::TempDir::new_in(&arguments.directory).context("no scratch directory")?;
    // As it is shipped: logs are written, to a file where nobody looks on.
    let log = Options {
        filter: Some("warn".to_owned()),
        log_file: Some(scratch.path().join("log")),
        otlp_endpoint: arguments.otlp_endpoint.clone(),
        services: SERVICES.to_vec(),
        ..Options::new("benchmark")
    };
    let telemetry = telemetry::init(&log)?;
    let measured = measure(&arguments, scratch.path()).await;
    telemetry.shutdown().await;
    measured
}

async fn measure(arguments: &Arguments, scratch: &Path) -> anyhow::Result<()> {
    if arguments.one_life {
        return tracing::one_life(scratch).await;
    }
    parts(arguments, scratch).await?;
    rollouts(arguments, scratch).await?;
    if arguments.wants(Figure::Tracing) {
        print::section("tracing", &tracing::measure(scratch, usize::from(arguments.runs)).await?);
    }
    match &arguments.setkeeper {
        Some(program) if arguments.wants(Figure::Program) => {
            let subject = startup::Subject { program, arguments: &arguments.arguments, target: &arguments.target };
            print::section("program", &startup::measure(&subject, scratch).await?);
        }
        _ => {}
    }
    Ok(())
}

/// What rollouts are made of.
async fn parts(arguments: &Arguments, scratch: &Path) -> anyhow::Result<()> {
    if arguments.wants(Figure::Disk) {
        print::section("disk", &disk::measure(scratch)?);
    }
    if arguments.wants(Figure::Store) {
        print::section("store (1 KiB values, 10,000 keys)", &store::measure(scratch).await?);
    }
    if arguments.wants(Figure::Planner) {
        print::section("planner over loopback", &planner::measure().await?);
        print::table(&rules::title(), &rules::COLUMNS, &rules::measure()?);
    }
    Ok(())
}

async fn rollouts(arguments: &Arguments, scratch: &Path) -> anyhow::Result<()> {
    let runs = usize::from(arguments.runs);
    let mut rollouts = Vec::new();
    let mut steps = Vec::new();
    if arguments.wants(Figure::Ordered) {
        for between in Between::BOTH {
            let (life, step) = rollout::life(scratch, between, runs).await?;
            rollouts.extend(life);
            steps.push(step);
        }
        steps.extend(store::step(scratch).await?);
    }
    if arguments.wants(Figure::Parallel) {
        for between in Between::BOTH {
            rollouts.push(rollout::parallel(scratch, between, runs).await?);
        }
    }
    if arguments.wants(Figure::Many) {
        for between in Between::BOTH {
            rollouts.push(rollout::many(scratch, between, runs).await?);
        }
    }
    if !rollouts.is_empty() {
        print::rollouts(runs, &rollouts);
    }
    if !steps.is_empty() {
        print::section("one ordered step", &steps);
    }
    for (figure, shape) in [
        (Figure::GrowthOrdered, Shape::OrderedReady),
        (Figure::GrowthParallel, Shape::Parallel),
        (Figure::GrowthClaims, Shape::WithClaims),
    ] {
        if arguments.wants(figure) {
            let patience = Duration::from_secs(arguments.growth_seconds.into());
            print::growth(&rollout::growth(scratch, shape, patience).await?, patience);
        }
    }
    Ok(())
}
