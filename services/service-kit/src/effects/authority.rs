//! Whose orders a receiver follows.
//!
//! Epochs and generations are numbers of one store. A coordinator whose store was lost begins a new one at epoch 1, and
//! is not to be taken for a late incarnation of what was there before. So each fence is scoped by the identity of the
//! store:
//! - A store that was never seen takes over. Its epochs begin anew.
//! - The store before it is refused from then on, so that two coordinators never take turns.
//! - Whoever does not name a store speaks for the one that is followed: a coordinator of an earlier version.
//!
//! A store that was restored from a copy keeps its identity and comes back with an epoch that may have been seen. It is
//! refused; [`remedy`] says what to do.

use std::collections::VecDeque;
use std::path::Path;

/// Replaced stores that are remembered. A store is made anew by hand, or by losing a disk: a handful of times in the
/// life of a receiver.
const REPLACED_MAX: usize = 64;

/// How a store stands with a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its orders are taken.
    Followed,
    /// It was never seen.
    New,
    /// Another took over from it.
    Replaced,
}

/// The store that is followed, and those that were. Pure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authority {
    current: String,
    replaced: VecDeque<String>,
}

impl Authority {
    /// What was remembered: the store that is followed, and those before it, oldest first.
    #[must_use]
    pub fn new(current: String, replaced: impl IntoIterator<Item = String>) -> Self {
        Self { current, replaced: replaced.into_iter().collect() }
    }

    /// How `store` stands. Empty stands for the one that is followed.
    #[must_use]
    pub fn standing(&self, store: &str) -> Standing {
        if store.is_empty() || store == self.current {
            Standing::Followed
        } else if self.replaced.iter().any(|replaced| replaced == store) {
            Standing::Replaced
        } else {
            Standing::New
        }
    }

    /// The store that is followed; empty while nobody has named one.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.current
    }

    /// Stores that were followed, oldest first.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.replaced.iter().map(String::as_str)
    }

    /// Follows a new store instead of the one before.
    pub fn follow(&mut self, store: &str) {
        let before = std::mem::replace(&mut self.current, store.to_owned());
        if !before.is_empty() {
            self.replaced.push_back(before);
        }
        while self.replaced.len() > REPLACED_MAX {
            self.replaced.pop_front();
        }
    }
}

/// What to do where the one that is refused is right after all. Goes behind the reason.
#[must_use]
pub fn remedy(file: &Path) -> String {
    let file = file.display();
    format!("; where it is the right one, such as a store restored from a copy, end this service and remove {file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_replaced_never_comes_back() {
        let mut authority = Authority::default();
        for store in ["a", "b", "c"] {
            assert_eq!(authority.standing(store), Standing::New);
            authority.follow(store);
            assert_eq!(authority.standing(store), Standing::Followed);
        }
        assert_eq!(authority.standing("a"), Standing::Replaced);
        assert_eq!(authority.standing("b"), Standing::Replaced);
        assert_eq!(authority.standing(""), Standing::Followed);
        let again = Authority::new(authority.current().to_owned(), authority.replaced().map(str::to_owned));
        assert_eq!(again, authority);
    }

    #[test]
    fn memory_is_bounded() {
        let mut authority = Authority::default();
        for number in 0..2 * REPLACED_MAX {
            authority.follow(&number.to_string());
        }
        assert_eq!(authority.replaced().count(), REPLACED_MAX);
    }
}
