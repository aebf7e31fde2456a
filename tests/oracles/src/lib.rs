//! The rules S1 to S23 and L1 as functions of what was observed, one each, with the rule's number in its name.
//!
//! Rules about one write are asked at its commit, of the state as it then was, not of what the writer had seen
//! ([`Commit`]); those about machines, executors and names when something was seen there. Nothing here knows how anything is
//! decided. Rules about what a plan may do are shared with the exhaustive model (`model::checks`), which asks them of every
//! state; here they are asked of the states that really occur.

mod claims;
mod effects;
mod history;
mod isolation;
mod liveness;
mod names;
mod objects;
mod order;
mod processes;
mod revisions;
mod store;
mod tallies;
mod templates;

use serde_json::Value;

pub use claims::s9_claim_is_deleted_for_a_reason;
pub use effects::{Effect, s17_effect_once, s18_fences_never_fall};
pub use history::{History, Written};
pub use isolation::s22_one_set_at_a_time;
pub use liveness::{Desired, l1_everything_matches, s19_quiet};
pub use model::checks::Violation;
pub use names::{Answer, s23_dns_truth};
pub use objects::{Change, Commit, State, Stored, kind_and_name, text};
pub use order::{
    s2_canonical_identity, s2_takes_only_its_own, s3_ordered_creation, s4_to_s8_ordered_deletion, s6_partition,
    s7_on_delete,
};
pub use processes::{
    Process, s1_at_most_one, s1_ends_only_on_evidence, s10_claims_are_bound, s11_claims_are_exclusive,
    s11_paths_stay_beneath,
};
pub use revisions::{s20_revisions, s21_status};
pub use store::{
    Expectation, s12_versions, s13_compare_and_set, s13_sets_go_when_asked, s14_s15_recovered_is_a_prefix,
    s16_watch_is_gapless,
};
pub use tallies::{Counted, s21_counts_are_of_one_moment};
pub use templates::{s20_pods_are_of_one_template, s20_pods_stay_what_they_are};

/// Whether what is stored says all that was asked for; defaults come on top.
pub(crate) fn holds(asked: &Value, stored: &Value) -> bool {
    match (asked, stored) {
        (Value::Null, _) => true,
        (Value::Object(asked), Value::Object(stored)) => {
            asked.iter().all(|(field, value)| holds(value, stored.get(field).unwrap_or(&Value::Null)))
        }
        _ => asked == stored,
    }
}

/// Holds the rule, or says how it is broken.
pub(crate) fn hold(rule: &'static str, holds: bool, how: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, how: how() }) }
}
