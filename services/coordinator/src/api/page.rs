//! Pages of lists.

use std::sync::Arc;

use api::manifest::Kind;
use api::manifest::selector::Selector;
use service_kit::access::Caller;
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
    labels: bool,
    /// Empty means all.
    pub(super) name: String,
}

impl Filter {
    /// Reads a filter off a request, where its caller may see what it asks for.
    pub(super) fn new(
        caller: &Caller,
        kind: Kind,
        namespace: &str,
        selector: &str,
        name: &str,
    ) -> Result<Self, Status> {
        caller.may(kind, namespace)?;
        let labels = !selector.trim().is_empty();
        let selector = Selector::parse(selector)
            .map_err(|why| invalid_argument("INVALID_SELECTOR", &format!("label_selector: {selector:?}: {why}")))?;
        Ok(Self { kind, namespace: namespace.to_owned(), selector, labels, name: name.to_owned() })
    }

    /// Whether the caller wants to see this object.
    pub(super) fn admits(&self, object: &Object) -> bool {
        self.in_scope(object)
            && self.selector.matches_value(object.value.pointer("/metadata/labels").unwrap_or(&serde_json::Value::Null))
    }

    /// Whether its kind, namespace and name, which never change, are those the caller wants to see.
    pub(super) fn in_scope(&self, object: &Object) -> bool {
        object.kind() == self.kind
            && (self.namespace.is_empty() || object.key.namespace == self.namespace || !self.kind.namespaced())
            && (self.name.is_empty() || object.key.name == self.name)
    }

    /// Whether labels decide.
    pub(super) fn by_labels(&self) -> bool {
        self.labels
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
/// object that was there all the time; and the revision of the first page, which every page states: a watch from there
/// misses nothing of what changed while the pages were read.
pub(super) fn page(world: &World, filter: &Filter, size: u32, token: &str) -> Result<Page, Status> {
    let size = match usize::try_from(size).unwrap_or(PAGE_SIZE_MAX) {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    };
    let after = if token.is_empty() { None } else { Some(Place::parse(token)?) };
    let (now, objects) = filter.all(world);
    let revision = after.as_ref().map_or(now.0, |place| place.revision);
    let mut rest = objects.into_iter().skip_while(|object| after.as_ref().is_some_and(|place| !place.before(object)));
    let objects: Vec<_> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), objects.last()) {
        (Some(_), Some(last)) => format!("{revision}/{}/{}", last.key.namespace, last.key.name),
        _ => String::new(),
    };
    Ok(Page { objects, next, revision })
}

/// Where a page ended.
struct Place {
    revision: u64,
    namespace: String,
    name: String,
}

impl Place {
    fn parse(token: &str) -> Result<Self, Status> {
        let place = || {
            let mut parts = token.splitn(3, '/');
            let revision = parts.next()?.parse().ok()?;
            Some(Self { revision, namespace: parts.next()?.to_owned(), name: parts.next()?.to_owned() })
        };
        place()
            .ok_or_else(|| invalid_argument("INVALID_PAGE_TOKEN", "page_token: is not one that a list answered with"))
    }

    fn before(&self, object: &Object) -> bool {
        (self.namespace.as_str(), self.name.as_str()) < (object.key.namespace.as_str(), object.key.name.as_str())
    }
}
