//! Which pods of an owner, or which claims, changed lately: who knows them as they were need look at no others.

use std::collections::{BTreeSet, VecDeque};

use super::Key;
use crate::store::StoreRevision;

/// Changes that are always kept. More are where an owner has more: a part of looking at all of them.
const KEPT_MIN: usize = 64;
const KEPT_PART: usize = 4;

/// The last changes among some objects, with the revisions that made them, ascending.
#[derive(Debug)]
pub(super) struct Recent {
    /// Every change after this revision is here.
    since: StoreRevision,
    changes: VecDeque<(StoreRevision, Key)>,
}

impl Recent {
    /// Of objects the first of which came, or was read, at `revision`.
    pub(super) fn new(revision: StoreRevision) -> Self {
        Self { since: revision, changes: VecDeque::new() }
    }

    /// One among so many objects came, changed or went.
    pub(super) fn note(&mut self, revision: StoreRevision, key: &Key, objects: usize) {
        // Of a change it is told as what its owner had, and as what it has.
        if self.changes.back().is_some_and(|(last, same)| *last == revision && same == key) {
            return;
        }
        self.changes.push_back((revision, key.clone()));
        while self.changes.len() > KEPT_MIN.max(objects / KEPT_PART) {
            self.since = self.changes.pop_front().map_or(self.since, |(revision, _)| revision);
        }
    }

    /// Those that changed after `revision`; none where that is too long ago to tell.
    pub(super) fn after(&self, revision: StoreRevision) -> Option<BTreeSet<&Key>> {
        let later = self.changes.iter().rev().take_while(|(changed, _)| *changed > revision);
        (revision >= self.since).then(|| later.map(|(_, key)| key).collect())
    }
}

#[cfg(test)]
mod tests {
    use api::manifest::Kind;

    use super::*;

    fn pod(number: u64) -> Key {
        Key::new(Kind::Pod, "default", &format!("web-{number}"))
    }

    fn after(recent: &Recent, revision: u64) -> Option<Vec<String>> {
        let keys = recent.after(StoreRevision(revision))?;
        Some(keys.into_iter().map(|key| key.name.clone()).collect())
    }

    #[test]
    fn every_change_after_a_revision_is_told_once() {
        let mut recent = Recent::new(StoreRevision(5));
        for (revision, number) in [(5, 0), (7, 1), (7, 2), (9, 1)] {
            recent.note(StoreRevision(revision), &pod(number), 1);
        }
        assert_eq!(after(&recent, 4), None);
        assert_eq!(after(&recent, 5), Some(vec!["web-1".into(), "web-2".into()]));
        assert_eq!(after(&recent, 7), Some(vec!["web-1".into()]));
        assert_eq!(after(&recent, 9), Some(vec![]));
    }

    #[test]
    fn what_is_too_long_ago_is_not_told_in_part() {
        let mut recent = Recent::new(StoreRevision(0));
        // Two in each commit.
        (0..=KEPT_MIN as u64).for_each(|number| recent.note(StoreRevision(1 + number / 2), &pod(number), 1));
        assert_eq!(recent.changes.len(), KEPT_MIN);
        assert_eq!(after(&recent, 0), None);
        assert_eq!(after(&recent, 1).map(|keys| keys.len()), Some(KEPT_MIN - 1));
    }

    #[test]
    fn a_large_owner_is_followed_further_back() {
        let mut recent = Recent::new(StoreRevision(0));
        (1..=1000).for_each(|number| recent.note(StoreRevision(number), &pod(number), 2000));
        assert_eq!(after(&recent, 499), None);
        assert_eq!(after(&recent, 500).map(|keys| keys.len()), Some(500));
    }
}
