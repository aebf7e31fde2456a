//! The record of who changed what, and who was refused.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use serde::Serialize;
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Principal;
use crate::clock::{Clock as _, SystemClock};
use crate::status;
use crate::telemetry::file::LogFile;

/// Largest file, in bytes: some hundred thousand changes. One older file of the same size is kept.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// Refusals that are written down in one [`REFUSAL_WINDOW`]; more are counted. A stranger must not fill the disk.
const REFUSALS_MAX: u32 = 20;

const REFUSAL_WINDOW: Duration = Duration::from_secs(60);

/// Objects that one record names: more would be a page, and the trace has them all.
const SUBJECTS_MAX: usize = 1000;

/// Where changes and refusals are recorded: as events of the target `audit`, and in a file if there is one. Clones share
/// everything.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    file: Option<Arc<Mutex<LogFile>>>,
    /// Of callers who are known.
    refusals: Arc<Mutex<Refusals>>,
    /// Of those who are not. Counted apart, so that they cannot hide what the others try.
    strangers: Arc<Mutex<Refusals>>,
}

/// The file of the record cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit file {} cannot be opened", path.display())]
pub struct AuditError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty where it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name; empty where all of them are meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Which of those that ever had the name; empty where there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    time: String,
    service: &'a str,
    caller: String,
    verb: &'a str,
    objects: &'a [Subject],
    /// `OK`, or the reason of the refusal or failure. Never its text, which may quote what was sent.
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_id: String,
    /// Refusals before this one that were not written down.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

/// How many refusals there were of late.
#[derive(Debug, Default)]
struct Refusals {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Audit {
    /// Goes on with a file, or begins it, for its owner alone.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn to_file(path: &Path) -> Result<Self, AuditError> {
        let file = LogFile::bounded(path, FILE_BYTES_MAX);
        let file = file.map_err(|source| AuditError { path: path.to_owned(), source })?;
        Ok(Self { file: Some(Arc::new(Mutex::new(file))), ..Self::default() })
    }

    /// A change, and what became of it.
    pub(super) fn changed(
        &self,
        service: &str,
        principal: &Principal,
        verb: &str,
        subjects: &[Subject],
        outcome: Result<(), &Status>,
    ) {
        let outcome = match outcome {
            Ok(()) => "OK".to_owned(),
            Err(error) => {
                Some(status::reason(error)).filter(|reason| !reason.is_empty()).unwrap_or_else(|| code(error))
            }
        };
        self.write(service, principal.to_string(), verb, subjects, outcome, 0);
    }

    /// Somebody was refused. At most some per minute are written down; the next one that is says how many were not.
    pub(super) fn refused(&self, service: &str, principal: &Principal, verb: &str, subjects: &[Subject]) {
        if let Some(left_out) = admit(&self.refusals) {
            self.write(service, principal.to_string(), verb, subjects, "FORBIDDEN".to_owned(), left_out);
        }
    }

    /// Somebody did not say, or did not prove, who they are.
    pub(crate) fn stranger(&self, service: &str, peer: &str, why: &str) {
        if let Some(left_out) = admit(&self.strangers) {
            tracing::info!(target: "audit", service, peer, why, left_out, "a stranger was turned away");
            self.write(service, format!("stranger at {peer}"), "connect", &[], "UNAUTHENTICATED".to_owned(), left_out);
        }
    }

    fn write(&self, service: &str, caller: String, verb: &str, subjects: &[Subject], outcome: String, left_out: u64) {
        let context = Span::current().context();
        let trace = context.span().span_context().trace_id();
        let trace_id = if context.has_active_span() { trace.to_string() } else { String::new() };
        let objects = &subjects[..subjects.len().min(SUBJECTS_MAX)];
        let time = jiff::Timestamp::from_millisecond(SystemClock.now().0).unwrap_or_default().to_string();
        let record = Record { time, service, caller, verb, objects, outcome, trace_id, left_out };
        let mut line = serde_json::to_vec(&record).expect("strings and numbers");
        tracing::info!(target: "audit", record = %String::from_utf8_lossy(&line), "recorded");
        line.push(b'\n');
        if let Some(file) = &self.file
            && let Err(error) = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
        {
            tracing::error!(%error, "the audit file cannot be written");
        }
    }
}

fn admit(refusals: &Mutex<Refusals>) -> Option<u64> {
    refusals.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now())
}

impl Refusals {
    /// Whether one more is written down, and how many were not since the last one that was.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= REFUSAL_WINDOW) {
            self.since = Some(now);
            self.written = 0;
        }
        if self.written == REFUSALS_MAX {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

fn code(status: &Status) -> String {
    let code: Code = status.code();
    format!("{code:?}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Holder, Role};

    #[test]
    fn a_flood_of_refusals_is_counted_not_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let audit = Audit::to_file(&path).expect("opens");
        let principal = Principal::Holder(Holder::Service(Role::PodRuntime));
        for _ in 0..1000 {
            audit.refused("coordinator", &principal, "delete", &[]);
        }
        let text = std::fs::read_to_string(&path).expect("is there");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), REFUSALS_MAX as usize);
        assert_eq!(lines[0]["caller"], "pod-runtime");
        assert_eq!(lines[0]["outcome"], "FORBIDDEN");
        let later = Instant::now() + REFUSAL_WINDOW;
        let mut refusals = audit.refusals.lock().expect("no holder of this lock panics");
        assert_eq!(refusals.admit(later), Some(1000 - u64::from(REFUSALS_MAX)));
        drop(refusals);
        audit.stranger("coordinator", "192.0.2.1", "no token");
        let text = std::fs::read_to_string(&path).expect("is there");
        assert_eq!(text.lines().count(), REFUSALS_MAX as usize + 1, "strangers are counted apart");
    }
}
