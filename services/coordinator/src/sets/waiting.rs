//! What a set waits for is told as an event once it has waited for it for a while (StatefulSet rules, section 14, switch
//! `tell_waits`).

use std::time::Duration;

use domain::{Timestamp, Wait};

use super::execute::COMPONENT;
use super::record::wait_words;
use super::scene::Scene;
use crate::events::{self, Event};
use crate::world::World;

/// How long a set waits for the same before that is told. A step takes milliseconds, and most programs start faster: what lasts
/// longer is for a person.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// Whether it is time to tell.
#[derive(Debug)]
pub(super) enum Telling {
    /// Nothing is to be told, or it has been.
    Done,
    /// Then, if the set waits for the same still.
    At(Timestamp),
    /// Now.
    Now(Event),
}

/// Whether a set that has waited for the same since then is to tell it.
pub(super) fn telling(world: &World, scene: &Scene, waits: &[Wait], since: Timestamp) -> Telling {
    let due = since.plus(TOLD_AFTER);
    if waits.is_empty() || !scene.snapshot.switches.tell_waits {
        return Telling::Done;
    }
    if scene.snapshot.now < due {
        return Telling::At(due);
    }
    let event = Event::normal("Waiting", format!("StatefulSet {} waits: {}", scene.set.key.name, wait_words(waits)));
    let about = (&scene.set.key, &*scene.set.uid().0);
    if events::is_said(world, about, COMPONENT, &event, since) { Telling::Done } else { Telling::Now(event) }
}
