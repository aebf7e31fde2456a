//! Calls that are tried again: only those whose repetition changes nothing ([`methods`](crate::methods)), only where the
//! server cannot be reached or says `UNAVAILABLE`, a bounded number of times, and never beyond the deadline of the call.

use std::time::Duration;

use tonic::Code;

use crate::random;

/// How often and how soon a call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Most times a call is tried again.
    attempts: u32,
    /// First wait; doubles up to the longest. Each is cut by up to a half at random, so that callers which failed together
    /// do not come back together.
    first: Duration,
    longest: Duration,
}

impl Retry {
    /// For callers that have something better to do than to wait: as long as it takes to meet another replica.
    pub const QUICK: Self = Self { attempts: 3, first: Duration::from_millis(10), longest: Duration::from_millis(100) };
    /// For callers that want the answer: as long as a restart takes.
    pub const PATIENT: Self = Self { attempts: 12, first: Duration::from_millis(50), longest: Duration::from_secs(1) };

    /// How long to wait before try `attempt`, counted from 1; none where it is over.
    pub(crate) fn wait(self, code: Code, attempt: u32) -> Option<Duration> {
        if code != Code::Unavailable || attempt > self.attempts {
            return None;
        }
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(self.longest);
        let cut = u32::from(random::uuid().as_bytes()[0]);
        Some(doubled - doubled / 2 * cut / u32::from(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_bounds_and_end() {
        for retry in [Retry::QUICK, Retry::PATIENT] {
            for attempt in 1..=retry.attempts {
                let wait = retry.wait(Code::Unavailable, attempt).expect("again");
                let doubled = (retry.first * 2_u32.pow(attempt - 1)).min(retry.longest);
                assert!(wait <= doubled && wait >= doubled / 2, "{wait:?} of {doubled:?}");
            }
            assert_eq!(retry.wait(Code::Unavailable, retry.attempts + 1), None);
        }
    }

    #[test]
    fn an_answer_is_an_answer() {
        for code in (0..17).map(Code::from_i32).filter(|code| *code != Code::Unavailable) {
            assert_eq!(Retry::PATIENT.wait(code, 1), None, "{code:?}");
        }
    }
}
