//! Every state of a small set: safe at every commit, healed from everywhere.

use domain::RetentionRule::{Delete, Retain};
use domain::Switches;
use model::exhaustive::peers::Peers;
use model::exhaustive::search::{Report, search};
use model::exhaustive::{Config, Edited};
use model::{Mutant, say};

/// Fewer states than this prove too little.
const STATES_MIN: usize = 1_000_000;

#[test]
fn every_state_is_safe_and_heals() {
    let scaled = |kind: Config| Config { edits: 1, edited: Edited::Scale, ..kind.with_strangers() };
    let peers = |peers, kind: Config| kind.with_peers(peers);
    let kinds = [
        ("in order, two edits and a fault", Config { edits: 2, faults: 1, ..Config::ordered() }),
        ("in order, with minReadySeconds", Config { edits: 1, faults: 1, soak: true, ..Config::ordered() }),
        ("in order, two at once", Config { edits: 1, faults: 1, max_unavailable: 2, ..Config::ordered() }),
        ("in order, two faults", Config { edits: 0, faults: 2, ..Config::ordered() }),
        ("in order, OnDelete", Config { edits: 1, faults: 1, ..Config::ordered().on_delete() }),
        ("in order, OnDelete, two edits", Config { edits: 2, faults: 0, ..Config::ordered().on_delete() }),
        ("parallel, OnDelete", Config { edits: 1, faults: 1, ..Config::parallel().on_delete() }),
        ("parallel", Config { edits: 1, faults: 1, ..Config::parallel() }),
        ("in order, claims", Config { edits: 2, faults: 1, ..Config::ordered().with_claims(Retain) }),
        ("two in order, claims, two faults", Config { ordinals: 2, edits: 1, ..Config::ordered().with_claims(Retain) }),
        ("two at once, claims", Config { ordinals: 2, faults: 1, ..Config::parallel().with_claims(Delete) }),
        ("in order, among strangers", Config { edits: 1, faults: 1, ..Config::ordered().with_strangers() }),
        ("two scaled in order, among strangers, two faults", scaled(Config { ordinals: 2, ..Config::ordered() })),
        ("two scaled at once, among strangers, two faults", scaled(Config { ordinals: 2, ..Config::parallel() })),
        ("in order, among peers", peers(Peers::Needed, Config { edits: 2, faults: 0, ..Config::ordered() })),
        (
            "two in order, among peers, a fault",
            peers(Peers::Needed, Config { ordinals: 2, faults: 1, ..Config::ordered() }),
        ),
        ("in order, higher ones among peers", peers(Peers::NeededByHigher, Config { faults: 0, ..Config::ordered() })),
        (
            "higher ones among peers, a fault",
            peers(Peers::NeededByHigher, Config { edits: 1, faults: 1, ..Config::ordered() }),
        ),
        ("at once, among peers", peers(Peers::Needed, Config { edits: 1, faults: 0, ..Config::parallel() })),
        ("in order, machines fall silent", Config { edits: 1, faults: 1, ..Config::ordered().with_machines() }),
        ("two in order, machines fall silent", Config { ordinals: 2, edits: 0, ..Config::ordered().with_machines() }),
        ("at once, machines fall silent", Config { edits: 0, faults: 1, ..Config::parallel().with_machines() }),
        ("parallel, two at once", Config { edits: 0, faults: 2, max_unavailable: 2, ..Config::parallel() }),
    ];
    let (mut states, mut seconds) = (0, 0.0);
    for (name, config) in kinds {
        let report = search(&config);
        say(format_args!("{name}: {report}"));
        assert!(report.broken.is_none(), "{name}: {report}");
        states += report.states;
        seconds += report.time.as_secs_f64();
    }
    say(format_args!("together {states} states in {seconds:.1} s"));
    assert!(states >= STATES_MIN, "only {states} states: this proves too little");
}

/// The rule that a bug breaks, with the history that shows it.
fn broken(config: &Config) -> (&'static str, Report) {
    let report = search(config);
    let rule = report.broken.as_ref().map_or("none", |trace| trace.violation.rule);
    (rule, report)
}

/// Without each of the three things that keep a set safe or let it heal, the model finds what goes wrong.
#[test]
fn the_model_has_teeth() {
    let edits = Config { edits: 1, faults: 1, ..Config::ordered() };
    let faults = Config { edits: 0, faults: 3, ..Config::ordered() };
    for (mutant, kind, rule) in [
        (Mutant::DeleteByName, &faults, "S13"),
        (Mutant::UnguardedWrites, &faults, "S3"),
        (Mutant::NeverHeals, &edits, "L2"),
    ] {
        let (found, report) = broken(&kind.clone().with(mutant));
        say(format_args!("{mutant:?}: {report}"));
        assert_eq!(found, rule, "{mutant:?}: {report}");
    }
    let alone = Switches { break_cold_start: false, ..Switches::SETKEEPER };
    let alone = Config { switches: alone, edits: 0, faults: 1, ..Config::ordered().with_peers(Peers::NeededByHigher) };
    let (found, report) = broken(&alone);
    say(format_args!("without company: {report}"));
    assert_eq!(found, "L2", "pods that need each other get ready alone: {report}");
    let kubernetes = Config { switches: Switches::KUBERNETES, edits: 1, faults: 0, ..Config::ordered() };
    let (found, report) = broken(&kubernetes);
    say(format_args!("profile kubernetes: {report}"));
    assert_eq!(found, "L2", "kubernetes/kubernetes 67250 is not reproduced: {report}");
}
