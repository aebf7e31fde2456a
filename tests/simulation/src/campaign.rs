//! Campaigns: every commit of a scenario perturbed, every planted bug hunted.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::many::{self, Job, Summary};
use crate::mutant::Mutant;
use crate::scenario::Scenario;
use crate::store::AtCommit;

/// How long reads see what was before, in a perturbed run: longer than a pass, shorter than a deadline.
const PREVIOUS_VIEW: Duration = Duration::from_millis(400);

/// Every way to perturb a commit, with the name it is given by.
const PERTURBATIONS: [(&str, AtCommit); 5] = [
    ("crash-before", AtCommit::CrashBefore),
    ("crash-after", AtCommit::CrashAfter),
    ("hide-event", AtCommit::HideEvent),
    ("previous-view", AtCommit::PreviousView(PREVIOUS_VIEW)),
    ("cancel", AtCommit::CancelHandlers),
];

/// Reads `<fault>@<commit>`.
///
/// # Errors
/// It is something else.
pub fn parse(text: &str) -> Result<(AtCommit, u64), anyhow::Error> {
    let wrong = || anyhow::anyhow!("{text:?} is no <fault>@<commit>, such as crash-before@12");
    let (name, commit) = text.split_once('@').ok_or_else(wrong)?;
    let (_, at) = PERTURBATIONS.iter().find(|(known, _)| *known == name).ok_or_else(wrong)?;
    Ok((*at, commit.parse().map_err(|_| wrong())?))
}

/// Runs every scenario clean, then once for every commit of it and every way to perturb that; of these runs every `stride`-th,
/// at least 1: all.
///
/// # Errors
/// A run could not be started.
pub fn perturb(program: &Path, at_once: usize, stride: usize) -> io::Result<Summary> {
    let mut jobs = Vec::new();
    for scenario in Scenario::ALL {
        let clean = job(scenario, None);
        let (summary, outcomes) = many::make(program, &[clean], 1, |_| false)?;
        if !summary.broken.is_empty() {
            return Ok(summary);
        }
        let commits = outcomes.first().map_or(0, |(_, outcome)| outcome.commits);
        for (name, _) in PERTURBATIONS {
            jobs.extend((1..=commits).map(|commit| job(scenario, Some(&format!("{name}@{commit}")))));
        }
    }
    let jobs: Vec<Job> = jobs.into_iter().step_by(stride.max(1)).collect();
    many::make(program, &jobs, at_once, |_| false).map(|(summary, _)| summary)
}

fn job(scenario: Scenario, at: Option<&str>) -> Job {
    let scenario = scenario.to_string();
    let mut arguments: Vec<String> = ["one", "1", "--json", "--scenario", &scenario].map(str::to_owned).into();
    let mut name = scenario.clone();
    if let Some(at) = at {
        arguments.extend(["--at".to_owned(), at.to_owned()]);
        name = format!("{scenario} {at}");
    }
    Job { name, arguments }
}

/// Runs seeds with a planted bug until one catches it. Returns how many it took, and which caught it how.
///
/// # Errors
/// A run could not be started.
pub fn hunt(program: &Path, mutant: Mutant, seeds: u64, at_once: usize) -> io::Result<Option<(u64, String, String)>> {
    let jobs: Vec<Job> = (1..=seeds).map(|seed| Job::seed(seed, Some(mutant))).collect();
    let (summary, _) = many::make(program, &jobs, at_once, |summary| !summary.broken.is_empty())?;
    Ok(summary.broken.into_iter().next().map(|(name, how)| (summary.runs, name, how)))
}
