//! A bounded number of seeds, and those that once found something. Continuous integration runs thousands, built for speed.

use std::path::Path;

use simulation::campaign;
use simulation::many::{self, Job};
use simulation::mutant::Mutant;

/// Seeds that every run of the tests makes.
const SEEDS: u64 = 6;

/// Runs at a time: as many as the smallest machine has cores.
const AT_ONCE: usize = 2;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_simulation"))
}

#[test]
fn every_rule_holds_under_faults() {
    let jobs: Vec<Job> = (1..=SEEDS).map(|seed| Job::seed(seed, None)).collect();
    let (summary, _) = many::make(program(), &jobs, AT_ONCE, |_| false).expect("the command runs");
    assert!(summary.broken.is_empty(), "{summary}");
    assert_eq!(summary.runs, SEEDS);
    assert!(summary.faults.values().sum::<u64>() > SEEDS, "faults were injected: {summary}");
}

/// Seeds that once broke a rule, with what was wrong. They run for ever.
const FOUND: [(u64, &str); 3] = [
    (121, "L1: a report that came late was stored over a newer one, and the machine took the newer one for told"),
    (464, "S9: a claim went with its pod although its set had been told meanwhile to keep it"),
    (1855, "S10: a claim of a former set was deleted under a pod of the set that took its name"),
];

#[test]
fn what_was_found_once_is_not_found_again() {
    let jobs: Vec<Job> = FOUND.iter().map(|(seed, _)| Job::seed(*seed, None)).collect();
    let (summary, _) = many::make(program(), &jobs, AT_ONCE, |_| false).expect("the command runs");
    assert!(summary.broken.is_empty(), "one of {FOUND:?}: {summary}");
}

/// Points of scenarios that once broke a rule, as [`FOUND`].
const FOUND_POINTS: [(&str, &str, &str); 1] =
    [("create-three", "empty@Provision", "L1: an answer without a path was taken for the place of a volume")];

#[test]
fn what_was_found_once_at_a_point_is_not_found_again() {
    let jobs: Vec<Job> = FOUND_POINTS.iter().map(|(scenario, point, _)| campaign::job(scenario, Some(point))).collect();
    let (summary, _) = many::make(program(), &jobs, AT_ONCE, |_| false).expect("the command runs");
    assert!(summary.broken.is_empty(), "one of {FOUND_POINTS:?}: {summary}");
}

/// Bugs that are planted in every run of the tests; all of them are in continuous integration.
const PLANTED: [Mutant; 5] = [
    Mutant::NoCompareAndSet,
    Mutant::StoppedTooEarly,
    Mutant::WatchLosesEvents,
    Mutant::MixedTemplates,
    Mutant::EditedInPlace,
];

#[test]
fn planted_bugs_are_caught() {
    for mutant in PLANTED {
        let caught = campaign::hunt(program(), mutant, SEEDS, false, AT_ONCE).expect("the command runs");
        assert!(caught.is_some(), "{mutant} survives {SEEDS} seeds");
    }
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let jobs: Vec<Job> = [3, 3, 8].map(|seed| Job::seed(seed, None)).into();
    let (_, mut outcomes) = many::make(program(), &jobs, AT_ONCE, |_| false).expect("the command runs");
    outcomes.sort_by_key(|(_, outcome)| outcome.seed);
    let courses: Vec<_> = outcomes.iter().map(|(_, outcome)| (outcome.hash, outcome.lines)).collect();
    assert_eq!(courses[0], courses[1], "the same seed");
    assert!(courses[0].1 > 50, "something happened");
    assert_ne!(courses[0], courses[2], "another seed");
}

#[test]
fn a_commit_in_every_scenario_can_be_perturbed() {
    let summary = campaign::perturb(program(), AT_ONCE, 211).expect("the command runs");
    assert!(summary.broken.is_empty(), "{summary}");
}
