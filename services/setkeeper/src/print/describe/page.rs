//! Text with aligned values.

use std::fmt::Write as _;

use crate::print::table::Table;

/// Column where values begin.
const VALUE_COLUMN: usize = 24;

/// Text that is built line by line.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    pub(super) fn field(&mut self, name: &str, value: &str) {
        let value = if value.is_empty() { "<none>" } else { value };
        let label = format!("{name}:");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{label:<VALUE_COLUMN$}{value}");
    }

    /// Several values, one below the other.
    pub(super) fn fields(&mut self, name: &str, values: &str) {
        let mut values = values.split(',').filter(|value| !value.is_empty());
        self.field(name, values.next().unwrap_or_default());
        for value in values {
            self.field_more(value);
        }
    }

    /// One more value below the last.
    pub(super) fn field_more(&mut self, value: &str) {
        let _ = writeln!(self.text, "{:<VALUE_COLUMN$}{value}", "");
    }

    /// Lines below a heading.
    pub(super) fn list(&mut self, heading: &str, lines: &[String]) {
        if lines.is_empty() {
            self.field(heading, "");
            return;
        }
        self.line(&format!("{heading}:"));
        for line in lines {
            self.line(&format!("  {line}"));
        }
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn table(&mut self, heading: &str, rows: &[Vec<String>]) {
        if rows.len() <= 1 {
            self.field(heading, "");
            return;
        }
        self.line(&format!("{heading}:"));
        for line in Table::new().render(rows).lines() {
            self.line(&format!("  {line}"));
        }
    }
}
