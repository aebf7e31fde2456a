//! Which owners of an object are gone.

use std::sync::Arc;

use api::manifest::Kind;
use serde_json::Value;

use crate::objects::{api_group, object_mut};
use crate::sets::deletion;
use crate::world::{Key, Object, View, owners};

/// Whether every owner of an object that has any is gone.
pub(super) fn orphaned(view: &View<'_>, object: &Object) -> bool {
    let mut owners = owners(&object.value).peekable();
    owners.peek().is_some() && owners.all(|owner| is_gone(view, object, owner))
}

/// Whether some owner of an object is gone.
pub(super) fn outlives_an_owner(view: &View<'_>, object: &Object) -> bool {
    owners(&object.value).any(|owner| is_gone(view, object, owner))
}

/// The object without its owners that are gone.
pub(super) fn without_gone_owners(view: &View<'_>, object: &Object) -> Value {
    let left: Vec<_> = owners(&object.value).filter(|owner| !is_gone(view, object, owner)).cloned().collect();
    let mut value = object.value.clone();
    object_mut(&mut value, "metadata").insert("ownerReferences".into(), left.into());
    value
}

/// Whether an owner of an object is certainly gone: where it would be there is nothing, or another incarnation, or a set
/// that goes after the object. Of a kind that is not known here, of a reference without a uid, and of an owner in some
/// namespace of an object in none, nobody knows where that would be.
fn is_gone(view: &View<'_>, object: &Object, owner: &Value) -> bool {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = Kind::from_text(text("kind")).filter(|kind| kind.name() == text("kind")) else { return false };
    let known = kind.api_versions().iter().any(|version| api_group(version) == api_group(text("apiVersion")));
    let reachable = !kind.namespaced() || object.kind().namespaced();
    if !known || !reachable || text("apiVersion").is_empty() || text("uid").is_empty() {
        return false;
    }
    let namespace = if kind.namespaced() { &object.key.namespace } else { "" };
    let stored = view.get(&Key::new(kind, namespace, text("name")));
    stored.is_none_or(|stored| stored.uid().0 != text("uid") || deletion::takes_along(view, &stored, object))
}

/// The sets that own an object and go after it: while they do, it is to go.
pub(super) fn taking_along<'a>(view: &'a View<'_>, object: &'a Object) -> impl Iterator<Item = Arc<Object>> + 'a {
    let named = owners(&object.value).filter_map(|owner| owner.get("name")?.as_str());
    let sets = named.filter_map(|name| view.get(&Key::new(Kind::StatefulSet, &object.key.namespace, name)));
    sets.filter(|set| deletion::takes_along(view, set, object))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use service_kit::CancellationToken;

    use super::*;
    use crate::store::{MemoryStore, StoreRevision};
    use crate::world::{Transaction, World};

    /// Whether the owner of an object of this kind is gone: `apiVersion Kind name uid`.
    async fn gone(kind: Kind, owner: &str) -> bool {
        let world = World::load(Arc::new(MemoryStore::new())).await.expect("an empty store");
        // Ends with the runtime of the test.
        tokio::spawn(world.clone().follow(CancellationToken::new()));
        let mut transaction = Transaction::default();
        for (kind, namespace, name) in [
            (Kind::Service, "default", "web"),
            (Kind::PersistentVolumeClaim, "default", "data"),
            (Kind::Node, "", "here"),
        ] {
            let value = json!({ "metadata": { "namespace": namespace, "name": name, "uid": "u" } });
            transaction.create(Key::new(kind, namespace, name), value);
        }
        world.commit(transaction).await.expect("an empty world");
        let [version, owner_kind, name, uid] = owner.split(' ').collect::<Vec<_>>().try_into().expect("four words");
        let owner = json!({ "apiVersion": version, "kind": owner_kind, "name": name, "uid": uid });
        let namespace = if kind.namespaced() { "default" } else { "" };
        let value = json!({ "metadata": { "uid": "o", "ownerReferences": [owner] } });
        let object = Object::new(Key::new(kind, namespace, "owned"), value, StoreRevision(1));
        world.view(|view| orphaned(view, &object))
    }

    #[tokio::test]
    async fn an_owner_is_gone_only_where_it_would_certainly_be_found() {
        for owner in ["v1 Service web u", "v1 Node here u"] {
            assert!(!gone(Kind::Pod, owner).await, "{owner} is there");
        }
        for owner in ["v1 Service web v", "v1 Service other u", "apps/v1 StatefulSet web u", "v1 Node there u"] {
            assert!(gone(Kind::Pod, owner).await, "{owner} is gone");
        }
        for owner in [
            "serving.knative.dev/v1 Service other u",
            "v1 services other u",
            "v1 svc other u",
            "apps/v1 ReplicaSet other u",
            " Service other u",
            "v1 Service other ",
        ] {
            assert!(!gone(Kind::Pod, owner).await, "nobody knows where {owner} would be");
        }
        assert!(!gone(Kind::PersistentVolume, "v1 PersistentVolumeClaim other u").await, "its namespace is not known");
        assert!(gone(Kind::PersistentVolume, "v1 Node there u").await);
    }
}
