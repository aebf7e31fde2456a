//! Pages of lists.

use std::sync::Arc;

use api::manifest::Kind;
use api::manifest::selector::Selector;
use tonic::Status;

use crate::error::invalid_argument;
use crate::store::StoreRevision;
use crate::world::{Object, World};

/// Objects of a page where the caller does not say.
const PAGE_SIZE_DEFAULT: usize = 500;

/// Most objects of a page.
const PAGE_SIZE_MAX: usize = 5000;

/// Which objects a caller wants to see.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) kind: Kind,
    /// Empty means all.
    pub(super) namespace: String,
    pub(super) selector: Selector,
    /// Empty means all.
    pub(super) name: String,
}

impl Filter {
    /// Reads a filter off a request.
    pub(super) fn new(kind: Kind, namespace: &str, selector: &str, name: &str) -> Result<Self, Status> {
        let selector = Selector::parse(selector)
            .map_err(|why| invalid_argument("INVALID_SELECTOR", &format!("label_selector: {selector:?}: {why}")))?;
        Ok(Self { kind, namespace: namespace.to_owned(), selector, name: name.to_owned() })
    }

    /// Whether the caller wants to see this object.
    pub(super) fn admits(&self, object: &Object) -> bool {
        object.kind() == self.kind
            && (self.namespace.is_empty() || object.key.namespace == self.namespace || !self.kind.namespaced())
            && (self.name.is_empty() || object.key.name == self.name)
            && self.selector.matches_value(object.value.pointer("/metadata/labels").unwrap_or(&serde_json::Value::Null))
    }

    fn scope(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty() && self.kind.namespaced())
    }

    /// Everything the caller wants to see, at one revision.
    pub(super) fn all(&self, world: &World) -> (StoreRevision, Vec<Arc<Object>>) {
        let (revision, objects) = world.list_at(self.kind, self.scope());
        (revision, objects.into_iter().filter(|object| self.admits(object)).collect())
    }
}

/// Some objects, and where to go on.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) next: String,
    pub(super) revision: u64,
}

/// One page of a list. The token is the place of the last object seen, so that a page never repeats or skips an
/// object that was there all the time.
pub(super) fn page(world: &World, filter: &Filter, size: u32, token: &str) -> Page {
    let size = match usize::try_from(size).unwrap_or(PAGE_SIZE_MAX) {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    };
    let (revision, objects) = filter.all(world);
    let place = |object: &Object| format!("{}/{}", object.key.namespace, object.key.name);
    let mut rest = objects.into_iter().skip_while(|object| !token.is_empty() && !after(object, token));
    let objects: Vec<_> = rest.by_ref().take(size).collect();
    let next =
        if rest.next().is_some() { objects.last().map(|last| place(last)).unwrap_or_default() } else { String::new() };
    Page { objects, next, revision: revision.0 }
}

fn after(object: &Object, token: &str) -> bool {
    let (namespace, name) = token.split_once('/').unwrap_or(("", token));
    (object.key.namespace.as_str(), object.key.name.as_str()) > (namespace, name)
}
