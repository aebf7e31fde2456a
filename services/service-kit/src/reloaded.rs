//! What files say, without a restart when they change.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::status::chain;

/// How often the files are looked at: a few small files in the page cache, that change once a day.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// All of a file that is no longer than `most` bytes: one that was cut off could mean something else than it says.
///
/// # Errors
/// It cannot be read, or is longer.
pub(crate) fn read_whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {most} bytes")));
    }
    Ok(content)
}

/// Files with a meaning.
pub(crate) trait Source: Send + Sync + 'static {
    /// What is in them. Compared byte for byte, so that neither clocks nor links matter.
    type Content: PartialEq + Clone + Send + 'static;
    /// What it means.
    type Meaning: Send + Sync + 'static;
    /// Why it means nothing.
    type Error: std::error::Error + 'static;
    /// What the files are to people, such as `certificate`.
    const WHAT: &'static str;

    fn read(&self) -> Result<Self::Content, Self::Error>;
    fn understand(&self, content: &Self::Content) -> Result<Self::Meaning, Self::Error>;
}

/// The meaning of files, looked at whenever it is asked for, at most once in [`LOOK_INTERVAL`]. Files that mean nothing
/// are said once, and what they meant before holds on.
pub(crate) struct Reloaded<S: Source> {
    source: S,
    current: ArcSwap<S::Meaning>,
    seen: Mutex<Seen<S::Content>>,
}

/// What the last look found.
struct Seen<C> {
    at: Instant,
    /// Good or bad; none where it could not be read.
    content: Option<C>,
}

impl<S: Source> Reloaded<S> {
    pub(crate) fn load(source: S) -> Result<Self, S::Error> {
        let content = source.read()?;
        let current = ArcSwap::from_pointee(source.understand(&content)?);
        let seen = Mutex::new(Seen { at: Instant::now(), content: Some(content) });
        Ok(Self { source, current, seen })
    }

    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// What was understood last, without a look.
    pub(crate) fn last(&self) -> Arc<S::Meaning> {
        self.current.load_full()
    }

    /// What the files mean now. One caller looks; who comes meanwhile takes what there is.
    pub(crate) fn now(&self) -> Arc<S::Meaning> {
        if let Ok(mut seen) = self.seen.try_lock()
            && seen.at.elapsed() >= LOOK_INTERVAL
        {
            self.look(&mut seen);
        }
        self.current.load_full()
    }

    /// Looks with the next question, however short the last look is ago.
    pub(crate) fn forget_last_look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = seen.at.checked_sub(LOOK_INTERVAL) {
            seen.at = earlier;
        }
    }

    fn look(&self, seen: &mut Seen<S::Content>) {
        seen.at = Instant::now();
        let read = self.source.read();
        let content = read.as_ref().ok().cloned();
        if content == seen.content {
            return;
        }
        seen.content = content;
        match read.and_then(|content| self.source.understand(&content)) {
            Ok(meaning) => {
                tracing::info!(file = S::WHAT, "a file was renewed");
                self.current.store(Arc::new(meaning));
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(file = S::WHAT, error, "a new file cannot be used; the one before it holds on");
            }
        }
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Reloaded<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Reloaded").field(&self.source).finish()
    }
}
