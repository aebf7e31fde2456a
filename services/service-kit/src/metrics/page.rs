//! The text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Histogram;

/// What a scrape is answered with: families by name, whoever added to them.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    kind: &'static str,
    help: &'static str,
    lines: String,
}

/// Label names with their values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// A number that only rises. Its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &'static str, labels: Labels<'_>, value: u64) {
        debug_assert!(name.ends_with("_total"), "{name} is a counter");
        self.sample(name, "counter", help, labels, value as f64);
    }

    /// A number that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &'static str, labels: Labels<'_>, value: f64) {
        self.sample(name, "gauge", help, labels, value);
    }

    /// A distribution.
    pub fn histogram(&mut self, name: &str, help: &'static str, labels: Labels<'_>, histogram: &Histogram) {
        let (buckets, sum) = histogram.cumulative();
        let count = buckets.last().map_or(0, |(_, count)| *count);
        let lines = self.family(name, "histogram", help);
        for (bound, below) in &buckets {
            let bound = number(*bound);
            let labels = text(labels, Some(("le", &bound)));
            let _infallible = writeln!(lines, "{name}_bucket{labels} {below}");
        }
        let labels = text(labels, None);
        let _infallible = writeln!(lines, "{name}_sum{labels} {}\n{name}_count{labels} {count}", number(sum));
    }

    fn sample(&mut self, name: &str, kind: &'static str, help: &'static str, labels: Labels<'_>, value: f64) {
        let lines = self.family(name, kind, help);
        let _infallible = writeln!(lines, "{name}{} {}", text(labels, None), number(value));
    }

    fn family(&mut self, name: &str, kind: &'static str, help: &'static str) -> &mut String {
        if !self.families.contains_key(name) {
            self.families.insert(name.to_owned(), Family { kind, help, lines: String::new() });
        }
        &mut self.families.get_mut(name).expect("it was just added").lines
    }

    /// The whole page.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        for (name, Family { kind, help, lines }) in &self.families {
            let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        }
        out
    }
}

fn text(labels: Labels<'_>, further: Option<(&str, &str)>) -> String {
    let mut out = String::new();
    for (name, value) in labels.iter().copied().chain(further) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let gap = if out.is_empty() { '{' } else { ',' };
        let _infallible = write!(out, "{gap}{name}=\"{value}\"");
    }
    if !out.is_empty() {
        out.push('}');
    }
    out
}

fn number(value: f64) -> String {
    if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::*;

    #[test]
    fn families_are_written_whole_whoever_adds_to_them() {
        let mut page = Page::default();
        page.gauge("setkeeper_b", "Of b.", &[("x", "a\"\\\n")], 1.5);
        page.counter("setkeeper_a_total", "Of a.", &[], 3);
        page.gauge("setkeeper_b", "Of b.", &[("x", "2"), ("y", "3")], 2.0);
        let expected = "# HELP setkeeper_a_total Of a.\n# TYPE setkeeper_a_total counter\nsetkeeper_a_total 3\n\
                        # HELP setkeeper_b Of b.\n# TYPE setkeeper_b gauge\nsetkeeper_b{x=\"a\\\"\\\\\\n\"} 1.5\n\
                        setkeeper_b{x=\"2\",y=\"3\"} 2\n";
        assert_eq!(page.render(), expected);
    }

    #[test]
    fn a_histogram_ends_with_everything() {
        let histogram = Histogram::new(Scale::COUNT);
        histogram.record(3);
        let mut page = Page::default();
        page.histogram("setkeeper_sizes", "Sizes.", &[("of", "x")], &histogram);
        let page = page.render();
        for line in [
            "setkeeper_sizes_bucket{of=\"x\",le=\"2\"} 0\n",
            "setkeeper_sizes_bucket{of=\"x\",le=\"4\"} 1\n",
            "setkeeper_sizes_bucket{of=\"x\",le=\"+Inf\"} 1\n",
            "setkeeper_sizes_sum{of=\"x\"} 3\nsetkeeper_sizes_count{of=\"x\"} 1\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }
}
