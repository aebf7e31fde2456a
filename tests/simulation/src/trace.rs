//! What happened, step by step: a hash to compare runs by, and lines to read.

use std::io::Write as _;
use std::time::Duration;

/// The course of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    lines: u64,
    /// Prints every line as it comes.
    loud: bool,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(loud: bool) -> Self {
        Self { loud, ..Self::default() }
    }

    /// Adds a line.
    pub fn note(&mut self, at: Duration, line: &str) {
        let stamp = at.as_millis();
        for byte in stamp.to_be_bytes().iter().chain(line.as_bytes()) {
            // FNV-1a: short, and the same everywhere.
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.loud {
            // Whoever reads may have seen enough.
            let _gone = writeln!(std::io::stdout(), "{:>9.3} {line}", at.as_secs_f64());
        }
    }

    /// Sums up all lines.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }
}
