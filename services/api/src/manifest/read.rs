//! From text to JSON values, within bounds.

mod json;
mod lines;

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Options, Spanned};

use self::json::{Strict, read_json};
use self::lines::{Source, line};
use super::violation::{Violation, ViolationKind};

/// The longest manifest, in bytes: 2,000 objects of 8 KiB.
pub const MANIFEST_BYTES_MAX: usize = 16 << 20;

/// The most documents of one manifest. One commit holds them all.
pub const DOCUMENTS_MAX: usize = 2_000;

/// The deepest nesting. The deepest field of a Kubernetes object lies about 20 deep.
const DEPTH_MAX: usize = 64;

/// The most values of one manifest, aliases expanded: 250 for each of 2,000 objects, about 50 MB in memory.
const NODES_MAX: usize = 500_000;

/// The most values that aliases may repeat. Enough to share settings between sets, too few for a bomb.
const ALIASED_NODES_MAX: usize = 50_000;

/// One document of a manifest, as it was written.
#[derive(Debug, Clone)]
pub struct RawDocument {
    /// Index in the manifest, from 0. The items of a `List` share that of the list.
    pub index: usize,
    /// What it says.
    pub value: Value,
    /// Line where it begins, from 1; absent for objects that were not text.
    pub line: Option<usize>,
    source: Option<Arc<Source>>,
    /// Position in a `List`.
    item: Option<usize>,
}

impl RawDocument {
    /// The line that says what is at `path`, or the nearest line above it that does.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let root = self.source.as_ref()?.lines().get(self.index)?;
        let item = self.item.map(|item| format!("items[{item}]"));
        let root = item.map_or(root, |item| root.find(&item));
        Some(root.find(path).line)
    }
}

/// Reads YAML or JSON, one document or many. Empty documents are skipped; a `List` becomes its items.
///
/// # Errors
/// When the text is neither, or larger or deeper than a manifest can be.
pub fn parse(text: &str) -> Result<Vec<RawDocument>, Vec<Violation>> {
    if text.len() > MANIFEST_BYTES_MAX {
        let message = format!("the manifest has {} bytes: must have at most {MANIFEST_BYTES_MAX}", text.len());
        return Err(vec![Violation::new(ViolationKind::Syntax, "", message)]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = if text.trim_start().starts_with('{') { read_json(text) } else { None };
    let documents = match documents {
        Some(documents) => documents.map_err(|violation| vec![violation])?,
        None => read_yaml(text).map_err(|error| vec![syntax_violation(text, &error)])?,
    };
    let source = Arc::new(Source { text: text.to_owned(), lines: OnceLock::new() });
    let documents = documents.into_iter().enumerate().map(|(index, (line, value))| RawDocument {
        index,
        value,
        line: Some(line),
        source: Some(Arc::clone(&source)),
        item: None,
    });
    limit(documents.flat_map(unfold).collect())
}

/// Takes objects as they are, for callers that send JSON objects and no text.
///
/// # Errors
/// When they are more, or deeper, than a manifest can hold.
pub fn parse_values(objects: Vec<Value>) -> Result<Vec<RawDocument>, Vec<Violation>> {
    let mut nodes = 0;
    for (document, object) in objects.iter().enumerate() {
        if !within_bounds(object, 0, &mut nodes) {
            let message = format!("must be nested at most {DEPTH_MAX} deep and hold at most {NODES_MAX} values");
            return Err(vec![Violation { document, ..Violation::new(ViolationKind::Syntax, "", message) }]);
        }
    }
    let document = |(index, value)| RawDocument { index, value, line: None, source: None, item: None };
    limit(objects.into_iter().enumerate().map(document).flat_map(unfold).collect())
}

fn limit(documents: Vec<RawDocument>) -> Result<Vec<RawDocument>, Vec<Violation>> {
    if documents.len() <= DOCUMENTS_MAX {
        return Ok(documents);
    }
    let message = format!("the manifest has {} objects: must have at most {DOCUMENTS_MAX}", documents.len());
    Err(vec![Violation::new(ViolationKind::Syntax, "", message)])
}

/// The items of a `List`, or the document itself.
fn unfold(mut document: RawDocument) -> Vec<RawDocument> {
    let is_list = document.value.get("kind").and_then(Value::as_str) == Some("List");
    match document.value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            let items = items.into_iter().enumerate().map(|(item, value)| RawDocument {
                value,
                item: Some(item),
                source: document.source.clone(),
                ..document
            });
            items.collect()
        }
        Some(other) => {
            document.value["items"] = other;
            vec![document]
        }
        None => vec![document],
    }
}

fn within_bounds(value: &Value, depth: usize, nodes: &mut usize) -> bool {
    *nodes += 1;
    if depth > DEPTH_MAX || *nodes > NODES_MAX {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().all(|item| within_bounds(item, depth + 1, nodes)),
        Value::Object(members) => members.values().all(|member| within_bounds(member, depth + 1, nodes)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // Empty ones count here; those that hold something are counted when they have been read.
            max_documents: DOCUMENTS_MAX * 2,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 3,
            max_total_scalar_bytes: MANIFEST_BYTES_MAX,
            max_recorded_anchor_events: ALIASED_NODES_MAX * 4,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_NODES_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn read_yaml(text: &str) -> Result<Vec<(usize, Value)>, serde_saphyr::Error> {
    let documents: Vec<Spanned<Strict>> = serde_saphyr::from_multiple_with_options(text, options())?;
    Ok(documents.into_iter().map(|document| (line(&document.referenced), document.value.0)).collect())
}

fn syntax_violation(text: &str, error: &serde_saphyr::Error) -> Violation {
    let at = error.location().map(|location| line(&location)).filter(|line| *line > 0);
    let indented_by_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    let nearby = text.lines().enumerate().take(at.unwrap_or(usize::MAX).saturating_add(1));
    if let Some((index, _)) = nearby.filter(|(_, line)| indented_by_tab(line)).last() {
        return tab_violation(index + 1);
    }
    let message = match error.without_snippet() {
        serde_saphyr::Error::Budget { breach, .. } => over_budget(breach),
        other => format!("cannot be read as YAML: {other}"),
    };
    Violation { line: at, ..Violation::new(ViolationKind::Syntax, "", message) }
}

fn over_budget(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Documents { .. } => format!("the manifest must have at most {DOCUMENTS_MAX} documents"),
        BudgetBreach::Depth { .. } => format!("the manifest must be nested at most {DEPTH_MAX} deep"),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("the manifest must have at most {NODES_MAX} values")
        }
        other => format!("the manifest uses too much of what YAML offers: {other:?}"),
    }
}

fn tab_violation(line: usize) -> Violation {
    let violation =
        Violation::new(ViolationKind::Syntax, "", format!("YAML forbids tabs: line {line} is indented with one"));
    Violation { line: Some(line), ..violation.hint("indent it with spaces") }
}
