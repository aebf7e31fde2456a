//! What a set's templates say: claims by ordinal, and revisions as canonical text.

use domain::{Ordinal, claim_name};
use serde_json::Value;

/// The claim templates of a set, in their order.
pub(crate) fn claim_templates(set: &Value) -> impl Iterator<Item = &Value> {
    set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten()
}

/// Names of the claims of one ordinal, in template order.
pub(crate) fn claim_names_of(set: &Value, ordinal: Ordinal) -> impl Iterator<Item = String> {
    let name = set.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let templates = claim_templates(set).filter_map(|template| template.pointer("/metadata/name")?.as_str());
    templates.map(move |template| claim_name(template, name, ordinal))
}

/// The ordinal a claim belongs to, if it has the name of one of the set's claims.
pub(crate) fn claim_ordinal(set: &Value, claim: &str) -> Option<Ordinal> {
    let digits = claim.rsplit_once('-')?.1;
    let ordinal = Ordinal(digits.parse().ok()?);
    claim_names_of(set, ordinal).any(|name| name == claim).then_some(ordinal)
}

/// The template of a stored revision: its data without the marker that makes it a patch.
pub(crate) fn of_revision(data: &Value) -> Option<Value> {
    let mut template = data.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}
