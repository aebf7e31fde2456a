//! The embedded store: one file, no server.
//!
//! - **One committer thread** owns the file, since a durable commit blocks. It takes what is queued as one group, makes
//!   the group durable with one transaction, then makes it visible, then answers. So under load the price of a sync is
//!   shared, and nobody ever sees what could still be lost.
//! - **Reads come from memory**, not from the database: an ordered map in step with the disk. Chosen, because a
//!   control plane reads far more than it writes, every object is verified once when the store is opened and not
//!   trusted to the page cache later, and watchers need the recent commits in memory anyway. The price is memory for the
//!   whole state, which is bounded ([`super::STORE_BYTES_MAX`]).
//! - **A failed sync ends the store.** It takes no more writes, since the kernel may have dropped what it could not write;
//!   only a restart shows what is there. A full disk does not end it: writes are refused until there is space.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use service_kit::metrics::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::disk::Disk;
use super::measured::Measured;
use super::medium::{Directory, Medium, split};
use super::state::{HistoryLimits, STORE_BYTES_MAX, Staging, State, validate};
use super::view::View;
use super::{
    BATCH_BYTES_MAX, Batch, Changes, CommitError, CommitResult, Entry, Listing, StateStore, StoreError, StoreRevision,
    Watch,
};

/// Most batches that wait for the committer, two that are committed together counted as one: some groups ahead, so that it
/// never idles. More of them wait outside.
const QUEUE_BATCHES_MAX: usize = 1024;
/// Most bytes of batches in the queue and in the group: some of the largest batches.
const QUEUE_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;
/// Most batches in a group, and one more where the last belongs with the one before it. At 256 a group costs a few
/// milliseconds, which is what the first of it waits.
const GROUP_BATCHES_MAX: usize = 256;

/// Bounds of an [`EmbeddedStore`], which tests make small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) history: HistoryLimits,
    pub(super) store_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { history: HistoryLimits::default(), store_bytes: STORE_BYTES_MAX }
    }
}

/// A [`StateStore`] in one file. Reads are from memory, commits are grouped, and acknowledged when they are durable.
///
/// Dropping it finishes what is queued and closes the file, which blocks for as long as that takes.
#[derive(Debug)]
pub struct EmbeddedStore {
    id: String,
    view: Arc<View>,
    measured: Arc<Measured>,
    queue_bytes: Arc<Semaphore>,
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Request>>,
    /// `None` where it is a task, which ends by itself.
    committer: Option<JoinHandle<()>>,
}

/// A batch in the queue.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<CommitResult>,
    /// What it takes of the queue, given back with the answer. `None`: it did not come through the queue.
    pub(super) queue_bytes: Option<OwnedSemaphorePermit>,
    /// The one behind it, that is to be in the same group.
    pub(super) behind: Option<Box<Request>>,
}

impl EmbeddedStore {
    /// Opens the store in this file, creating it and the directory if they do not exist. Beside the file there is a
    /// lock (`<file>.lock`), and while it is created `<file>.new`. Blocks; takes time in proportion to the state.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::UnknownFormat`], [`StoreError::Corrupt`] (nothing is changed on disk),
    /// [`StoreError::NoSpace`] and [`StoreError::Open`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (directory, name) = split(path)?;
        let directory = Directory::lock(directory, name)?;
        Self::open_in(Box::new(directory), name)
    }

    /// Opens the store `name` of a medium that nobody else uses.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_in(medium: Box<dyn Medium>, name: &str) -> Result<Self, StoreError> {
        Self::open_with(medium, name, Limits::default())
    }

    /// The same with a task as its committer instead of a thread: for a runtime of one thread, where everything then
    /// takes the same course every time. Each commit holds up that thread.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open_as_task(medium: Box<dyn Medium>, name: &str) -> Result<Self, StoreError> {
        let committer = Committer::open(medium, name, Limits::default())?;
        let (id, view, measured) = (committer.id.clone(), committer.view.clone(), committer.measured.clone());
        let (queue, requests) = mpsc::channel(QUEUE_BATCHES_MAX);
        // Ends with its queue, or with the runtime.
        tokio::spawn(committer.run_as_task(requests));
        let queue_bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Ok(Self { id, view, measured, queue_bytes, queue: Some(queue), committer: None })
    }

    pub(super) fn open_with(medium: Box<dyn Medium>, name: &str, limits: Limits) -> Result<Self, StoreError> {
        let committer = Committer::open(medium, name, limits)?;
        let (id, view, measured) = (committer.id.clone(), committer.view.clone(), committer.measured.clone());
        let (queue, requests) = mpsc::channel(QUEUE_BATCHES_MAX);
        let thread = std::thread::Builder::new().name("store-committer".to_owned());
        let committer = thread.spawn(move || committer.run(requests));
        let committer = committer
            .map_err(|source| StoreError::Open { action: "start the committer of", source: Arc::new(source) })?;
        let queue_bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Ok(Self { id, view, measured, queue_bytes, queue: Some(queue), committer: Some(committer) })
    }

    /// Tells what the store measures from now on.
    pub fn measure(&self, registry: &Registry) {
        let measured = self.measured.clone();
        registry.add(move |page| measured.write(page));
    }

    /// Room in the queue for a batch of so many bytes.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let bytes = u32::try_from(bytes).expect("two batches are bounded below 4 GiB");
        self.queue_bytes.clone().acquire_many_owned(bytes).await.map_err(|_| StoreError::Closed)
    }

    async fn enqueue(&self, request: Request) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(request).await.map_err(|_| StoreError::Closed)
    }

    async fn commit_one(&self, batch: Batch) -> CommitResult {
        let room = self.room(bytes(&batch)?).await?;
        let (request, answer) = Request::new(batch, room);
        self.enqueue(request).await?;
        answer.await
    }

    async fn commit_in_one_group(&self, first: Batch, second: Batch) -> (CommitResult, CommitResult) {
        let (of_first, of_second) = match (bytes(&first), bytes(&second)) {
            (Ok(first), Ok(second)) => (first, second),
            // One of them is refused before it is queued.
            _ => return (self.commit_one(first).await, self.commit_one(second).await),
        };
        let queued = async {
            // At once: who holds some and waits for more could wait for others who do.
            let mut room = self.room(of_first + of_second).await?;
            let of_second = room.split(of_second).ok_or(StoreError::Closed)?;
            let (mut first, first_answer) = Request::new(first, room);
            let (second, second_answer) = Request::new(second, of_second);
            first.behind = Some(Box::new(second));
            self.enqueue(first).await?;
            Ok::<_, StoreError>((first_answer, second_answer))
        };
        match queued.await {
            Ok((first, second)) => (first.await, second.await),
            Err(error) => (Err(error.clone().into()), Err(error.into())),
        }
    }
}

impl Request {
    /// A batch for the queue, and the answer to it.
    fn new(batch: Batch, room: OwnedSemaphorePermit) -> (Self, impl Future<Output = CommitResult> + Send) {
        let (answer, answered) = oneshot::channel();
        let request = Self { batch, answer, queue_bytes: Some(room), behind: None };
        (request, async { answered.await.unwrap_or(Err(CommitError::Store(StoreError::Closed))) })
    }
}

/// What a valid batch takes of the queue.
fn bytes(batch: &Batch) -> Result<usize, StoreError> {
    Ok(validate(batch)?.max(1))
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the committer of the state store panicked");
        }
    }
}

impl StateStore for EmbeddedStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        ready(Ok(self.view.read().get(key))).boxed()
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        ready(Ok(self.view.read().list(prefix))).boxed()
    }

    fn watch(&self, prefix: &str, after: StoreRevision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        ready(self.view.watch(prefix.to_owned(), after)).boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitResult> {
        self.commit_one(batch).boxed()
    }

    fn commit_both(&self, first: Batch, second: Batch) -> BoxFuture<'_, (CommitResult, CommitResult)> {
        self.commit_in_one_group(first, second).boxed()
    }
}

/// The only writer of the file.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) id: String,
    pub(super) view: Arc<View>,
    measured: Arc<Measured>,
    disk: Disk,
    /// Why no more is written.
    failure: Option<StoreError>,
    store_bytes: usize,
}

impl Committer {
    pub(super) fn open(medium: Box<dyn Medium>, name: &str, limits: Limits) -> Result<Self, StoreError> {
        let (disk, loaded) = Disk::open(medium, name)?;
        let view = Arc::new(View::new(State::new(loaded.summary.revision, loaded.entries, limits.history)));
        let measured = Arc::new(Measured::default());
        measured.now(&view.read());
        Ok(Self { id: loaded.id, view, measured, disk, failure: None, store_bytes: limits.store_bytes })
    }

    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(GROUP_BATCHES_MAX);
        while let Some(first) = requests.blocking_recv() {
            self.commit_with_those_behind(first, &mut requests, &mut group);
        }
    }

    async fn run_as_task(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(GROUP_BATCHES_MAX);
        while let Some(first) = requests.recv().await {
            self.commit_with_those_behind(first, &mut requests, &mut group);
        }
    }

    fn commit_with_those_behind(
        &mut self,
        first: Request,
        requests: &mut mpsc::Receiver<Request>,
        group: &mut Vec<Request>,
    ) {
        let mut next = Some(first);
        while let Some(mut request) = next {
            let behind = request.behind.take();
            group.push(request);
            let more = || (group.len() < GROUP_BATCHES_MAX).then(|| requests.try_recv().ok()).flatten();
            next = behind.map(|behind| *behind).or_else(more);
        }
        self.commit(group);
    }

    /// Stage, make durable, make visible, answer: in this order.
    pub(super) fn commit(&mut self, group: &mut Vec<Request>) {
        let state = self.view.read();
        let mut staging = Staging::new(&state, self.store_bytes);
        let mut outcomes = Vec::with_capacity(group.len());
        for request in group.drain(..) {
            let outcome = staging.stage(request.batch);
            if matches!(outcome, Err(CommitError::Conflict { .. })) {
                self.measured.conflicts.increment();
            }
            outcomes.push((outcome, request.answer, request.queue_bytes));
        }
        let commits = staging.into_commits();
        drop(state);
        let written = self.make_durable(commits);
        for (outcome, answer, _queue_bytes) in outcomes {
            let outcome = match &written {
                Ok(()) => outcome,
                // Also conflicts: they may be with what was just refused.
                Err(error) => Err(CommitError::Store(error.clone())),
            };
            let _ = answer.send(outcome); // Nobody waits any more; it is committed all the same.
        }
    }

    fn make_durable(&mut self, commits: Vec<Changes>) -> Result<(), StoreError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if commits.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let written = self.disk.write(&commits);
        self.measured.group(&commits, began.elapsed(), written.is_ok());
        match written {
            Ok(()) => {
                self.view.publish(commits);
                self.measured.now(&self.view.read());
                Ok(())
            }
            Err(error @ StoreError::NoSpace { .. }) => Err(error),
            Err(error) => {
                let failure = match error {
                    StoreError::Failed { .. } => error,
                    error => StoreError::Failed { source: Arc::new(error) },
                };
                tracing::error!(error = &failure as &dyn std::error::Error, "state store stopped");
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }
}
