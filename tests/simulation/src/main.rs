//! The command: one seed with a log to read, many with a summary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mad_turmoil::rand::set_rng;
use mad_turmoil::time::SimClocksGuard;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use simulation::campaign::{self, Point};
use simulation::many::{self, Job};
use simulation::mutant::Mutant;
use simulation::run::{Course, run};
use simulation::scenario::Scenario;

/// Seconds of processor time that one run may take. The longest take a few.
const PROCESSOR_SECONDS_MAX: u64 = 120;

/// Bytes of stack of a run: everything runs in one thread, in a build without optimisation.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// The whole system under simulated faults, from a seed.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one seed and prints what happens, step by step. The same seed always takes the same course.
    One {
        /// The seed.
        seed: u64,
        /// Prints only the outcome, as JSON.
        #[arg(long)]
        json: bool,
        /// Plants a bug.
        #[arg(long)]
        mutant: Option<Mutant>,
        /// Nothing goes wrong.
        #[arg(long)]
        calm: bool,
        /// Runs this scenario instead of what the seed draws.
        #[arg(long)]
        scenario: Option<Scenario>,
        /// What goes wrong in it: `<fault>@<number of a commit or call>`, or `<fault>@<method>` for its first call.
        #[arg(long)]
        at: Option<String>,
    },
    /// Runs many seeds and prints what they add up to.
    Many {
        /// How many.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at a time.
        #[arg(long, default_value_t = 2)]
        at_once: usize,
    },
    /// Perturbs every commit and every call of every scenario in every way.
    Perturb {
        /// How many runs at a time.
        #[arg(long, default_value_t = 2)]
        at_once: usize,
    },
    /// Plants every bug and counts the seeds until it is caught.
    Mutants {
        /// Only this one.
        #[arg(long)]
        only: Option<Mutant>,
        /// Seeds within which each must be caught.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Seeds without any fault, in which each is looked for too.
        #[arg(long, default_value_t = 5)]
        calm_seeds: u64,
        /// How many runs at a time.
        #[arg(long, default_value_t = 2)]
        at_once: usize,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let program: PathBuf = std::env::current_exe()?;
    match Arguments::parse().command {
        Command::One { seed, json, mutant, calm, scenario, at } => {
            let at: Option<Point> = at.map(|at| campaign::parse(&at)).transpose()?;
            let course = match scenario {
                Some(scenario) => Course::Perturbed(scenario, at),
                None if calm => Course::Calm,
                None => Course::Swarm,
            };
            one(seed, course, mutant, json)
        }
        Command::Many { seeds, from, at_once } => {
            let jobs: Vec<Job> = (from..from + seeds).map(|seed| Job::seed(seed, None)).collect();
            let (summary, _) = many::make(&program, &jobs, at_once, |_| false)?;
            print!("{summary}");
            Ok(if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Perturb { at_once } => {
            let summary = campaign::perturb(&program, at_once, 1)?;
            print!("{summary}");
            Ok(if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Mutants { only, seeds, calm_seeds, at_once } => {
            let (mut caught_in_all, mut total) = (0, 0);
            for mutant in Mutant::ALL.iter().copied().filter(|mutant| only.is_none_or(|only| only == *mutant)) {
                let caught = campaign::hunt(&program, mutant, seeds, false, at_once)?;
                let calm = campaign::hunt(&program, mutant, calm_seeds, true, at_once)?;
                (caught_in_all, total) = (caught_in_all + u32::from(caught.is_some()), total + 1);
                let mutant = format!("{:<4} {mutant}", mutant.number().unwrap_or_default());
                match caught {
                    Some((runs, name, how)) => println!("{mutant:<24} caught after {runs} runs by {name}: {how}"),
                    None => println!("{mutant:<24} SURVIVED {seeds} seeds"),
                }
                match calm {
                    Some((runs, ..)) => println!("{:<24} without faults caught too, after {runs} runs", ""),
                    None => println!("{:<24} without faults not caught in {calm_seeds} seeds", ""),
                }
            }
            println!("mutants caught / total: {caught_in_all} / {total}");
            Ok(if caught_in_all == total { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Makes one run in a thread of its own, with everything below it seeded before anybody asks for chance.
fn one(seed: u64, course: Course, mutant: Option<Mutant>, json: bool) -> anyhow::Result<ExitCode> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Cpu, Rlimit { current: Some(PROCESSOR_SECONDS_MAX), maximum: Some(PROCESSOR_SECONDS_MAX) })?;
    set_rng(StdRng::seed_from_u64(seed));
    let running = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let _clocks = SimClocksGuard::init();
        run(seed, &course, mutant, !json)
    })?;
    let Ok(outcome) = running.join() else { return Ok(ExitCode::FAILURE) };
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        println!(
            "seed {seed}: {:.1} s simulated, {} commits, {} checks, trace {:016x} of {} lines",
            outcome.simulated_ms as f64 / 1000.0,
            outcome.commits,
            outcome.checks,
            outcome.hash,
            outcome.lines
        );
        if let Some((rule, how)) = &outcome.broken {
            println!("broken: {rule}: {how}");
        }
    }
    Ok(if outcome.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
