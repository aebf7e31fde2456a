//! What is wrong with a manifest, in the words of the Kubernetes API.

use std::fmt;

use serde_json::Value;

/// The most violations that one document reports. Who has more reads the first hundred first.
pub(super) const VIOLATIONS_MAX: usize = 100;

/// The longest value that a message quotes, in characters. Longer ones are cut.
const QUOTE_LENGTH_MAX: usize = 200;

/// In which way a field is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// A value that is not allowed.
    Invalid,
    /// Something that has to be there is missing.
    Required,
    /// Something that must not be there, or must not change.
    Forbidden,
    /// A reference to something that does not exist.
    NotFound,
    /// A value that has to be unique is there twice.
    Duplicate,
    /// None of the values that are known.
    Unsupported,
    /// A text where a number belongs, or the like.
    TypeError,
    /// A field that does not exist.
    UnknownField,
    /// Neither YAML nor JSON.
    Syntax,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, such as `spec.template.spec.containers[0].image`; empty for the whole document.
    pub field: String,
    /// What, such as `Invalid value: -1: must be greater than or equal to 0`.
    pub message: String,
    /// In which way.
    pub kind: ViolationKind,
    /// Index of the document in the manifest, from 0.
    pub document: usize,
    /// Which object, such as `StatefulSet "web"`; absent while that is not known.
    pub object: Option<String>,
    /// Line of the manifest, from 1; absent for objects that were not text.
    pub line: Option<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Violation {
    pub(super) fn new(kind: ViolationKind, field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self { field, message, kind, document: 0, object: None, line: None, hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The message and, after a semicolon, the hint.
    #[must_use]
    pub fn description(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Violation {
    /// Everything on one line: `line 7: StatefulSet "web": spec.replicas: Invalid value: -1: must be ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.description())
    }
}

/// Collects what is wrong, and what is merely suspicious.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn push(&mut self, violation: Violation) -> &mut Violation {
        if self.violations.len() >= VIOLATIONS_MAX {
            self.violations.pop();
        }
        self.violations.push(violation);
        self.violations.last_mut().expect("one was just pushed")
    }

    pub(super) fn invalid(&mut self, field: &str, value: &Value, why: impl fmt::Display) -> &mut Violation {
        self.push(Violation::new(ViolationKind::Invalid, field, format!("Invalid value: {}: {why}", quote(value))))
    }

    pub(super) fn required(&mut self, field: &str, why: &str) -> &mut Violation {
        self.push(Violation::new(ViolationKind::Required, field, with_reason("Required value", why)))
    }

    pub(super) fn forbidden(&mut self, field: &str, why: &str) -> &mut Violation {
        self.push(Violation::new(ViolationKind::Forbidden, field, with_reason("Forbidden", why)))
    }

    pub(super) fn not_found(&mut self, field: &str, value: &Value) -> &mut Violation {
        self.push(Violation::new(ViolationKind::NotFound, field, format!("Not found: {}", quote(value))))
    }

    pub(super) fn duplicate(&mut self, field: &str, value: &Value) -> &mut Violation {
        self.push(Violation::new(ViolationKind::Duplicate, field, format!("Duplicate value: {}", quote(value))))
    }

    pub(super) fn unsupported(&mut self, field: &str, value: &Value, supported: &[&str]) -> &mut Violation {
        let supported: Vec<_> = supported.iter().map(|name| format!("\"{name}\"")).collect();
        let message = format!("Unsupported value: {}: supported values: {}", quote(value), supported.join(", "));
        self.push(Violation::new(ViolationKind::Unsupported, field, message))
    }

    pub(super) fn warn(&mut self, field: &str, message: impl fmt::Display) {
        if self.warnings.len() < VIOLATIONS_MAX {
            self.warnings.push(format!("{field}: {message}"));
        }
    }
}

fn with_reason(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

/// The value as JSON, cut if it is long.
pub(super) fn quote(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTE_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
