//! A pod besides the members of the set: of a former set of this name, of a name that no set gives, adrift, or let go.
//!
//! Whose a pod is, the product's own rule says ([`domain::kinship`]). One stranger at a time: what is known of it is only
//! whose it is, until it is adopted.

use std::fmt;

use domain::{Candidate, Kinship, Ordinal, kinship, pod_name};

use super::Config;
use super::commit::{InFlight, State};
use super::decision::Write;
use super::desk::{SET, set_ref};
use super::world::{Health, ORDINALS_MAX, Pod, World};
use crate::Mutant;
use crate::checks::{self, Violation, hold};

/// The place of the stranger among the pods that a plan rests on.
const PLACE: usize = ORDINALS_MAX;

/// A name that no set gives: not the canonical form of ordinal 1.
const ODD_NAME: &str = "web-01";

/// Who controls the stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Controller {
    /// The set.
    Ours,
    /// A set of this name that is gone.
    Former,
    /// Nobody.
    Nobody,
}

/// A pod that is no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stranger {
    /// The ordinal that has its name; none if no set gives that.
    pub place: Option<u8>,
    /// Who controls it.
    pub controller: Controller,
    /// Whether the selector selects it.
    pub selected: bool,
    /// Whether its deletion has been requested.
    pub terminating: bool,
}

impl Stranger {
    /// Of this name, controller and labels.
    #[must_use]
    pub fn new(place: Option<u8>, controller: Controller, selected: bool) -> Self {
        Self { place, controller, selected, terminating: false }
    }

    /// Every one that can turn up in a world.
    pub fn all(world: &World, config: &Config) -> impl Iterator<Item = Self> {
        let free = (0..config.ordinals).filter(|place| world.pods[usize::from(*place)].is_none());
        let free: Vec<Option<u8>> = free.map(Some).collect();
        let named = |controller| free.clone().into_iter().map(move |place| Self::new(place, controller, true));
        let odd = [Controller::Ours, Controller::Nobody].map(|controller| Self::new(None, controller, true));
        named(Controller::Former).chain(named(Controller::Nobody)).chain(odd)
    }

    fn name(self) -> String {
        self.place.map_or_else(|| ODD_NAME.to_owned(), |place| pod_name(SET, Ordinal(place.into())))
    }

    /// What it is to the set, by the product's rule.
    #[must_use]
    pub fn kinship(self, mutant: Option<Mutant>) -> Kinship {
        let (set, name) = (set_ref(), self.name());
        let controller = match self.controller {
            Controller::Ours => Some(set.uid.0.as_str()),
            Controller::Former => Some("former"),
            Controller::Nobody => None,
        };
        let Self { selected, terminating, .. } = self;
        let mut candidate = Candidate { name: &name, controller, selected, terminating };
        if let Some(mutant) = mutant {
            mutant.distort_candidate(&set, &mut candidate);
        }
        kinship(&set, candidate)
    }
}

impl World {
    /// The ordinal whose name is taken by a stranger.
    #[must_use]
    pub fn taken(&self) -> Option<u8> {
        self.stranger?.place
    }

    /// Whether a stranger has the name of this ordinal's pod.
    #[must_use]
    pub fn is_taken(&self, place: usize) -> bool {
        self.taken().is_some_and(|taken| usize::from(taken) == place)
    }

    /// What a pass does before it asks anybody: it adopts the orphan, or lets go of the stray.
    #[must_use]
    pub fn taking_over(&self, mutant: Option<Mutant>) -> Option<Write> {
        match self.stranger?.kinship(mutant) {
            Kinship::Orphan(ordinal) => Some(Write::Adopt(ordinal.0 as u8)),
            Kinship::Stray => Some(Write::Release),
            Kinship::Member(_) | Kinship::Stranger => None,
        }
    }

    /// S2, whenever somebody looks: members are all those that are the set's, and no others. What is not shown to planners
    /// is not counted, and no plan can name it.
    ///
    /// # Errors
    /// Somebody is taken for what it is not.
    pub fn only_its_own_are_members(&self, mutant: Option<Mutant>) -> Result<(), Violation> {
        let member = |place: usize| Stranger::new(Some(place as u8), Controller::Ours, true);
        let members = self.pods().map(|(place, pod)| Stranger { terminating: pod.terminating, ..member(place) });
        members.chain(self.stranger).try_for_each(|pod| {
            let taken_for = match pod.kinship(mutant) {
                Kinship::Member(ordinal) => Some(ordinal),
                Kinship::Stray | Kinship::Orphan(_) | Kinship::Stranger => None,
            };
            let ours = pod.controller == Controller::Ours && pod.selected;
            checks::s2_members_are_ours(SET, &pod.name(), ours, taken_for)
        })
    }
}

impl State {
    /// The stranger becomes the member of this ordinal: one that has been ready for long, and was made of the first template.
    ///
    /// # Errors
    /// S2: it is not the set's to take.
    pub(super) fn adopt(&mut self, place: usize, config: &Config) -> Result<(), Violation> {
        let free = |stranger: &Stranger| {
            let Stranger { controller, selected, terminating, .. } = *stranger;
            controller == Controller::Nobody && selected && !terminating
        };
        let orphan = self.world.stranger.filter(free).filter(|_| self.world.is_taken(place));
        let adopted = orphan.is_some() && self.world.pods[place].is_none();
        hold("S2", adopted, || format!("{:?} is taken over as pod {place}", self.world.stranger))?;
        self.world.stranger = None;
        let aged = self.world.has_had_its_time(Health::Ready, config);
        self.world.pods[place] = Some(Pod { health: Health::Ready, aged, terminating: false, image: 0 });
        self.stranger_touched();
        self.touched(place, true);
        // The set has one more member, which no plan under way knows of.
        self.set_touched();
        Ok(())
    }

    /// The set lets go of the stranger.
    pub(super) fn release(&mut self) {
        self.change_stranger(|stranger| stranger.controller = Controller::Nobody);
    }

    /// Somebody deletes the stranger; whoever runs it removes it in its time.
    pub(super) fn delete_stranger(&mut self) {
        self.change_stranger(|stranger| stranger.terminating = true);
    }

    /// The stranger is gone.
    pub(super) fn remove_stranger(&mut self) {
        self.world.stranger = None;
        self.stranger_touched();
    }

    /// Somebody takes the labels off a member, so that it is one no more.
    pub(super) fn relabel(&mut self, place: usize) {
        let Some(pod) = self.world.pods[place].take() else { return };
        let stranger = Stranger::new(Some(place as u8), Controller::Ours, false);
        self.world.stranger = Some(Stranger { terminating: pod.terminating, ..stranger });
        self.touched(place, true);
    }

    fn change_stranger(&mut self, change: impl FnOnce(&mut Stranger)) {
        if let Some(stranger) = &mut self.world.stranger {
            change(stranger);
        }
        self.stranger_touched();
    }

    fn stranger_touched(&mut self) {
        self.touched(PLACE, false);
    }
}

impl InFlight {
    /// Whether the stranger that was seen has changed since.
    pub(super) fn finds_another_stranger(self) -> bool {
        self.changed & (1 << PLACE) != 0
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { controller, selected, terminating, .. } = *self;
        write!(f, "{} of {controller:?}", self.name())?;
        f.write_str(if selected { "" } else { ",unlabelled" })?;
        f.write_str(if terminating { ",terminating" } else { "" })
    }
}
