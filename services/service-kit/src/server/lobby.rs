//! Connections on which nobody has been let in yet.
//!
//! A stranger who opens connections and says nothing, or says it slowly, must not keep out those who belong. So such
//! connections have a bound of their own, far below that of all, and the one that has waited longest makes room for the
//! next: whoever belongs is let in within a round trip.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Where connections wait until somebody on them is let in. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Lobby(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By the order they came in.
    places: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection. It is free again when the connection is let in, or ends.
#[derive(Debug)]
pub(super) struct Place {
    lobby: Lobby,
    number: u64,
    leave: CancellationToken,
}

impl Lobby {
    /// Takes a place. Where `places_max` are taken, whoever waited longest has to leave.
    pub(super) fn enter(&self, places_max: usize) -> Place {
        let mut waiting = self.waiting();
        while waiting.places.len() >= places_max.max(1) {
            let Some((_, longest)) = waiting.places.pop_first() else { break };
            longest.cancel();
        }
        let (number, leave) = (waiting.next, CancellationToken::new());
        waiting.next += 1;
        waiting.places.insert(number, leave.clone());
        Place { lobby: self.clone(), number, leave }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Somebody on this connection was let in.
    pub(super) fn admitted(&self) {
        self.lobby.waiting().places.remove(&self.number);
    }

    /// Completes when the connection has to make room.
    pub(super) async fn taken(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admitted();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waited_longest_makes_room_and_who_was_let_in_stays() {
        let lobby = Lobby::default();
        let [first, second, third] = [(); 3].map(|()| lobby.enter(3));
        first.admitted();
        let fourth = lobby.enter(3);
        assert!(![&first, &second, &third, &fourth].iter().any(|place| place.leave.is_cancelled()));
        let _fifth = lobby.enter(3);
        assert!(second.leave.is_cancelled() && !first.leave.is_cancelled() && !third.leave.is_cancelled());
        drop((first, second, third, fourth));
        assert_eq!(lobby.waiting().places.len(), 1, "who left has no place");
    }
}
