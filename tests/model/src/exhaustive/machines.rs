//! Machines that fall silent. Each pod has one of its own; what is stored of the pod stays as it was last reported, and what it
//! really does nobody sees. One that dies is fenced by somebody who knows; by the real rule its pod is released then.

use domain::fencing::{Contact, Release, Stranded, release};

use super::commit::State;
use super::world::Health;
use crate::Mutant;

/// What has become of the machines of pods, as bits by ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Machines {
    /// It says nothing, and its pod runs.
    pub silent: u8,
    /// It says nothing, and nothing runs there.
    pub dead: u8,
    /// Its pod was released, and runs.
    pub ghosts: u8,
}

impl Machines {
    /// Whether nobody hears of the pod of an ordinal.
    #[must_use]
    pub fn is_away(self, place: usize) -> bool {
        (self.silent | self.dead) & (1 << place) != 0
    }

    /// Whether a pod of this ordinal runs that is not stored.
    #[must_use]
    pub fn has_ghost(self, place: usize) -> bool {
        self.ghosts & (1 << place) != 0
    }
}

impl State {
    /// A machine falls silent.
    pub(super) fn silence(&mut self, place: usize) {
        self.world.machines.silent |= 1 << place;
    }

    /// A silent machine dies.
    pub(super) fn die(&mut self, place: usize) {
        self.world.machines.silent &= !(1 << place);
        self.world.machines.dead |= 1 << place;
    }

    /// A silent machine is heard again.
    pub(super) fn come_back(&mut self, place: usize) {
        self.world.machines.silent &= !(1 << place);
    }

    /// A machine ends what it has left of a released pod.
    pub(super) fn end_ghost(&mut self, place: usize) {
        self.world.machines.ghosts &= !(1 << place);
    }

    /// What is said of a machine: that it is dead, by whoever knows.
    pub(super) fn contact(&self, place: usize, mutant: Option<Mutant>) -> Contact {
        let Machines { silent, dead, .. } = self.world.machines;
        let bit = 1 << place;
        if dead & bit != 0 || (silent & bit != 0 && mutant == Some(Mutant::SilenceIsDeath)) {
            Contact::Fenced
        } else if silent & bit != 0 {
            Contact::Silent
        } else {
            Contact::Answers
        }
    }

    /// The pod of an ordinal is released as far as the rule allows; whether it was.
    pub(super) fn release_pod(&mut self, place: usize, mutant: Option<Mutant>) -> bool {
        let Some(pod) = self.world.pods[place] else { return false };
        let stranded = Stranded { deleting: pod.terminating, held: false, ended: pod.health == Health::Failed };
        let runs = self.world.machines.silent & (1 << place) != 0;
        match release(self.contact(place, mutant), stranded) {
            Release::Keep => return false,
            Release::Remove => self.remove(place),
            Release::End => {
                self.world.pods[place] = Some(super::world::Pod { health: Health::Failed, aged: true, ..pod });
                self.touched(place, false);
            }
        }
        let Machines { silent, dead, ghosts } = self.world.machines;
        let bit = 1 << place;
        self.world.machines =
            Machines { silent: silent & !bit, dead: dead & !bit, ghosts: ghosts | (u8::from(runs) << place) };
        true
    }
}
