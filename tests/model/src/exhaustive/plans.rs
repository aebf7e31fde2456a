//! Decisions that have been made, each once.

use std::sync::{Arc, RwLock};

use super::Config;
use super::decision::Write;
use super::desk::Desk;
use super::hash::HashMap;
use super::world::World;

/// Decisions that have been made, each once.
#[derive(Debug)]
pub struct Plans {
    config: Config,
    desk: Desk,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_world: HashMap<World, u32>,
    by_writes: HashMap<Arc<[Write]>, u32>,
    writes: Vec<Arc<[Write]>>,
}

impl Plans {
    /// None yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), desk: Desk::new(config), known: RwLock::default() }
    }

    /// The desk at which they are made.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// What kind of set they are about.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The decision of a world.
    pub fn of(&self, world: &World) -> u32 {
        if let Some(plan) = self.known.read().expect("nobody panics with it").by_world.get(world) {
            return *plan;
        }
        let writes: Arc<[Write]> = self.desk.writes(world).into();
        let mut known = self.known.write().expect("nobody panics with it");
        let next = known.writes.len() as u32;
        let plan = *known.by_writes.entry(Arc::clone(&writes)).or_insert(next);
        if plan == next {
            known.writes.push(writes);
        }
        known.by_world.insert(*world, plan);
        plan
    }

    /// The writes of a decision.
    pub fn writes(&self, plan: u32) -> Arc<[Write]> {
        Arc::clone(&self.known.read().expect("nobody panics with it").writes[plan as usize])
    }

    /// How many worlds were decided about.
    pub fn decided(&self) -> usize {
        self.known.read().expect("nobody panics with it").by_world.len()
    }
}
