//! Effects that are done once and finished, whatever becomes of their caller.
//!
//! A handler that is waiting is dropped when its caller leaves or runs out of time, between any two of its steps. So a
//! handler with an effect gives its work to [`Effects::run`]:
//! - **Detached.** The work runs in a task of its own and finishes even if nobody waits any more.
//! - **Once.** The same operation id gives the recorded result, or waits for the one that is under way. Only success is
//!   recorded; after a failure the same id runs again.
//! - **Fenced.** An operation from a lower (epoch, generation) than one seen before is refused. Epochs are compared with
//!   every operation; generations with operations on the same subject, because operations on different subjects may
//!   overtake each other. All of that within one store: see [`authority`].
//!
//! [`Effects::open`] keeps all of that in a file: what was seen is durable before the work begins, its result before the
//! caller learns of it. A crash between the two runs the work again, so work has to be idempotent.

pub mod authority;
mod error;
mod ledger;
mod log;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tracing::Instrument as _;

use self::authority::Standing;
pub use self::error::{EffectError, LogError};
use self::ledger::Ledger;
use self::log::{Entry, Log};
use crate::process;
use crate::status::{StatusBuilder, chain};

/// Operations under way at the same time.
const RUNNING_MAX: usize = 1024;

/// Longest operation id or subject, in bytes.
const KEY_BYTES_MAX: usize = 512;

/// Largest result, in bytes: an acknowledgement, not data.
const RESULT_BYTES_MAX: usize = 64 * 1024;

/// Who orders an effect: the store that the coordinator keeps, its incarnation, and the state it decided from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    /// Identity of the store; empty means the one that is followed already.
    pub store: String,
    /// Incarnation of the coordinator; rises at each start.
    pub epoch: u64,
    /// State generation; rises within an epoch.
    pub generation: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, epoch, generation } = self;
        match store.is_empty() {
            true => write!(formatter, "(epoch {epoch}, generation {generation})"),
            false => write!(formatter, "(store {store}, epoch {epoch}, generation {generation})"),
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
    path: Option<PathBuf>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    running: HashMap<Operation, Pending>,
}

/// Which operation: ids of different stores say nothing of each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Operation {
    store: String,
    id: String,
}

impl Effects {
    /// Remembers in memory: enough where a restart makes everything anew.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Ledger::default(), None, None)
    }

    /// Remembers in a file, which is made where there is none. A last line that a crash tore is dropped.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged elsewhere than at its end.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut ledger = Ledger::default();
        let log = Log::open(path, |entry| ledger.apply(entry))?;
        Ok(Self::new(ledger, Some(Mutex::new(log)), Some(path.to_owned())))
    }

    fn new(ledger: Ledger, log: Option<Mutex<Log>>, path: Option<PathBuf>) -> Self {
        let state = Mutex::new(State { ledger, running: HashMap::new() });
        Self { inner: Arc::new(Inner { state, log, path, tasks: TaskTracker::new() }) }
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
        let short = |key: &str| key.len() <= KEY_BYTES_MAX;
        if operation_id.is_empty() || ![operation_id, subject, &fence.store].into_iter().all(short) {
            return Err(EffectError::InvalidId);
        }
        self.begin(subject, operation_id, fence, work)?.await
    }

    /// The result that is recorded for an operation of the store that is followed.
    #[must_use]
    pub fn recorded(&self, operation_id: &str) -> Option<Bytes> {
        self.inner.state().ledger.results.get(operation_id).cloned()
    }

    /// Waits for the operations that are under way. For the end of a service: no new ones may begin.
    pub async fn finish(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn begin<F>(&self, subject: &str, operation_id: &str, mut fence: Fence, work: F) -> Result<Pending, EffectError>
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        let mut state = self.inner.state();
        let standing = state.ledger.authority.standing(&fence.store);
        if fence.store.is_empty() {
            state.ledger.authority.current().clone_into(&mut fence.store);
        }
        let operation = Operation { store: fence.store.clone(), id: operation_id.to_owned() };
        if standing == Standing::Followed
            && let Some(result) = state.ledger.results.get(operation_id)
        {
            return Ok(futures::future::ready(Ok(result.clone())).boxed().shared());
        }
        if let Some(pending) = state.running.get(&operation) {
            return Ok(pending.clone());
        }
        state.ledger.admit(subject, &fence, self.inner.path.as_deref())?;
        if state.running.len() >= RUNNING_MAX {
            return Err(EffectError::Busy);
        }
        let seen = Entry::Seen {
            subject: subject.to_owned(),
            store: fence.store,
            epoch: fence.epoch,
            generation: fence.generation,
        };
        // Seen from here on, so that an older one that comes while this runs is refused.
        state.ledger.apply(seen.clone());
        // Part of the trace of whoever asked first.
        let performing = Arc::clone(&self.inner).perform(operation.clone(), seen, work).in_current_span();
        let task = self.inner.tasks.spawn(performing);
        let pending = async move { task.await.unwrap_or_else(|error| Err(lost(&error))) }.boxed().shared();
        state.running.insert(operation, pending.clone());
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

    async fn perform<F>(self: Arc<Self>, operation: Operation, seen: Entry, work: F) -> Outcome
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        let outcome =
            std::panic::AssertUnwindSafe(Arc::clone(&self).steps(&operation, seen, work)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(EffectError::Failed(Box::new(defect()))));
        self.state().running.remove(&operation);
        outcome
    }

    async fn steps<F>(self: Arc<Self>, operation: &Operation, seen: Entry, work: F) -> Outcome
    where
        F: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        Arc::clone(&self).write(seen).await?;
        let result = work.await.map_err(|status| EffectError::Failed(Box::new(status)))?;
        if result.len() > RESULT_BYTES_MAX {
            tracing::error!(
                operation_id = operation.id,
                bytes = result.len(),
                "the result of an operation is too large to be kept"
            );
            return Err(EffectError::Failed(Box::new(defect())));
        }
        let Operation { store, id } = operation.clone();
        let done = Entry::Done { id, store, result: result.clone() };
        self.write(done).await?;
        Ok(result)
    }

    /// Returns when `entry` survives a crash. It is remembered before the file may be rewritten from memory.
    async fn write(self: Arc<Self>, entry: Entry) -> Result<(), EffectError> {
        if self.log.is_none() {
            self.state().ledger.apply(entry);
            return Ok(());
        }
        let written = process::blocking(move || {
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

fn defect() -> Status {
    StatusBuilder::new("effects", Code::Internal, "INTERNAL", "the operation failed; the log says more").build()
}

fn lost(error: &dyn std::error::Error) -> EffectError {
    tracing::error!(%error, "an operation was lost");
    EffectError::Failed(Box::new(defect()))
}

#[cfg(test)]
mod tests;
