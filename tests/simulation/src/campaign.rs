//! Campaigns: every commit and every call of a scenario perturbed, every planted bug hunted.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::calls::{AtCall, Made, Unread, reads_state};
use crate::many::{self, Job, Summary};
use crate::mutant::Mutant;
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::store::AtCommit;

/// How long reads see what was before, in a perturbed run: longer than a pass, shorter than a deadline.
const PREVIOUS_VIEW: Duration = Duration::from_millis(400);

/// Every way to perturb a commit, with the name it is given by.
const AT_COMMITS: [(&str, AtCommit); 5] = [
    ("crash-before", AtCommit::CrashBefore),
    ("crash-after", AtCommit::CrashAfter),
    ("hide-event", AtCommit::HideEvent),
    ("previous-view", AtCommit::PreviousView(PREVIOUS_VIEW)),
    ("cancel", AtCommit::CancelHandlers),
];

/// Every place of a call where its caller or its receiver can die.
const AT_CALLS: [(&str, AtCall); 4] = [
    ("crash-before-sending", AtCall::CrashBeforeSending),
    ("crash-before-work", AtCall::CrashBeforeWork),
    ("crash-before-answer", AtCall::CrashBeforeAnswer),
    ("crash-after-answer", AtCall::CrashAfterAnswer),
];

/// Every way in which an answer says nothing.
const AT_READS: [(&str, AtCall); 3] = [
    ("error", AtCall::Unread(Unread::Error)),
    ("empty", AtCall::Unread(Unread::Empty)),
    ("garbage", AtCall::Unread(Unread::Garbage)),
];

/// Methods with an effect, by the end of their path: their handlers are dropped at every await.
const EFFECTS: [&str; 17] = [
    "ObjectService/Apply",
    "ObjectService/Delete",
    "StatefulSetService/Apply",
    "StatefulSetService/Delete",
    "StatefulSetService/Scale",
    "StatefulSetService/Restart",
    "StatefulSetService/Undo",
    "StatefulSetService/Pause",
    "StatefulSetService/Resume",
    "PodService/Apply",
    "PodService/Delete",
    "NodeService/RegisterNode",
    "NodeService/ReportPodStatus",
    "NodeService/ReportEvent",
    "VolumeClaimService/Provision",
    "VolumeClaimService/Deprovision",
    "IdentityDnsService/Publish",
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// At a commit.
    Commit(AtCommit),
    /// At a call.
    Call(AtCall),
}

/// Which commit or call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one of this number, from 1.
    Number(u64),
    /// The first call of this method, such as `Provision`.
    First(String),
}

/// What goes wrong where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What.
    pub fault: Fault,
    /// Where.
    pub which: Which,
}

/// Reads `<fault>@<number>`, or for calls `<fault>@<method>`.
///
/// # Errors
/// It is something else.
pub fn parse(text: &str) -> Result<Point, anyhow::Error> {
    let wrong = || anyhow::anyhow!("{text:?} is no <fault>@<number>, such as crash-before@12");
    let (name, number) = text.split_once('@').ok_or_else(wrong)?;
    let commit = AT_COMMITS.iter().find(|(known, _)| *known == name).map(|(_, at)| Fault::Commit(*at));
    let call = AT_CALLS.iter().chain(&AT_READS).find(|(known, _)| *known == name).map(|(_, at)| Fault::Call(*at));
    let drop = || Some(Fault::Call(AtCall::Drop(name.strip_prefix("drop-after-")?.parse().ok()?)));
    let fault = commit.or(call).or_else(drop).ok_or_else(wrong)?;
    let which = match number.parse() {
        Ok(number) => Which::Number(number),
        Err(_) if matches!(fault, Fault::Call(_)) => Which::First(number.to_owned()),
        Err(_) => return Err(wrong()),
    };
    Ok(Point { fault, which })
}

/// Runs every scenario clean, then once for every point of it: every way to perturb each commit, every place of each call
/// where a host can die, every answer that can say nothing, every await of each method with an effect at which its handler
/// can be dropped. Of these runs every `stride`-th, at least 1: all.
///
/// # Errors
/// A run could not be started.
pub fn perturb(program: &Path, at_once: usize, stride: usize) -> io::Result<Summary> {
    let mut jobs = Vec::new();
    let (mut dropped, mut called) = (BTreeSet::new(), BTreeSet::new());
    for scenario in Scenario::ALL.into_iter().chain([Scenario::EveryMethod]) {
        let (summary, outcomes) = many::make(program, &[job(&scenario.to_string(), None)], 1, |_| false)?;
        let Some((_, clean)) = outcomes.first().filter(|_| summary.broken.is_empty()) else { return Ok(summary) };
        let mut points = drops(&clean.calls, &mut dropped);
        if scenario != Scenario::EveryMethod {
            points.extend(at_commits(clean));
            points.extend(at_calls(clean, &mut called));
        }
        jobs.extend(points.iter().map(|point| job(&scenario.to_string(), Some(point))));
    }
    let jobs: Vec<Job> = jobs.into_iter().step_by(stride.max(1)).collect();
    many::make(program, &jobs, at_once, |_| false).map(|(summary, _)| summary)
}

fn at_commits(clean: &Outcome) -> Vec<String> {
    let each = |(name, _): &(&str, AtCommit)| (1..=clean.commits).map(|commit| format!("{name}@{commit}")).collect();
    AT_COMMITS.iter().flat_map::<Vec<String>, _>(each).collect()
}

/// Calls by one host to one method differ only in repetition where what is committed next is the same: the same done to the
/// same kinds of objects. One stands for all, if its caller does not give up before; `done` are those that other scenarios had.
fn at_calls(clean: &Outcome, done: &mut BTreeSet<(&'static str, String, String, String)>) -> Vec<String> {
    let mut points = Vec::new();
    // Whoever asks for names is not part of the product.
    for call in clean.calls.iter().filter(|call| call.caller != "resolver") {
        let next = clean.kinds.get(call.commits as usize).cloned().unwrap_or_default();
        let reads: &[_] = if reads_state(&call.path) { &AT_READS } else { &[] };
        for (name, at) in AT_CALLS.iter().chain(reads) {
            let happens = match at {
                AtCall::CrashBeforeWork => call.arrived,
                AtCall::CrashBeforeAnswer => call.polls > 0,
                AtCall::CrashAfterAnswer | AtCall::Unread(_) => call.answered,
                _ => true,
            };
            if happens && done.insert((name, call.caller.clone(), call.path.clone(), next.clone())) {
                points.push(format!("{name}@{}", call.number));
            }
        }
    }
    points
}

/// Every await of each method with an effect: for each number of polls the first call that needs more. `done` are those that
/// other scenarios had.
fn drops(calls: &[Made], done: &mut BTreeSet<(String, u32)>) -> Vec<String> {
    let mut points = Vec::new();
    for call in calls.iter().filter(|call| EFFECTS.iter().any(|effect| call.path.ends_with(effect))) {
        for polls in 1..call.polls {
            if done.insert((call.path.clone(), polls)) {
                points.push(format!("drop-after-{polls}@{}", call.number));
            }
        }
    }
    points
}

/// A run of a scenario, by its name, with what goes wrong in it.
#[must_use]
pub fn job(scenario: &str, at: Option<&str>) -> Job {
    let mut arguments: Vec<String> = ["one", "1", "--json", "--scenario", scenario].map(str::to_owned).into();
    let mut name = scenario.to_owned();
    if let Some(at) = at {
        arguments.extend(["--at".to_owned(), at.to_owned()]);
        name = format!("{scenario} {at}");
    }
    Job { name, arguments }
}

/// Runs seeds with a planted bug, if `calm` without any fault, until one catches it. Returns how many it took, and which
/// caught it how.
///
/// # Errors
/// A run could not be started, or what caught the bug finds something without it too.
pub fn hunt(
    program: &Path,
    mutant: Mutant,
    seeds: u64,
    calm: bool,
    at_once: usize,
) -> io::Result<Option<(u64, String, String)>> {
    let jobs: Vec<Job> = (1..=seeds).map(|seed| Job::seed(seed, Some(mutant)).calm(calm)).collect();
    let (summary, _) = many::make(program, &jobs, at_once, |summary| !summary.broken.is_empty())?;
    let Some((name, how)) = summary.broken.into_iter().next() else { return Ok(None) };
    let place = jobs.iter().position(|job| job.name == name).unwrap_or_default();
    let alone = Job::seed(1 + place as u64, None).calm(calm);
    let (without, _) = many::make(program, &[alone], 1, |_| false)?;
    match without.broken.first() {
        Some((_, found)) => Err(io::Error::other(format!("{name} breaks a rule without {mutant} too: {found}"))),
        None => Ok(Some((summary.runs, name, how))),
    }
}
