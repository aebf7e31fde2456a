//! How often a set in motion writes down how far it has come.
//!
//! Every pod that comes up changes the counts and the reasons to wait. A pass that does something commits them together
//! with what it does, and so does the one that finds nothing left to wait for; those in between say something new only to
//! a person who looks on, and are written no faster than a person reads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Uid;

/// Time between two writes of progress of one set, on the average.
const INTERVAL: Duration = Duration::from_millis(20);

/// Writes that may come at once after a rest: a small set shows each of its steps.
const BURST: u32 = 8;

/// When each set may write its progress again. A set that never waits takes no room.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The moment up to which a set's writes are paid for.
    paid_until: Mutex<HashMap<Uid, Duration>>,
}

impl Pace {
    /// Takes one write of progress at the monotonic time `now`; or says how long it has to wait.
    pub(super) fn take(&self, set: &Uid, now: Duration) -> Result<(), Duration> {
        let mut all = self.all();
        let paid_until = all.get(set).map_or(now, |until| (*until).max(now)) + INTERVAL;
        match early(paid_until, now) {
            Some(early) => Err(early),
            None => {
                all.insert(set.clone(), paid_until);
                Ok(())
            }
        }
    }

    /// How long a write of progress waits that nobody is in a hurry for: by then it may have become part of a step.
    pub(super) fn wait(&self, set: &Uid, now: Duration) -> Duration {
        let early = self.all().get(set).and_then(|paid_until| early(*paid_until + INTERVAL, now));
        early.unwrap_or_default().max(INTERVAL)
    }

    /// The set is gone.
    pub(super) fn forget(&self, set: &Uid) {
        self.all().remove(set);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uid, Duration>> {
        self.paid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much too early at `now` a write is that would be paid for up to `paid_until`.
fn early(paid_until: Duration, now: Duration) -> Option<Duration> {
    Some(paid_until.saturating_sub(now + INTERVAL * BURST)).filter(|early| !early.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_is_paced() {
        let (pace, set, start) = (Pace::default(), Uid("u".into()), Duration::from_secs(1));
        for _ in 0..BURST {
            assert_eq!(pace.take(&set, start), Ok(()));
        }
        assert_eq!(pace.take(&set, start), Err(INTERVAL));
        assert_eq!(pace.wait(&set, start), INTERVAL);
        assert_eq!(pace.wait(&set, start + INTERVAL), INTERVAL);
        assert_eq!(pace.take(&Uid("other".into()), start), Ok(()));
        assert_eq!(pace.take(&set, start + INTERVAL), Ok(()));
        assert!(pace.take(&set, start + INTERVAL).is_err());
        // Rest gives back no more than the burst.
        for _ in 0..BURST {
            assert_eq!(pace.take(&set, start * 100), Ok(()));
        }
        assert!(pace.take(&set, start * 100).is_err());
        pace.forget(&set);
        assert_eq!(pace.take(&set, start * 100), Ok(()));
    }
}
