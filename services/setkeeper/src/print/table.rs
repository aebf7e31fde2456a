//! Tables as kubectl prints them: columns three blanks apart, at least six wide, the last one not padded.

/// Blanks between columns.
const GAP: usize = 3;

/// Narrowest column with its gap.
const WIDTH_MIN: usize = 6;

/// Lines up rows. Rows that come later keep the widths of those before, so that a watch stays in line.
#[derive(Debug, Default)]
pub(crate) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The rows as lines, in line with each other and with those before.
    pub(crate) fn render(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            for (index, cell) in row.iter().enumerate() {
                let width = (cell.chars().count() + GAP).max(WIDTH_MIN);
                match self.widths.get_mut(index) {
                    Some(known) => *known = width.max(*known),
                    None => self.widths.push(width),
                }
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        let last = row.len().saturating_sub(1);
        for (index, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if index < last {
                let width = self.widths.get(index).copied().unwrap_or_default();
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_line_up_and_stay_so() {
        let mut table = Table::new();
        let first = table.render(&[row(&["NAME", "A", "AGE"]), row(&["web-0", "1", "5s"])]);
        assert_eq!(first, "NAME    A     AGE\nweb-0   1     5s\n");
        assert_eq!(table.render(&[row(&["x", "22", "5s"])]), "x       22    5s\n");
        assert_eq!(table.render(&[row(&["a-long-name", "", ""])]), "a-long-name\n");
    }
}
