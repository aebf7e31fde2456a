//! How often one user may call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Users that are counted. With tokens only those come here whom the policy names, with certificates all that an authority
/// vouches for; beyond this many, everybody is counted anew.
const USERS_MAX: usize = 4096;

/// Seconds of calls that a user may make at once after a pause: a command that reads a whole installation.
const BURST_SECONDS: u32 = 4;

/// Counts calls by user. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates(Arc<Mutex<HashMap<String, Bucket>>>);

/// What a user has left.
#[derive(Debug)]
struct Bucket {
    calls: f64,
    at: Instant,
}

impl Rates {
    /// Whether `user` may call once more, at `per_second` calls; else when.
    pub(super) fn take(&self, user: &str, per_second: u32, now: Instant) -> Result<(), Duration> {
        let rate = f64::from(per_second.max(1));
        let full = rate * f64::from(BURST_SECONDS);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= USERS_MAX && !buckets.contains_key(user) {
            buckets.clear();
        }
        let bucket = buckets.entry(user.to_owned()).or_insert(Bucket { calls: full, at: now });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.calls = since.mul_add(rate, bucket.calls).min(full);
        bucket.at = now;
        if bucket.calls < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.calls) / rate));
        }
        bucket.calls -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_burst_and_then_a_rate_of_their_own() {
        let (rates, start) = (Rates::default(), Instant::now());
        for _ in 0..40 {
            assert_eq!(rates.take("ann", 10, start), Ok(()));
        }
        assert_eq!(rates.take("ann", 10, start), Err(Duration::from_millis(100)));
        assert_eq!(rates.take("bob", 10, start), Ok(()), "others are not held up");
        assert_eq!(rates.take("ann", 10, start + Duration::from_millis(100)), Ok(()));
        assert!(rates.take("ann", 10, start + Duration::from_millis(100)).is_err());
    }
}
