//! Effects that are done once and finished, whatever becomes of their caller.
//!
//! A handler that is waiting is dropped when its caller leaves or runs out of time, between any two of its steps. So a
//! handler with an effect gives its work to [`Effects::run`]:
//! - **Detached.** The work runs in a task of its own and finishes even if nobody waits any more.
//! - **Once.** The same operation id gives the recorded result, or waits for the one that is under way. Only success is
//!   recorded; after a failure the same id runs again.
//! - **Fenced.** An operation from a lower (epoch, generation) than one seen before is refused. Epochs are compared with
//!   every operation; generations with operations on the same subject, because operations on different subjects may
//!   overtake each other.
//!
//! [`Effects::open`] keeps all of that in a file: what was seen is durable before the work begins, its result before the
//! caller learns of it. A crash between the two runs the work again, so work has to be idempotent.

mod log;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tracing::Instrument as _;

use self::log::{Entry, Log};
use crate::status::{RETRY_DELAY, StatusBuilder, chain};

/// Results that are remembered. A caller repeats an operation within seconds or minutes, not after thousands of others.
const RESULTS_MAX: usize = 4096;

/// Subjects whose generation is remembered within one epoch. The oldest are forgotten; their operations are idempotent.
const SUBJECTS_MAX: usize = 65_536;

/// Operations under way at the same time.
const RUNNING_MAX: usize = 1024;

/// Longest operation id or subject, in bytes.
const KEY_BYTES_MAX: usize = 512;

/// Largest result, in bytes: an acknowledgement, not data.
const RESULT_BYTES_MAX: usize = 64 * 1024;

/// Who orders an effect: the incarnation of the coordinator, and the state it decided from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Fence {
    /// Incarnation of the coordinator; rises at each start.
    pub epoch: u64,
    /// State generation; rises within an epoch.
    pub generation: u64,
}

/// An effect was not done, or not known to be done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EffectError {
    /// Something newer was seen. Nothing was done.
    #[error("{refused} is older than {highest}, which was seen before")]
    Fenced {
        /// What was refused.
        refused: Fence,
        /// What was seen.
        highest: Fence,
    },
    /// The operation has no usable id. Nothing was done.
    #[error("an operation needs an id and a subject of at most {KEY_BYTES_MAX} bytes, and the id must not be empty")]
    InvalidId,
    /// Too many operations are under way. Nothing was done.
    #[error("more than {RUNNING_MAX} operations are under way")]
    Busy,
    /// What was seen or done could not be made durable. The work may have been done.
    #[error("the log of operations cannot be written")]
    Log(#[source] Arc<LogError>),
    /// The work failed with this status. The same id runs again.
    #[error("the operation failed")]
    Failed(#[source] Box<Status>),
}

/// The log of operations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read or written.
    #[error("{} cannot be {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A line in the middle is damaged: the disk lied, or somebody edited it.
    #[error("{} is damaged in line {line}: restore it, or remove it to forget which operations were done", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "(epoch {}, generation {})", self.epoch, self.generation)
    }
}

impl From<EffectError> for Status {
    fn from(error: EffectError) -> Self {
        let build = |code, reason| StatusBuilder::new("effects", code, reason, error.to_string());
        match &error {
            EffectError::Fenced { highest, .. } => build(Code::Aborted, "FENCED")
                .fact("epoch", highest.epoch.to_string())
                .fact("generation", highest.generation.to_string())
                .build(),
            EffectError::InvalidId => {
                build(Code::InvalidArgument, "INVALID_OPERATION").violation("operation_id", error.to_string()).build()
            }
            EffectError::Busy => build(Code::ResourceExhausted, "TOO_MANY_OPERATIONS")
                .quota("operations under way", error.to_string())
                .retry_after(RETRY_DELAY)
                .build(),
            EffectError::Log(_) => build(Code::Unavailable, "LOG_UNAVAILABLE").retry_after(RETRY_DELAY).build(),
            EffectError::Failed(status) => status.as_ref().clone(),
        }
    }
}

type Outcome = Result<Bytes, EffectError>;
type Pending = Shared<BoxFuture<'static, Outcome>>;

/// Runs effects. Clones share everything.
#[derive(Clone)]
pub struct Effects {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    log: Option<Mutex<Log>>,
    tasks: TaskTracker,
}

/// What was seen and done, without the file. Pure.
#[derive(Default)]
struct Ledger {
    epoch: u64,
    generations: BTreeMap<String, u64>,
    subjects_by_age: VecDeque<String>,
    results: HashMap<String, Bytes>,
    ids_by_age: VecDeque<String>,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    running: HashMap<String, Pending>,
}

impl Effects {
    /// Remembers in memory: enough where a restart makes everything anew.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Ledger::default(), None)
    }

    /// Remembers in a file, which is made where there is none. A last line that a crash tore is dropped.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged elsewhere than at its end.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut ledger = Ledger::default();
        let log = Log::open(path, |entry| ledger.apply(entry))?;
        Ok(Self::new(ledger, Some(Mutex::new(log))))
    }

    fn new(ledger: Ledger, log: Option<Mutex<Log>>) -> Self {
        let state = Mutex::new(State { ledger, running: HashMap::new() });
        Self { inner: Arc::new(Inner { state, log, tasks: TaskTracker::new() }) }
    }

    /// Does `work` once for `operation_id`, fenced against every other operation. For a receiver with one subject.
    ///
    /// # Errors
    /// See [`EffectError`].
    ///
    /// # Cancel safety
    /// The work goes on when this future is dropped.
    pub async fn run<F>(&self, operation_id: &str, fence: Fence, work: F) -> Result<Bytes, EffectError>
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        self.run_for("", operation_id, fence, work).await
    }

    /// Does `work` once for `operation_id`; its generation is compared only with those of the same `subject`, such as a
    /// volume.
    ///
    /// # Errors
    /// See [`EffectError`].
    ///
    /// # Cancel safety
    /// The work goes on when this future is dropped.
    pub async fn run_for<F>(
        &self,
        subject: &str,
        operation_id: &str,
        fence: Fence,
        work: F,
    ) -> Result<Bytes, EffectError>
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        if operation_id.is_empty() || operation_id.len() > KEY_BYTES_MAX || subject.len() > KEY_BYTES_MAX {
            return Err(EffectError::InvalidId);
        }
        self.begin(subject, operation_id, fence, work)?.await
    }

    /// The result that is recorded for an operation.
    #[must_use]
    pub fn recorded(&self, operation_id: &str) -> Option<Bytes> {
        self.inner.state().ledger.results.get(operation_id).cloned()
    }

    /// Waits for the operations that are under way. For the end of a service: no new ones may begin.
    pub async fn finish(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn begin<F>(&self, subject: &str, operation_id: &str, fence: Fence, work: F) -> Result<Pending, EffectError>
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        let mut state = self.inner.state();
        if let Some(result) = state.ledger.results.get(operation_id) {
            return Ok(futures::future::ready(Ok(result.clone())).boxed().shared());
        }
        if let Some(pending) = state.running.get(operation_id) {
            return Ok(pending.clone());
        }
        state.ledger.admit(subject, fence)?;
        if state.running.len() >= RUNNING_MAX {
            return Err(EffectError::Busy);
        }
        let seen = Entry::Seen { subject: subject.to_owned(), epoch: fence.epoch, generation: fence.generation };
        // Seen from here on, so that an older one that comes while this runs is refused.
        state.ledger.apply(seen.clone());
        // Part of the trace of whoever asked first.
        let performing = Arc::clone(&self.inner).perform(operation_id.to_owned(), seen, work).in_current_span();
        let task = self.inner.tasks.spawn(performing);
        let pending = async move { task.await.unwrap_or_else(|error| Err(lost(&error))) }.boxed().shared();
        state.running.insert(operation_id.to_owned(), pending.clone());
        Ok(pending)
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state();
        let durable = self.inner.log.is_some();
        formatter.debug_struct("Effects").field("durable", &durable).field("running", &state.running.len()).finish()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform<F>(self: Arc<Self>, operation_id: String, seen: Entry, work: F) -> Outcome
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        let outcome =
            std::panic::AssertUnwindSafe(Arc::clone(&self).steps(&operation_id, seen, work)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(EffectError::Failed(Box::new(defect()))));
        self.state().running.remove(&operation_id);
        outcome
    }

    async fn steps<F>(self: Arc<Self>, operation_id: &str, seen: Entry, work: F) -> Outcome
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        Arc::clone(&self).write(seen).await?;
        let result = work.await.map_err(|status| EffectError::Failed(Box::new(status)))?;
        if result.len() > RESULT_BYTES_MAX {
            tracing::error!(operation_id, bytes = result.len(), "the result of an operation is too large to be kept");
            return Err(EffectError::Failed(Box::new(defect())));
        }
        let done = Entry::Done { id: operation_id.to_owned(), result: result.clone() };
        self.write(done).await?;
        Ok(result)
    }

    /// Returns when `entry` survives a crash. It is remembered before the file may be rewritten from memory.
    async fn write(self: Arc<Self>, entry: Entry) -> Result<(), EffectError> {
        if self.log.is_none() {
            self.state().ledger.apply(entry);
            return Ok(());
        }
        let written = tokio::task::spawn_blocking(move || {
            let Some(log) = &self.log else { return Ok(()) };
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(&entry)?;
            self.state().ledger.apply(entry);
            if log.wants_compaction() {
                let entries = self.state().ledger.entries();
                log.compact(&entries)?;
            }
            Ok(())
        });
        let written = written.await.map_err(|error| lost(&error))?;
        written.map_err(|error: LogError| {
            tracing::error!(error = chain(&error), "an operation could not be made durable");
            EffectError::Log(Arc::new(error))
        })
    }
}

impl Ledger {
    fn admit(&self, subject: &str, fence: Fence) -> Result<(), EffectError> {
        let generation = self.generations.get(subject).copied().unwrap_or_default();
        let highest = Fence { epoch: self.epoch, generation };
        if fence < highest { Err(EffectError::Fenced { refused: fence, highest }) } else { Ok(()) }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Seen { subject, epoch, generation } => self.see(subject, Fence { epoch, generation }),
            Entry::Done { id, result } => {
                if self.results.insert(id.clone(), result).is_none() {
                    self.ids_by_age.push_back(id);
                }
                while self.ids_by_age.len() > RESULTS_MAX {
                    let Some(oldest) = self.ids_by_age.pop_front() else { break };
                    self.results.remove(&oldest);
                }
            }
        }
    }

    fn see(&mut self, subject: String, fence: Fence) {
        if fence.epoch < self.epoch {
            return;
        }
        if fence.epoch > self.epoch {
            // Every generation of an older epoch is below every one of this.
            self.epoch = fence.epoch;
            self.generations.clear();
            self.subjects_by_age.clear();
        }
        match self.generations.get_mut(&subject) {
            Some(generation) => *generation = fence.generation.max(*generation),
            None => {
                self.subjects_by_age.push_back(subject.clone());
                self.generations.insert(subject, fence.generation);
            }
        }
        while self.subjects_by_age.len() > SUBJECTS_MAX {
            let Some(oldest) = self.subjects_by_age.pop_front() else { break };
            self.generations.remove(&oldest);
        }
    }

    /// What has to be written to remember all of this, oldest first.
    fn entries(&self) -> Vec<Entry> {
        let seen = self.subjects_by_age.iter().map(|subject| Entry::Seen {
            subject: subject.clone(),
            epoch: self.epoch,
            generation: self.generations.get(subject).copied().unwrap_or_default(),
        });
        let done = self
            .ids_by_age
            .iter()
            .filter_map(|id| Some(Entry::Done { id: id.clone(), result: self.results.get(id)?.clone() }));
        seen.chain(done).collect()
    }
}

fn defect() -> Status {
    StatusBuilder::new("effects", Code::Internal, "INTERNAL", "the operation failed; the log says more").build()
}

fn lost(error: &tokio::task::JoinError) -> EffectError {
    tracing::error!(%error, "an operation was lost");
    EffectError::Failed(Box::new(defect()))
}

#[cfg(test)]
mod tests;
