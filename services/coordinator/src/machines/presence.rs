//! Which machines are there: those whose runtime watches what it is to run.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use service_kit::Context;
use tokio::sync::Notify;

/// Who watches, and since when nobody does.
#[derive(Debug)]
pub(crate) struct Presence {
    context: Context,
    /// Monotonic time from which on a machine could have come.
    started_at: Duration,
    /// By machine; only registered ones watch.
    watches: Mutex<HashMap<String, Watches>>,
    /// Machines that came or went since somebody asked.
    news: Mutex<BTreeSet<String>>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Watches {
    open: usize,
    /// Monotonic time at which the last one ended, or it said something else.
    ended_at: Duration,
}

/// A machine watches as long as this is held.
#[derive(Debug)]
pub(crate) struct Watching {
    presence: Arc<Presence>,
    machine: String,
}

impl Presence {
    pub(crate) fn new(context: Context) -> Self {
        let started_at = context.clock.monotonic();
        Self { context, started_at, watches: Mutex::default(), news: Mutex::default(), told: Notify::new() }
    }

    /// The runtime of a machine watches from now on.
    pub(crate) fn enter(self: &Arc<Self>, machine: &str) -> Watching {
        lock(&self.watches).entry(machine.to_owned()).or_default().open += 1;
        self.tell(machine);
        Watching { presence: self.clone(), machine: machine.to_owned() }
    }

    /// A machine has said something.
    pub(crate) fn heard(&self, machine: &str) {
        let now = self.context.clock.monotonic();
        lock(&self.watches).entry(machine.to_owned()).or_default().ended_at = now;
    }

    /// For how long nobody has heard of a machine; none while it watches.
    pub(crate) fn silence(&self, machine: &str) -> Option<Duration> {
        let watches = lock(&self.watches);
        let since = match watches.get(machine) {
            Some(Watches { open: 1.., .. }) => return None,
            Some(Watches { ended_at, .. }) => *ended_at,
            None => self.started_at,
        };
        Some(self.context.clock.monotonic().saturating_sub(since))
    }

    /// Returns when machines have come or gone, with those. It may be dropped before that, and loses none.
    pub(super) async fn news(&self) -> Vec<String> {
        loop {
            let told = self.told.notified();
            let news = std::mem::take(&mut *lock(&self.news));
            if !news.is_empty() {
                return news.into_iter().collect();
            }
            told.await;
        }
    }

    fn tell(&self, machine: &str) {
        lock(&self.news).insert(machine.to_owned());
        self.told.notify_one();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let ended_at = self.presence.context.clock.monotonic();
        if let Some(watches) = lock(&self.presence.watches).get_mut(&self.machine) {
            *watches = Watches { open: watches.open.saturating_sub(1), ended_at };
        }
        self.presence.tell(&self.machine);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_is_there_while_any_of_its_watches_is_open() {
        let presence = Arc::new(Presence::new(Context::default()));
        assert!(presence.silence("here").is_some(), "it has not come yet");
        let (first, second) = (presence.enter("here"), presence.enter("here"));
        assert_eq!(presence.news().await, ["here"]);
        drop(first);
        assert_eq!((presence.silence("here"), presence.news().await), (None, vec!["here".to_owned()]));
        drop(second);
        assert!(presence.silence("here").is_some_and(|silence| silence < Duration::from_secs(60)));
        assert!(presence.silence("there").is_some());
        presence.heard("there");
        assert!(presence.silence("there").is_some_and(|silence| silence < Duration::from_secs(60)));
    }
}
