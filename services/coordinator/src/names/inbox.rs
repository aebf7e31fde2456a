//! What a replica is still to be told. Gathered while it is busy or away, so that one message tells it all.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tracing::Span;

use super::progress::Level;
use crate::world::Key;

/// Objects that are looked at one by one. A replica that was away while more than this changed is told everything, which
/// costs about the same, and bounds what is kept for one that never comes back.
const LOOKED_AT_MAX: usize = 10_000;

/// What is to be told, and up to where that brings a replica.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) level: Level,
    /// Objects that may have changed.
    pub(super) looked_at: BTreeSet<Key>,
    /// Whether any object may have.
    pub(super) everything: bool,
    /// Whose work telling it is, for traces.
    pub(super) cause: Option<Span>,
}

impl Due {
    /// Looks at more.
    pub(super) fn look_at(&mut self, keys: impl IntoIterator<Item = Key>) {
        if self.everything {
            return;
        }
        self.looked_at.extend(keys);
        if self.looked_at.len() > LOOKED_AT_MAX {
            self.look_at_everything();
        }
    }

    /// Looks at all there is.
    pub(super) fn look_at_everything(&mut self) {
        self.everything = true;
        self.looked_at.clear();
    }
}

/// What is due to one replica.
#[derive(Debug)]
pub(super) struct Inbox {
    due: Mutex<Due>,
    news: Notify,
}

impl Inbox {
    /// That of a replica that was told nothing yet: everything is due.
    pub(super) fn new(level: Level) -> Self {
        let news = Notify::new();
        news.notify_one();
        Self { due: Mutex::new(Due { level, everything: true, ..Due::default() }), news }
    }

    /// Makes more due.
    pub(super) fn add(&self, add: impl FnOnce(&mut Due)) {
        add(&mut self.due());
        self.news.notify_one();
    }

    /// Takes what is due.
    pub(super) fn take(&self) -> Due {
        let mut due = self.due();
        let level = due.level;
        std::mem::replace(&mut *due, Due { level, ..Due::default() })
    }

    /// Gives back what could not be told. Whoever asked for it may have left since.
    pub(super) fn give_back(&self, untold: Due) {
        let mut due = self.due();
        if untold.everything {
            due.look_at_everything();
        }
        due.look_at(untold.looked_at);
    }

    /// Returns when something was made due since it last did. Spurious returns are possible.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().expect("no holder of this lock panics")
    }
}
