//! Many runs, each a process of its own, and what they add up to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::run::Outcome;

/// A run to make: the arguments of the command that makes it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it is called in reports.
    pub name: String,
    /// Arguments after the program.
    pub arguments: Vec<String>,
}

impl Job {
    /// One seed.
    #[must_use]
    pub fn seed(seed: u64, mutant: Option<crate::mutant::Mutant>) -> Self {
        let mut arguments = vec!["one".to_owned(), seed.to_string(), "--json".to_owned()];
        if let Some(mutant) = mutant {
            arguments.extend(["--mutant".to_owned(), mutant.to_string()]);
        }
        Self { name: format!("seed {seed}"), arguments }
    }

    /// The same with or without faults.
    #[must_use]
    pub fn calm(mut self, calm: bool) -> Self {
        self.arguments.extend(calm.then(|| "--calm".to_owned()));
        self
    }
}

/// What several runs add up to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Runs made.
    pub runs: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Real time.
    pub real: Duration,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Rules asked.
    pub checks: u64,
    /// Commits of all coordinators.
    pub commits: u64,
    /// The longest for which DNS answered an address after its pod was asked to go.
    pub withdrawal: Duration,
    /// Runs in which a rule was broken: what they are called, and how.
    pub broken: Vec<(String, String)>,
}

impl Summary {
    fn add(&mut self, name: &str, outcome: &Outcome) {
        self.runs += 1;
        self.simulated += Duration::from_millis(outcome.simulated_ms);
        self.checks += outcome.checks;
        self.commits += outcome.commits;
        self.withdrawal = self.withdrawal.max(Duration::from_millis(outcome.withdrawal_ms));
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        if let Some((rule, how)) = &outcome.broken {
            self.broken.push((name.to_owned(), format!("{rule}: {how}")));
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3600.0;
        writeln!(f, "runs              {} in {:.0} s", self.runs, self.real.as_secs_f64())?;
        writeln!(f, "simulated         {hours:.2} h")?;
        writeln!(f, "commits           {}", self.commits)?;
        writeln!(f, "oracle checks     {}", self.checks)?;
        writeln!(f, "names withdrawn   within {:.1} s", self.withdrawal.as_secs_f64())?;
        writeln!(f, "faults            {}", self.faults.values().sum::<u64>())?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<38}{count:>8}")?;
        }
        writeln!(f, "broken            {}", self.broken.len())?;
        for (name, how) in &self.broken {
            writeln!(f, "  {name}: {how}")?;
        }
        Ok(())
    }
}

/// Real time; the clock that the standard library asks is the simulated one.
#[must_use]
pub fn real_time() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Makes all runs, some at a time, and stops early once `enough` says so.
///
/// # Errors
/// A run could not be started.
pub fn make(
    program: &Path,
    jobs: &[Job],
    at_once: usize,
    enough: impl Fn(&Summary) -> bool + Sync,
) -> io::Result<(Summary, Vec<(String, Outcome)>)> {
    let began = real_time();
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Summary::default(), Vec::new()));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    match one(program, job) {
                        Ok(outcome) => {
                            let mut results = results.lock().expect("no holder of this lock panics");
                            results.0.add(&job.name, &outcome);
                            results.1.push((job.name.clone(), outcome));
                            results.0.real = real_time().saturating_sub(began);
                            if enough(&results.0) {
                                return;
                            }
                        }
                        Err(error) => {
                            failed.lock().expect("no holder of this lock panics").get_or_insert(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner().expect("no holder of this lock panics") {
        Some(error) => Err(error),
        None => Ok(results.into_inner().expect("no holder of this lock panics")),
    }
}

/// Makes one run. A run that dies, or does not end, has broken S25.
fn one(program: &Path, job: &Job) -> io::Result<Outcome> {
    let output = Command::new(program).args(&job.arguments).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = text.lines().last().and_then(|line| serde_json::from_str::<Outcome>(line).ok());
    Ok(parsed.unwrap_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = errors.lines().filter(|line| !line.is_empty()).collect();
        let last = last[last.len().saturating_sub(3)..].join(" / ");
        Outcome { broken: Some(("S25".to_owned(), format!("{}: {last}", output.status))), ..Outcome::default() }
    }))
}
