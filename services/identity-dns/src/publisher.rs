//! Taking publications: fenced, durable, and seen by the next question.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use domain::Timestamp;
use domain::zone::{Publication, ZoneChange, ZoneFacts};
use service_kit::effects::authority::{Authority, Standing, remedy};
use tokio::sync::watch;

use crate::journal::{Done, Entry, Journal, UNFORCED_MAX};
use crate::snapshot::Snapshot;
use crate::zone::Zone;

/// Objects that one zone holds. Far beyond what one coordinator keeps, and a bound on memory.
const OBJECTS_MAX: usize = 500_000;

/// Publications whose answer is remembered. A coordinator repeats one within seconds, and makes far fewer in them.
pub(crate) const OPERATIONS_MAX: usize = 1024;

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
        "(epoch {}, generation {}) is older than (epoch {}, generation {}), which is served{remedy}", .refused.0,
        .refused.1, .served.0, .served.1
    )]
    Fenced {
        /// Epoch and generation that came.
        refused: (u64, u64),
        /// Epoch and generation that are served.
        served: (u64, u64),
        /// What to do where the older one is right.
        remedy: String,
    },
    /// A coordinator with another store took over from this one.
    #[error("store {refused} was replaced by store {current}, whose names are served now{remedy}")]
    Replaced {
        /// Store that came.
        refused: String,
        /// Store whose facts are served.
        current: String,
        /// What to do where the one before is right.
        remedy: String,
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
    /// Whether there are facts to answer from.
    loaded: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    zone: Zone,
    served: Served,
    authority: Authority,
    /// Operations of the store that is followed, oldest first.
    operations: VecDeque<Done>,
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
        // What was served last need not have reached the disk.
        let beyond = restored.serial.wrapping_add(UNFORCED_MAX);
        let serial = if loaded && seconds.wrapping_sub(beyond) > 1 << 31 { beyond } else { seconds };
        zone.apply(ZoneFacts::default().change_to(&restored.facts));
        let served = Served { epoch: restored.epoch, generation: restored.generation, serial };
        let snapshot = ArcSwap::from_pointee(zone.snapshot(serial, loaded));
        let authority = Authority::new(restored.store, restored.replaced);
        let mut state =
            State { zone, served, authority, operations: restored.operations.into(), loaded, journal, path: cache };
        state.forget_operations();
        Ok(Self { state: Mutex::new(state), served: snapshot, loaded: watch::Sender::new(loaded) })
    }

    /// What questions are answered from.
    #[must_use]
    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.served.load()
    }

    /// What is served, and whether anything is.
    #[must_use]
    pub(crate) fn served(&self) -> (Served, bool) {
        let state = self.state();
        (state.served, state.loaded)
    }

    /// Whether there are facts to answer from; once there are, there always are.
    #[must_use]
    pub(crate) fn loaded(&self) -> watch::Receiver<bool> {
        self.loaded.subscribe()
    }

    /// Store whose facts are served; empty where nobody said.
    #[must_use]
    pub(crate) fn store(&self) -> String {
        self.state().authority.current().to_owned()
    }

    /// Makes a publication what is served, once per operation. Every question that comes after this returns is answered
    /// from it. Blocks on the disk.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing has changed then.
    pub(crate) fn publish(&self, publication: Publication) -> Result<Served, PublishError> {
        let mut state = self.state();
        if let Some(recorded) = state.recorded(&publication) {
            return Ok(recorded);
        }
        let standing = state.admit(&publication)?;
        let Publication { operation_id, store, epoch, generation, .. } = publication.clone();
        let served = (state.served.epoch, state.served.generation);
        // Who may publish must be known whatever happens to the machine; what they published they tell again.
        let forced = standing == Standing::New || epoch != state.served.epoch || !state.loaded;
        if standing == Standing::Followed && state.loaded && (epoch, generation) == served {
            return Ok(state.served);
        }
        let change = state.change(publication, standing)?;
        if standing == Standing::New {
            state.authority.follow(&store);
            state.operations.clear();
        }
        let changed = state.zone.apply(change.clone());
        // The first load is visible too: before it there were no answers.
        let serial = state.served.serial.wrapping_add(u32::from(changed || !state.loaded));
        state.served = Served { epoch, generation, serial };
        state.loaded = true;
        let done = Done { id: operation_id, epoch, generation, serial };
        state.operations.push_back(done.clone());
        state.forget_operations();
        state.remember(vec![done], change, forced);
        self.served.store(Arc::new(state.zone.snapshot(serial, true)));
        self.loaded.send_if_modified(|loaded| !std::mem::replace(loaded, true));
        Ok(state.served)
    }

    /// Forces to the disk what was only written to the file. Blocks on the disk, and holds up nobody meanwhile.
    pub(crate) fn force(&self) {
        let file = match self.state().journal.as_mut().map(Journal::unforced) {
            Some(Ok(Some(file))) => Ok(file),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => return,
        };
        if let Err(error) = file.and_then(|file| file.sync_data()) {
            self.state().forget(&error);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What was answered to the same operation of the same coordinator.
    fn recorded(&self, publication: &Publication) -> Option<Served> {
        if self.authority.standing(&publication.store) != Standing::Followed {
            return None;
        }
        let (epoch, generation) = (publication.epoch, publication.generation);
        let same = |done: &&Done| (done.epoch, done.generation) == (epoch, generation);
        // Newest first: it is the last one that is repeated.
        let done = self.operations.iter().rev().filter(same).find(|done| done.id == publication.operation_id)?;
        Some(Served { epoch, generation, serial: done.serial })
    }

    /// Whether the publication comes from who is followed or may be, and is not late.
    fn admit(&self, publication: &Publication) -> Result<Standing, PublishError> {
        let remedy = || self.path.as_deref().map(remedy).unwrap_or_default();
        let standing = self.authority.standing(&publication.store);
        let (refused, served) =
            ((publication.epoch, publication.generation), (self.served.epoch, self.served.generation));
        match standing {
            Standing::Replaced => {
                let (refused, current) = (publication.store.clone(), self.authority.current().to_owned());
                Err(PublishError::Replaced { refused, current, remedy: remedy() })
            }
            Standing::Followed if refused < served => Err(PublishError::Fenced { refused, served, remedy: remedy() }),
            Standing::Followed | Standing::New => Ok(standing),
        }
    }

    /// What becomes different with the publication.
    fn change(&self, publication: Publication, standing: Standing) -> Result<ZoneChange, PublishError> {
        let Served { epoch, generation, .. } = self.served;
        let same = standing == Standing::Followed && self.loaded && publication.epoch == epoch;
        let change = match publication.base_generation {
            None => {
                let mut target = ZoneFacts::default();
                target.apply(publication.change);
                self.zone.facts().change_to(&target)
            }
            Some(base) if same && base == generation => publication.change,
            Some(base) => return Err(PublishError::BaseMismatch { base, epoch, generation }),
        };
        let facts = self.zone.facts();
        let held = facts.pods.len() + facts.services.len() + facts.slices.len() + facts.namespaces.len();
        let added = change.pods.len() + change.services.len() + change.slices.len() + change.namespaces.len();
        if held + added > OBJECTS_MAX {
            return Err(PublishError::TooMany { count: held + added });
        }
        Ok(change)
    }

    fn forget_operations(&mut self) {
        while self.operations.len() > OPERATIONS_MAX {
            self.operations.pop_front();
        }
    }

    /// What is on disk of what is served now: with all operations and facts, or with these.
    fn entry(&self, operations: Vec<Done>, change: ZoneChange) -> Entry {
        let Served { epoch, generation, serial } = self.served;
        let replaced = self.authority.replaced().map(str::to_owned).collect();
        Entry { store: self.authority.current().to_owned(), replaced, operations, epoch, generation, serial, change }
    }

    /// Puts a change on disk. Where the disk refuses, names are served all the same: they matter more than answering
    /// after a restart. What is on disk is then removed, because it is no longer true.
    fn remember(&mut self, operations: Vec<Done>, change: ZoneChange, forced: bool) {
        let Some(path) = &self.path else { return };
        let all = |state: &Self| {
            let facts = ZoneFacts::default().change_to(state.zone.facts());
            state.entry(state.operations.iter().cloned().collect(), facts)
        };
        let mut journal = self.journal.take();
        let written = match &mut journal {
            Some(journal) => journal.append(&self.entry(operations, change), forced, || all(self)),
            None => Journal::begin(path, &all(self)).map(|begun| journal = Some(begun)),
        };
        self.journal = journal;
        if let Err(error) = written {
            self.forget(&error);
        }
    }

    /// What is on disk is not what is served, and goes.
    fn forget(&mut self, error: &io::Error) {
        let path = self.path.as_deref().unwrap_or(Path::new("")).display();
        tracing::warn!(%error, %path, "names cannot be kept on disk and will not survive a restart");
        if let Some(Err(error)) = self.journal.take().map(Journal::remove) {
            tracing::warn!(%error, %path, "names on disk are out of date and cannot be removed");
        }
    }
}
