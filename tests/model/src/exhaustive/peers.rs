//! Programs that need each other: a member that was complete once is ready only while all of them run.

use super::Config;
use super::world::{BAD, Health, NONE, World};

/// Who needs whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Peers {
    /// Every pod gets ready by itself.
    #[default]
    Independent,
    /// All need all.
    Needed,
    /// All need all, save the lowest, which gets ready by itself: so that an outage of the others is never a total one.
    NeededByHigher,
}

impl World {
    /// Whether the pod of an ordinal has the company without which it is not ready: every ordinal up to where the set was
    /// complete once has a pod that runs, and none runs that does not work.
    #[must_use]
    pub(super) fn has_peers(&self, place: usize, config: &Config) -> bool {
        match config.peers {
            Peers::Independent => return true,
            Peers::NeededByHigher if place == 0 => return true,
            Peers::Needed | Peers::NeededByHigher => {}
        }
        let members = if self.status.formed == NONE { 0 } else { self.status.formed + 1 };
        let works = |place: usize| {
            self.pods[place].is_some_and(|pod| {
                let runs = matches!(pod.health, Health::Ready | Health::Broken);
                runs && !pod.terminating && pod.image != BAD
            })
        };
        let in_the_way = self.pods().any(|(_, pod)| pod.image == BAD && pod.health == Health::Broken);
        (0..usize::from(members.min(self.replicas))).all(works) && !in_the_way
    }
}
