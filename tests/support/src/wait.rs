//! Waiting for a level, never for time.

use std::time::Duration;

/// Longest wait of a test. Generous, because machines under test are slow and shared; a level that is reached ends it.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// How often a level is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `level` gives something, and returns it.
///
/// # Panics
/// When it does not within [`WAIT_MAX`]: the test has failed. `what` and the last reason say why.
pub async fn until<T, F>(what: &str, mut level: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let mut last = String::new();
    let looking = async {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            match level().await {
                Ok(reached) => return reached,
                Err(not_yet) => last = not_yet,
            }
        }
    };
    match tokio::time::timeout(WAIT_MAX, looking).await {
        Ok(reached) => reached,
        Err(_) => panic!("{what}: not within {WAIT_MAX:?}; last: {last}"),
    }
}
