//! What is to be served, and how that differs from what is.

use std::collections::BTreeSet;

use api::manifest::Kind;
use domain::zone::{ObjectName, ZoneChange, ZoneFacts};

use super::announced::Announced;
use super::{facts, name_of};
use crate::world::{Key, World};

/// What brings `served` to what is stored and announced now, for the objects looked at.
pub(super) fn change(
    world: &World,
    announced: &Announced,
    served: &ZoneFacts,
    looked_at: &BTreeSet<Key>,
) -> ZoneChange {
    let mut change = ZoneChange::default();
    for key in looked_at {
        let stored = world.get(key);
        let name = name_of(key);
        match key.kind {
            Kind::Namespace => match stored {
                Some(_) if !served.namespaces.contains(&key.name) => change.namespaces.push(key.name.clone()),
                None if served.namespaces.contains(&key.name) => change.removed_namespaces.push(key.name.clone()),
                _ => {}
            },
            Kind::Service => {
                let facts = stored.and_then(|service| facts::service(&service));
                put(facts, served.services.get(&name), name, &mut change.services, &mut change.removed_services);
            }
            Kind::Pod => {
                let facts = announced.of(stored.as_deref());
                put(facts, served.pods.get(&name), name, &mut change.pods, &mut change.removed_pods);
            }
            _ => {}
        }
    }
    change
}

/// All that is stored and announced now.
pub(super) fn everything(world: &World, announced: &Announced) -> ZoneFacts {
    let services = world.list(Kind::Service, None).into_iter().filter_map(|service| facts::service(&service));
    let pods = world.list(Kind::Pod, None).into_iter().filter_map(|pod| announced.of(Some(&pod)));
    ZoneFacts {
        namespaces: world.list(Kind::Namespace, None).iter().map(|object| object.key.name.clone()).collect(),
        services: services.map(|service| (service.name.clone(), service)).collect(),
        pods: pods.map(|pod| (pod.name.clone(), pod)).collect(),
        ..ZoneFacts::default()
    }
}

fn put<T: PartialEq>(
    now: Option<T>,
    served: Option<&T>,
    name: ObjectName,
    changed: &mut Vec<T>,
    removed: &mut Vec<ObjectName>,
) {
    match (now, served) {
        (Some(now), served) if served != Some(&now) => changed.push(now),
        (None, Some(_)) => removed.push(name),
        _ => {}
    }
}
