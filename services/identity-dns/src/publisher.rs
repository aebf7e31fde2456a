//! Taking publications: fenced, durable, and seen by the next question.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use domain::Timestamp;
use domain::zone::{Publication, ZoneFacts};

use crate::journal::{Entry, Journal};
use crate::snapshot::Snapshot;
use crate::zone::Zone;

/// Objects that one zone holds. Far beyond what one coordinator keeps, and a bound on memory.
const OBJECTS_MAX: usize = 500_000;

/// What is served, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Served {
    /// Incarnation of the coordinator.
    pub epoch: u64,
    /// State generation.
    pub generation: u64,
    /// Serial of the zones.
    pub serial: u32,
}

/// Why a publication changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// A newer coordinator, or the same one with newer facts, was here.
    #[error(
        "(epoch {}, generation {}) is older than (epoch {}, generation {}), which is served", .refused.0, .refused.1,
        .served.0, .served.1
    )]
    Fenced {
        /// Epoch and generation that came.
        refused: (u64, u64),
        /// Epoch and generation that are served.
        served: (u64, u64),
    },
    /// The change starts from something else than what is served.
    #[error("the change starts from generation {base}, but (epoch {epoch}, generation {generation}) is served")]
    BaseMismatch {
        /// What it starts from.
        base: u64,
        /// Epoch that is served.
        epoch: u64,
        /// Generation that is served.
        generation: u64,
    },
    /// More than can be held.
    #[error("{count} objects are more than the {OBJECTS_MAX} that a zone may hold")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
}

/// The zones, and what readers see of them.
#[derive(Debug)]
pub(crate) struct Publisher {
    state: Mutex<State>,
    served: ArcSwap<Snapshot>,
}

#[derive(Debug)]
struct State {
    zone: Zone,
    served: Served,
    loaded: bool,
    journal: Option<Journal>,
    path: Option<PathBuf>,
}

impl Publisher {
    /// A publisher of `zone`, with the facts that were served before the last stop if `cache` has them.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub(crate) fn open(mut zone: Zone, cache: Option<PathBuf>, now: Timestamp) -> io::Result<Self> {
        let (journal, restored) = match &cache {
            Some(path) => Journal::open(path).map(|(journal, restored)| (Some(journal), restored))?,
            None => (None, None),
        };
        let loaded = restored.is_some();
        let restored = restored.unwrap_or_default();
        // Seconds since 1970, as a person might write it; or what came before, if that is ahead.
        let seconds = u32::try_from(now.0 / 1000).unwrap_or(0);
        let serial = if loaded && seconds.wrapping_sub(restored.serial) > 1 << 31 { restored.serial } else { seconds };
        zone.apply(ZoneFacts::default().change_to(&restored.facts));
        let served = Served { epoch: restored.epoch, generation: restored.generation, serial };
        let snapshot = ArcSwap::from_pointee(zone.snapshot(serial, loaded));
        let state = State { zone, served, loaded, journal, path: cache };
        Ok(Self { state: Mutex::new(state), served: snapshot })
    }

    /// What questions are answered from.
    #[must_use]
    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.served.load()
    }

    /// What is served, and whether anything is.
    #[must_use]
    pub(crate) fn served(&self) -> (Served, bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.served, state.loaded)
    }

    /// Makes a publication what is served. Every question that comes after this returns is answered from it. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing has changed then.
    pub(crate) fn publish(&self, publication: Publication) -> Result<Served, PublishError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, now) = ((publication.epoch, publication.generation), (state.served.epoch, state.served.generation));
        if asked < now {
            return Err(PublishError::Fenced { refused: asked, served: now });
        }
        if asked == now && state.loaded {
            return Ok(state.served);
        }
        let change = match publication.base_generation {
            None => {
                let mut target = ZoneFacts::default();
                target.apply(publication.change);
                state.zone.facts().change_to(&target)
            }
            Some(base) if state.loaded && (publication.epoch, base) == now => publication.change,
            Some(base) => {
                let Served { epoch, generation, .. } = state.served;
                return Err(PublishError::BaseMismatch { base, epoch, generation });
            }
        };
        let facts = state.zone.facts();
        let held = facts.pods.len() + facts.services.len() + facts.slices.len() + facts.namespaces.len();
        let added = change.pods.len() + change.services.len() + change.slices.len() + change.namespaces.len();
        if held + added > OBJECTS_MAX {
            return Err(PublishError::TooMany { count: held + added });
        }
        let changed = state.zone.apply(change.clone());
        // The first load is visible too: before it there were no answers.
        let serial = state.served.serial.wrapping_add(u32::from(changed || !state.loaded));
        state.served = Served { epoch: asked.0, generation: asked.1, serial };
        state.loaded = true;
        state.remember(Entry { epoch: asked.0, generation: asked.1, serial, change });
        self.served.store(Arc::new(state.zone.snapshot(serial, true)));
        Ok(state.served)
    }
}

impl State {
    /// Puts a change on disk. Where the disk refuses, names are served all the same: they matter more than answering
    /// after a restart. What is on disk is then removed, because it is no longer true.
    fn remember(&mut self, entry: Entry) {
        let Some(path) = &self.path else { return };
        let written = match &mut self.journal {
            Some(journal) => journal.append(&entry, self.zone.facts()),
            None => Journal::begin(path, &entry, self.zone.facts()).map(|journal| self.journal = Some(journal)),
        };
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "names cannot be kept on disk and will not survive a restart");
            if let Some(Err(error)) = self.journal.take().map(Journal::remove) {
                tracing::warn!(%error, path = %path.display(), "names on disk are out of date and cannot be removed");
            }
        }
    }
}
