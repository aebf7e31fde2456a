//! What a pod seems to be whose kinship is asked for, with a bug.

use domain::{Candidate, SetRef};

use super::Mutant;

impl Mutant {
    /// What the rule sees.
    pub(crate) fn distort_candidate<'a>(self, set: &'a SetRef, pod: &mut Candidate<'a>) {
        match self {
            Self::LeadingZeros if pod.name == "web-01" => pod.name = "web-1",
            Self::LabelsDecide if pod.selected => pod.controller = Some(&set.uid.0),
            _ => {}
        }
    }
}
