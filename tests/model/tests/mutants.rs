//! Historical bugs, put in on purpose: each is caught, and what catches it is silent without.

use std::collections::BTreeSet;

use model::mutant::ELSEWHERE;
use model::{Mutant, say};

#[test]
fn every_historical_bug_is_caught() {
    let detectors: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.detector()).collect();
    for detector in detectors {
        let found = detector.run(None);
        assert_eq!(found, None, "{detector:?} finds something without a mutant");
    }
    let (mut caught, mut missed) = (0, Vec::new());
    for mutant in Mutant::ALL {
        match mutant.caught() {
            Some(violation) => {
                caught += 1;
                say(format_args!("{:4} {mutant:?} is caught by {:?}: {violation}", mutant.number(), mutant.detector()));
            }
            None => missed.push(format!("{} {mutant:?}", mutant.number())),
        }
    }
    say(format_args!("mutants caught / total: {caught} / {}", Mutant::ALL.len()));
    for (number, why) in ELSEWHERE {
        say(format_args!("{number:4} is not for this level: {why}"));
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// The list of historical bugs has 52 entries; each is either put in or has a reason.
#[test]
fn no_bug_is_forgotten() {
    let numbers = Mutant::ALL.iter().map(|mutant| mutant.number()).chain(ELSEWHERE.iter().map(|(number, _)| *number));
    let numbers: Vec<u32> = numbers.filter_map(|number| number.strip_prefix('B')?.parse().ok()).collect();
    let different: BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(different.len(), numbers.len(), "one is there twice");
    assert_eq!(different, (1..=52).collect());
}
