//! Work that blocks, as a seam.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};

/// The work ended without a result, by a panic or because the runtime ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was interrupted")]
pub struct Interrupted;

/// Does work that blocks, such as writing a file, where it holds up nobody.
///
/// A runtime with one thread has no other to give it to that would not make the order of things a matter of luck, so
/// there the work is done at once: simulations take the same course every time.
///
/// # Errors
/// The work panicked, or the runtime ends.
///
/// # Cancel safety
/// Work that has begun goes on to its end when this future is dropped.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn blocking<T, F>(work: F) -> Result<T, Interrupted>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return catch_unwind(AssertUnwindSafe(work)).map_err(|_| Interrupted);
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_thread_does_it_itself() {
        let here = std::thread::current().id();
        assert_eq!(blocking(move || std::thread::current().id() == here).await, Ok(true));
        assert_eq!(blocking(|| -> u8 { panic!("a defect") }).await, Err(Interrupted));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn several_threads_are_not_held_up() {
        let here = std::thread::current().id();
        assert_eq!(blocking(move || std::thread::current().id() == here).await, Ok(false));
        assert_eq!(blocking(|| -> u8 { panic!("a defect") }).await, Err(Interrupted));
    }
}
