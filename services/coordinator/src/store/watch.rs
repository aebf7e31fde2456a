//! A watch: the changes of a store as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use super::{Changes, StoreError};

/// The commits under a prefix, in order, each one whole, without a gap.
///
/// A watcher that falls behind the kept history gets [`StoreError::Compacted`] as its last item. The stream ends when
/// the store is closed.
pub struct Watch {
    stream: BoxStream<'static, Result<Changes, StoreError>>,
}

impl Watch {
    /// Wraps the stream of an implementation.
    pub fn new(stream: impl Stream<Item = Result<Changes, StoreError>> + Send + 'static) -> Self {
        Self { stream: stream.boxed() }
    }

    /// Waits for the next commit that changed something under the prefix. `None`: the watch is over.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        self.stream.next().await
    }
}

impl Stream for Watch {
    type Item = Result<Changes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watch").finish_non_exhaustive()
    }
}
