//! Every kind of set comes through anything, and rests.

use model::matrix::{cells, run_cell};
use model::say;

#[test]
fn every_kind_of_set_keeps_the_rules_and_converges() {
    let (mut runs, mut failures) = (0, Vec::new());
    let cells = cells();
    for cell in &cells {
        match run_cell(*cell, None) {
            Ok(count) => runs += count,
            Err(failure) => failures.push(failure),
        }
    }
    say(format_args!("{} cells, {runs} runs", cells.len()));
    let shown = failures.first().map(ToString::to_string).unwrap_or_default();
    let names: Vec<String> =
        failures.iter().map(|failure| format!("{}: {}", failure.cell, failure.violation)).collect();
    assert!(failures.is_empty(), "{} cells fail:\n{}\n\n{shown}", failures.len(), names.join("\n"));
}
