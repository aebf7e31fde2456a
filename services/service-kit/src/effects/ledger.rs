//! What was seen and done, without the file. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use bytes::Bytes;

use super::authority::{Authority, Standing};
use super::log::Entry;
use super::{EffectError, Fence};

/// Results that are remembered. A caller repeats an operation within seconds or minutes, not after thousands of others.
pub(super) const RESULTS_MAX: usize = 4096;

/// Subjects whose generation is remembered within one epoch. The oldest are forgotten; their operations are idempotent.
pub(super) const SUBJECTS_MAX: usize = 65_536;

/// What was seen and done, without the file. Pure.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) authority: Authority,
    pub(super) epoch: u64,
    pub(super) generations: BTreeMap<String, u64>,
    pub(super) subjects_by_age: VecDeque<String>,
    pub(super) results: HashMap<String, Bytes>,
    pub(super) ids_by_age: VecDeque<String>,
}

impl Ledger {
    /// Whether an operation may begin. `log` is the file that remembers why not.
    pub(super) fn admit(&self, subject: &str, fence: &Fence, log: Option<&Path>) -> Result<(), EffectError> {
        let log = log.map(Path::to_owned);
        match self.authority.standing(&fence.store) {
            Standing::New => Ok(()),
            Standing::Replaced => {
                let current = self.authority.current().to_owned();
                Err(EffectError::Replaced { refused: fence.store.clone(), current, log })
            }
            Standing::Followed => {
                let generation = self.generations.get(subject).copied().unwrap_or_default();
                if (fence.epoch, fence.generation) >= (self.epoch, generation) {
                    return Ok(());
                }
                let highest = Fence { store: self.authority.current().to_owned(), epoch: self.epoch, generation };
                Err(EffectError::Fenced { refused: fence.clone(), highest, log })
            }
        }
    }

    /// Remembers.
    pub(super) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Seen { subject, store, epoch, generation } => self.see(subject, &store, epoch, generation),
            // An operation may end after its store was replaced; nobody may ask for it any more.
            Entry::Done { store, .. } if self.authority.standing(&store) != Standing::Followed => {}
            Entry::Done { id, result, .. } => {
                if self.results.insert(id.clone(), result).is_none() {
                    self.ids_by_age.push_back(id);
                }
                while self.ids_by_age.len() > RESULTS_MAX {
                    let Some(oldest) = self.ids_by_age.pop_front() else { break };
                    self.results.remove(&oldest);
                }
            }
        }
    }

    fn see(&mut self, subject: String, store: &str, epoch: u64, generation: u64) {
        match self.authority.standing(store) {
            Standing::Replaced => return,
            Standing::Followed => {}
            Standing::New => {
                // Its epochs, generations and operation ids have nothing to do with those before.
                *self = Self { authority: std::mem::take(&mut self.authority), ..Self::default() };
                self.authority.follow(store);
            }
        }
        if epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            // Every generation of an older epoch is below every one of this.
            self.epoch = epoch;
            self.generations.clear();
            self.subjects_by_age.clear();
        }
        match self.generations.get_mut(&subject) {
            Some(known) => *known = generation.max(*known),
            None => {
                self.subjects_by_age.push_back(subject.clone());
                self.generations.insert(subject, generation);
            }
        }
        while self.subjects_by_age.len() > SUBJECTS_MAX {
            let Some(oldest) = self.subjects_by_age.pop_front() else { break };
            self.generations.remove(&oldest);
        }
    }

    /// What has to be written to remember all of this, oldest first.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let seen = |store: &str, subject: &str, epoch, generation| Entry::Seen {
            subject: subject.to_owned(),
            store: store.to_owned(),
            epoch,
            generation,
        };
        let current = self.authority.current();
        // In the order in which they replaced each other: reading them back leads to the same.
        let replaced = self.authority.replaced().map(|store| seen(store, "", 0, 0));
        let followed = self.subjects_by_age.iter().map(|subject| {
            let generation = self.generations.get(subject).copied().unwrap_or_default();
            seen(current, subject, self.epoch, generation)
        });
        let done = self.ids_by_age.iter().filter_map(|id| {
            let result = self.results.get(id)?.clone();
            Some(Entry::Done { id: id.clone(), store: current.to_owned(), result })
        });
        replaced.chain(followed).chain(done).collect()
    }
}
