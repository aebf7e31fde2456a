//! What people do for a set that heals: as little as the rules promise is enough.

use super::Config;
use super::world::{BAD, Health, Strategy, World};

/// The last, sensible wishes of people, before anything else: a template that works. Where a partition keeps pods at a
/// revision that does not, they lift it. Where pods out of range that are not healthy hold up the scale-down, as in
/// Kubernetes, they remove those.
pub(super) fn wish(world: &mut World, config: &Config) {
    let before = *world;
    if world.image == BAD {
        world.image = 0;
    }
    if world.partition() > 0 && world.current(config) == BAD {
        world.strategy = Strategy::ROLLING;
    }
    if !config.switches.remove_broken_condemned {
        for ordinal in usize::from(world.replicas)..world.pods.len() {
            world.pods[ordinal] = world.pods[ordinal].filter(|pod| pod.health == Health::Ready);
        }
    }
    world.observed &= (world.image, world.strategy) == (before.image, before.strategy);
}

/// What people do once a set rests that waits for them; none if it waits for nobody. Under OnDelete they delete every
/// outdated pod (StatefulSet rules, section 8.6). Whoever has a name that is not its own goes some day.
pub(super) fn help(world: &World) -> Option<World> {
    let mut helped = *world;
    helped.stranger = None;
    for place in (0..world.pods.len()).filter(|place| waits_for_deletion(world, *place)) {
        helped.pods[place].as_mut()?.terminating = true;
    }
    (helped != *world).then_some(helped)
}

/// Whether the pod of an ordinal is outdated and stays until somebody deletes it.
pub(super) fn waits_for_deletion(world: &World, place: usize) -> bool {
    let outdated = world.pods[place].is_some_and(|pod| pod.image != world.image);
    world.strategy == Strategy::OnDelete && place < usize::from(world.replicas) && outdated
}
