//! What a service measures, read as strictly as the format of Prometheus is written down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a scrape may take: what Prometheus allows it.
const SCRAPE_MAX: Duration = Duration::from_secs(10);

/// One scrape: every sample, by its name and labels as they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Asks `/metrics` and reads the answer.
    ///
    /// # Errors
    /// Nobody answers, or the answer is not as the format says.
    pub async fn of(address: SocketAddr) -> Result<Self, String> {
        let page =
            tokio::time::timeout(SCRAPE_MAX, get(address, "/metrics")).await.map_err(|error| error.to_string())??;
        Self::parse(&page)
    }

    /// Sum of the samples of this name whose labels hold all of `labels`, such as `controller="set"`.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let named = self.samples.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
        named.filter(|(sample, _)| labels.iter().all(|label| sample.contains(label))).map(|(_, value)| value).sum()
    }

    /// All samples, names and labels.
    pub fn samples(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }

    /// Reads the text format: each family whole, told of first, its samples named after it, counters as counters are,
    /// buckets that rise and end with everything.
    ///
    /// # Errors
    /// A line is not as the format says.
    pub fn parse(page: &str) -> Result<Self, String> {
        let mut samples = BTreeMap::new();
        let mut families = BTreeMap::new();
        let (mut family, mut kind) = (String::new(), String::new());
        if !page.is_empty() && !page.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for line in page.lines() {
            if let Some(told) = line.strip_prefix("# HELP ") {
                let (name, _) = told.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
                (family, kind) = (name.to_owned(), String::new());
                if families.insert(name.to_owned(), ()).is_some() {
                    return Err(format!("{name} is told of twice"));
                }
            } else if let Some(told) = line.strip_prefix("# TYPE ") {
                kind = told
                    .strip_prefix(&format!("{family} "))
                    .ok_or_else(|| format!("of another family: {line}"))?
                    .to_owned();
            } else {
                let (sample, value) = line.rsplit_once(' ').ok_or_else(|| format!("no value: {line}"))?;
                let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
                let name = checked(sample)?;
                belongs(name, &family, &kind).map_err(|why| format!("{why}: {line}"))?;
                if samples.insert(sample.to_owned(), value).is_some() {
                    return Err(format!("twice: {line}"));
                }
            }
        }
        let scrape = Self { samples };
        scrape.buckets_rise()?;
        Ok(scrape)
    }

    /// Buckets of one histogram are cumulative; the last is its count.
    fn buckets_rise(&self) -> Result<(), String> {
        let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, value) in self.samples.iter().filter(|(sample, _)| sample.contains("_bucket{")) {
            let (rest, bound) = sample.split_once("le=\"").ok_or_else(|| format!("no bound: {sample}"))?;
            let bound = bound.trim_end_matches("\"}");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| sample.clone())? };
            histograms.entry(rest.to_owned()).or_default().push((bound, *value));
        }
        for (histogram, mut buckets) in histograms {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            if !buckets.is_sorted_by(|one, next| one.1 <= next.1)
                || buckets.last().is_none_or(|last| last.0.is_finite())
            {
                return Err(format!("{histogram}: its buckets do not rise to everything: {buckets:?}"));
            }
            let count = histogram.replacen("_bucket{", "_count{", 1).trim_end_matches([',', '{']).to_owned();
            let count = if count.contains('{') { format!("{count}}}") } else { count };
            if self.samples.get(&count) != buckets.last().map(|(_, all)| all) {
                return Err(format!("{count} is not what its last bucket is"));
            }
        }
        Ok(())
    }
}

/// The name of a sample whose name and labels are well formed.
fn checked(sample: &str) -> Result<&str, String> {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let word = |text: &str| {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut rest = labels.strip_suffix('}').ok_or_else(|| format!("labels do not end: {sample}"))?;
    if !word(name) {
        return Err(format!("no name: {sample}"));
    }
    while !rest.is_empty() {
        let (label, value) = rest.split_once("=\"").ok_or_else(|| format!("no label: {sample}"))?;
        // None of our closed sets has anything to escape.
        let (value, after) = value.split_once('"').ok_or_else(|| format!("a label does not end: {sample}"))?;
        if !word(label) || value.contains('\\') || !(after.is_empty() || after.starts_with(',')) {
            return Err(format!("labels are not well formed: {sample}"));
        }
        rest = after.trim_start_matches(',');
    }
    Ok(name)
}

fn belongs(name: &str, family: &str, kind: &str) -> Result<(), String> {
    let suffix = name.strip_prefix(family).ok_or_else(|| format!("not of {family}"))?;
    let known = match kind {
        "counter" => suffix.is_empty() && name.ends_with("_total"),
        "gauge" => suffix.is_empty() && !name.ends_with("_total"),
        "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
        _ => false,
    };
    if !name.starts_with("setkeeper_") {
        return Err("not one of ours".to_owned());
    }
    known.then_some(()).ok_or_else(|| format!("no {kind} is called so"))
}

/// The body of a page of a service's port for metrics.
///
/// # Errors
/// Nobody answers, or not with 200.
pub async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(words)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(words)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(words)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.to_owned());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_the_format_says_is_found() {
        let counter = "# HELP setkeeper_a_total A.\n# TYPE setkeeper_a_total counter\n";
        let read = Scrape::parse(&format!("{counter}setkeeper_a_total{{x=\"1\"}} 3\nsetkeeper_a_total{{x=\"2\"}} 4\n"));
        assert_eq!(read.map(|scrape| scrape.sum("setkeeper_a_total", &[])), Ok(7.0));
        for wrong in [
            "setkeeper_a_total 3\n".to_owned(),
            format!("{counter}setkeeper_a_total 3"),
            format!("{counter}setkeeper_a_total x\n"),
            format!("{counter}setkeeper_a_total 3\nsetkeeper_a_total 3\n"),
            format!("{counter}setkeeper_b_total 3\n"),
            format!("{counter}setkeeper_a_total{{x=1}} 3\n"),
            format!("{counter}setkeeper_a_total{{x=\"1\" 3\n"),
            format!("{counter}{counter}"),
        ] {
            assert!(Scrape::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn buckets_must_rise_to_the_count() {
        let page = |one: u32, all: u32, count: u32| {
            format!(
                "# HELP setkeeper_h H.\n# TYPE setkeeper_h histogram\nsetkeeper_h_bucket{{le=\"1\"}} {one}\n\
                 setkeeper_h_bucket{{le=\"+Inf\"}} {all}\nsetkeeper_h_sum 1\nsetkeeper_h_count {count}\n"
            )
        };
        assert!(Scrape::parse(&page(1, 2, 2)).is_ok());
        assert!(Scrape::parse(&page(3, 2, 2)).is_err() && Scrape::parse(&page(1, 2, 3)).is_err());
    }
}
