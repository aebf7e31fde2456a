//! The names of all zones: which exist, and what they own.
//!
//! A copy shares everything with its original; a change copies only the shards it touches. So publishing one pod costs
//! the same whether there are ten names or a hundred thousand, and readers of an older copy see nothing of it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use crate::wire::{Name, RrSet};

/// Shards. 100,000 names make about a hundred each: quick to copy, and copying the list of shards stays below 10 us.
const SHARDS: usize = 1024;

/// What exists. A name exists if it owns a record or an existing name lies below it (DNS rules, section 3.2).
#[derive(Debug, Clone)]
pub struct Tree {
    shards: Vec<Arc<Shard>>,
    hasher: RandomState,
    /// Names that own records.
    owners: usize,
}

type Shard = HashMap<Name, Node>;

/// What a name owns.
#[derive(Debug, Clone)]
pub enum Sets {
    /// These; none where there are none.
    Made(Arc<[RrSet]>),
    /// One at least, made when somebody asks.
    Later(Arc<dyn Later>),
}

/// Record sets that are made when somebody asks, and kept.
pub trait Later: fmt::Debug + Send + Sync {
    /// The record sets, always the same.
    fn sets(&self) -> &[RrSet];
}

impl Sets {
    /// The record sets.
    fn get(&self) -> &[RrSet] {
        match self {
            Self::Made(sets) => sets,
            Self::Later(later) => later.sets(),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Made(sets) if sets.is_empty())
    }
}

impl Default for Sets {
    fn default() -> Self {
        Self::Made(Arc::default())
    }
}

impl From<Vec<RrSet>> for Sets {
    fn from(sets: Vec<RrSet>) -> Self {
        Self::Made(sets.into())
    }
}

/// A name that exists.
#[derive(Debug, Clone, Default)]
struct Node {
    sets: Sets,
    /// Existing names directly below.
    below: u32,
    /// Whether it exists without records and without anything below.
    pinned: bool,
}

impl Node {
    fn exists(&self) -> bool {
        self.pinned || self.below > 0 || !self.sets.is_empty()
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], hasher: RandomState::new(), owners: 0 }
    }
}

impl Tree {
    /// The record sets of a name given in lower case on the wire; none where it does not exist.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[RrSet]> {
        self.shards[self.shard(name)].get(name).map(|node| node.sets.get())
    }

    /// Names that own records.
    #[must_use]
    pub fn owners(&self) -> usize {
        self.owners
    }

    /// Every name with its record sets, in no order. Names without records are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &[RrSet])> {
        let nodes = self.shards.iter().flat_map(|shard| shard.iter());
        nodes.filter(|(_, node)| !node.sets.is_empty()).map(|(name, node)| (name, node.sets.get()))
    }

    /// Makes `name` the top of a zone: it exists for ever, and names above it do not come to exist through it.
    pub fn insert_apex(&mut self, name: &Name) {
        self.node(name).pinned = true;
    }

    /// Replaces what a name owns. Returns whether anything changed.
    pub fn set(&mut self, name: &Name, sets: impl Into<Sets>) -> bool {
        let sets = sets.into();
        let changed = self.get(name.wire()).unwrap_or_default() != sets.get();
        if changed {
            self.replace(name, sets);
        }
        changed
    }

    /// Replaces what a name owns, and does not look whether it is something else.
    pub fn replace(&mut self, name: &Name, mut sets: Sets) {
        let owned = self.shards[self.shard(name.wire())].get(name).is_some_and(|node| !node.sets.is_empty());
        self.owners = self.owners + usize::from(!sets.is_empty()) - usize::from(owned);
        self.change(name, &mut |node| node.sets = std::mem::take(&mut sets));
    }

    /// Makes a name exist without records, or not. Returns whether anything changed.
    pub fn pin(&mut self, name: &Name, pinned: bool) -> bool {
        let before = self.shards[self.shard(name.wire())].get(name).is_some_and(|node| node.pinned);
        if before != pinned {
            self.change(name, &mut |node| node.pinned = pinned);
        }
        before != pinned
    }

    /// Changes a node, and what exists above it because of it.
    fn change(&mut self, name: &Name, edit: &mut dyn FnMut(&mut Node)) {
        let existed = self.shards[self.shard(name.wire())].contains_key(name);
        let node = self.node(name);
        edit(node);
        let exists = node.exists();
        if !exists {
            self.remove(name);
        }
        let Some(parent) = name.parent().filter(|_| exists != existed) else { return };
        self.change(&parent, &mut |node| {
            node.below = if exists { node.below + 1 } else { node.below.saturating_sub(1) }
        });
    }

    fn node(&mut self, name: &Name) -> &mut Node {
        let shard = self.shard(name.wire());
        Arc::make_mut(&mut self.shards[shard]).entry(name.clone()).or_default()
    }

    fn remove(&mut self, name: &Name) {
        let shard = self.shard(name.wire());
        Arc::make_mut(&mut self.shards[shard]).remove(name);
    }

    fn shard(&self, name: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtype;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn text(text: &str) -> Vec<RrSet> {
        RrSet::new(rtype::TXT, 5, [text]).into_iter().collect()
    }

    #[test]
    fn names_above_exist_as_long_as_one_below_does() {
        let mut tree = Tree::default();
        tree.insert_apex(&name("zone"));
        assert!(tree.set(&name("a.b.c.zone"), text("x")) && !tree.set(&name("a.b.c.zone"), text("x")));
        tree.set(&name("d.b.c.zone"), text("y"));
        let exists = |tree: &Tree, text: &str| tree.get(name(text).wire()).is_some();
        let before = tree.clone();
        tree.set(&name("a.b.c.zone"), Vec::new());
        assert!(exists(&tree, "b.c.zone") && !exists(&tree, "a.b.c.zone"));
        tree.set(&name("d.b.c.zone"), Vec::new());
        assert!(!exists(&tree, "b.c.zone") && !exists(&tree, "c.zone") && exists(&tree, "zone"));
        assert!(exists(&before, "a.b.c.zone"), "a copy does not change");
        assert_eq!((before.owners(), tree.owners()), (2, 0));
        assert!(tree.pin(&name("e.zone"), true) && exists(&tree, "e.zone"));
        assert!(tree.pin(&name("e.zone"), false) && !exists(&tree, "e.zone"));
    }
}
