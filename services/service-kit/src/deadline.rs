//! Deadlines: how they travel, and what is left of them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// The header in which gRPC carries what is left of a deadline.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What tonic says, with the code CANCELLED, where it ran out of time.
pub(crate) const TONIC_TIMEOUT_MESSAGE: &str = "Timeout expired";

tokio::task_local! {
    /// When the incoming call that this task answers runs out of time.
    static INCOMING: Instant;
}

/// Runs `work` as part of an incoming call: calls it makes get at most what is left of that one's deadline.
pub(crate) async fn within<F: Future>(deadline: Instant, work: F) -> F::Output {
    INCOMING.scope(deadline, work).await
}

/// What is left of the incoming call, where this task answers one that has a deadline.
pub(crate) fn left() -> Option<Duration> {
    INCOMING.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// What the caller granted. A header that is no timeout counts as none, as gRPC servers do.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// The header's value for `timeout`, in at most eight digits.
pub(crate) fn to_header(timeout: Duration) -> HeaderValue {
    const DIGITS_MAX: u128 = 99_999_999;
    let text = if timeout.as_micros() <= DIGITS_MAX {
        format!("{}u", timeout.as_micros())
    } else if timeout.as_millis() <= DIGITS_MAX {
        format!("{}m", timeout.as_millis())
    } else {
        format!("{}S", u128::from(timeout.as_secs()).min(DIGITS_MAX))
    };
    let mut value = HeaderValue::try_from(text).expect("digits and a letter");
    // Each call has its own: what a connection remembers is kept for headers that come again.
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(text).expect("a header"));
        from_headers(&headers)
    }

    #[test]
    fn a_deadline_survives_the_header() {
        for millis in [0, 1, 250, 10_000, 99_999, 100_000, 86_400_000] {
            let timeout = Duration::from_millis(millis);
            assert_eq!(read(to_header(timeout).to_str().expect("text")), Some(timeout));
        }
    }

    #[test]
    fn what_is_no_timeout_counts_as_none() {
        for text in ["", "S", "10", "10x", "-1S", "123456789S", "1.5S"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
    }

    #[tokio::test]
    async fn outgoing_calls_see_what_is_left() {
        assert_eq!(left(), None);
        let granted = Duration::from_secs(3600);
        within(Instant::now() + granted, async {
            let left = left().expect("a deadline");
            assert!(left <= granted && left > granted / 2, "{left:?}");
        })
        .await;
        within(Instant::now(), async { assert_eq!(left(), Some(Duration::ZERO)) }).await;
    }
}
