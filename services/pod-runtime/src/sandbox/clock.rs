//! Time for the stages, which are programs of their own and have no clock handed to them.

use std::time::Duration;

use domain::Timestamp;

/// Wall-clock time.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// Time that never goes back; only differences mean anything.
#[expect(clippy::disallowed_methods, reason = "stages are separate programs; this is their only clock")]
pub(crate) fn monotonic() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
