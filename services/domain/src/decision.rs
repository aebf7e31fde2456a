//! The record of one pass: what was decided, and why.

use serde::{Deserialize, Serialize};

use crate::{Generation, SetRef, Timestamp, Wait};

/// One thing a pass did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What, as a verb and a kind, such as `create Pod`.
    pub action: String,
    /// On which object, by name.
    pub object: String,
    /// Why, in words for a person.
    pub why: String,
}

/// What one pass over one set decided. Written when the pass changed something or waits for other reasons than the
/// pass before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The set.
    pub set: SetRef,
    /// Generation it was decided for.
    pub generation: Generation,
    /// When.
    pub at: Timestamp,
    /// Trace of the pass, 32 hexadecimal digits; empty where nothing is traced.
    pub trace_id: String,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What waits, and for what.
    pub waits: Vec<Wait>,
}
