//! Bringing names to identity-dns: what is stored becomes facts, facts are published, and who must wait for that can.
//!
//! The publisher is level-triggered: each commit says which objects to look at, what they are is read from the world.
//! Changes go out as deltas; after an error, and where identity-dns has another state than it was told, everything goes
//! out anew.

mod facts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::manifest::Kind;
use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use api::proto::identity_dns::v1::{GetZoneRequest, PublishRequest};
use domain::zone::{ObjectName, PodFacts, Publication, ZoneChange, ZoneFacts};
use service_kit::{Channel, Context};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::store::StoreRevision;
use crate::world::{Commit, Key, Object, World};

/// How often it is checked that identity-dns still serves what it was told, and a failed publication is repeated.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Longest publication. A full zone of ten thousand pods takes a fraction of it.
const PUBLISH_MAX: Duration = Duration::from_secs(10);

/// Names cannot be served now.
#[derive(Debug, thiserror::Error)]
#[error("identity-dns does not answer: {0}")]
pub(crate) struct NotPublished(String);

/// The publisher.
#[derive(Debug)]
pub(crate) struct Names {
    world: Arc<World>,
    context: Context,
    publisher: Mutex<Publisher>,
    published: watch::Sender<StoreRevision>,
    announced: Announced,
}

/// Pods that are announced before the store says so, and those that were and no longer are.
#[derive(Debug, Default)]
struct Announcements {
    pods: BTreeMap<ObjectName, PodFacts>,
    withdrawn: BTreeSet<Key>,
}

type Announced = Arc<std::sync::Mutex<Announcements>>;

#[derive(Debug)]
struct Publisher {
    channel: Channel,
    epoch: u64,
    generation: u64,
    /// What identity-dns was told and has acknowledged; none where that is not known.
    served: Option<ZoneFacts>,
    announced: Announced,
}

impl Names {
    /// Starts publishing.
    pub(crate) fn start(
        world: Arc<World>,
        channel: Channel,
        epoch: u64,
        context: Context,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let announced = Announced::default();
        let publisher = Publisher { channel, epoch, generation: 0, served: None, announced: announced.clone() };
        let names = Arc::new(Self {
            world,
            context,
            publisher: Mutex::new(publisher),
            published: watch::Sender::new(StoreRevision::default()),
            announced,
        });
        tasks.spawn(names.clone().run());
        names
    }

    /// Serves the names of a pod as if it were stored like this. Returns when queries see them.
    ///
    /// # Errors
    /// When identity-dns cannot be told.
    pub(crate) async fn announce(&self, pod: &Object) -> Result<(), NotPublished> {
        let Some(facts) = facts::pod(pod) else { return Ok(()) };
        lock(&self.announced).pods.insert(facts.name.clone(), facts);
        let mut publisher = self.publisher.lock().await;
        // Together with all that were announced while this waited for its turn: theirs has nothing left to tell then.
        let mut looked_at = BTreeSet::from([pod.key.clone()]);
        let waiting = lock(&self.announced)
            .pods
            .keys()
            .map(|name| Key::new(Kind::Pod, &name.namespace, &name.name))
            .collect::<Vec<_>>();
        looked_at.extend(waiting);
        publisher.publish(&self.world, &looked_at).await
    }

    /// A pod is, after all, no more than the store says of it: what was announced of it is no longer true.
    pub(crate) fn withdraw(&self, key: &Key) {
        let mut announced = lock(&self.announced);
        if announced.pods.remove(&ObjectName::new(key.namespace.clone(), key.name.clone())).is_some() {
            announced.withdrawn.insert(key.clone());
        }
    }

    /// Whether what is stored at `revision` is served.
    pub(crate) fn is_published(&self, revision: StoreRevision) -> bool {
        *self.published.borrow() >= revision
    }

    /// Waits until what is stored at `revision` is served; false if it is not within `timeout`.
    pub(crate) async fn wait_published(&self, revision: StoreRevision, timeout: Duration) -> bool {
        let mut published = self.published.subscribe();
        tokio::time::timeout(timeout, published.wait_for(|seen| *seen >= revision)).await.is_ok_and(|seen| seen.is_ok())
    }

    async fn run(self: Arc<Self>) {
        let mut commits = self.world.subscribe();
        let mut changed = BTreeSet::new();
        let mut complaining = false;
        loop {
            // Revision first: every change up to it is in the queue by now, and what is read after it is at least as new.
            let revision = self.world.revision();
            let mut missed = false;
            loop {
                match commits.try_recv() {
                    Ok(commit) => collect(&commit, &mut changed),
                    Err(TryRecvError::Lagged(_)) => missed = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            if missed {
                self.publisher.lock().await.served = None;
            }
            changed.append(&mut lock(&self.announced).withdrawn);
            let result = self.publisher.lock().await.publish(&self.world, &changed).await;
            match result {
                Ok(()) => {
                    changed.clear();
                    complaining = false;
                    self.published.send_if_modified(|seen| {
                        let newer = revision > *seen;
                        *seen = revision.max(*seen);
                        newer
                    });
                }
                Err(error) if !complaining => {
                    complaining = true;
                    tracing::warn!(%error, "names are not up to date; trying again");
                }
                Err(_) => {}
            }
            tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return,
                // After a failure only time helps; the changes wait in their queue.
                commit = commits.recv(), if !complaining => match commit {
                    Ok(commit) => collect(&commit, &mut changed),
                    Err(RecvError::Lagged(_)) => self.publisher.lock().await.served = None,
                    Err(RecvError::Closed) => return,
                },
                () = self.context.clock.sleep(CHECK_EVERY) => {
                    self.publisher.lock().await.check(self.world.store_id()).await;
                }
            }
        }
    }
}

fn lock(announced: &Announced) -> std::sync::MutexGuard<'_, Announcements> {
    announced.lock().expect("no holder of this lock panics")
}

/// Adds the objects of a commit that names depend on.
fn collect(commit: &Commit, changed: &mut BTreeSet<Key>) {
    let named = |kind: Kind| matches!(kind, Kind::Pod | Kind::Service | Kind::Namespace);
    changed.extend(commit.changes.iter().filter(|change| named(change.key.kind)).map(|change| change.key.clone()));
}

impl Publisher {
    /// Brings what is served to what is stored, for the objects looked at; for all where what is served is not known.
    async fn publish(&mut self, world: &World, looked_at: &BTreeSet<Key>) -> Result<(), NotPublished> {
        let (base, change) = match &self.served {
            Some(served) => (Some(self.generation), self.delta(world, served, looked_at)),
            None => (None, ZoneFacts::default().change_to(&self.everything(world))),
        };
        self.forget_announced(world);
        if base.is_some() && change.is_empty() {
            return Ok(());
        }
        let publication = Publication {
            operation_id: format!("publish/{}/{}", self.epoch, self.generation + 1),
            store: world.store_id().to_owned(),
            epoch: self.epoch,
            generation: self.generation + 1,
            base_generation: base,
            change: change.clone(),
        };
        // Whatever comes of it, this number is used up.
        self.generation += 1;
        let served = self.served.take();
        let mut client = service_kit::sized_client!(IdentityDnsServiceClient::new(self.channel.clone()));
        let telling = client.publish(PublishRequest::from(publication));
        match tokio::time::timeout(PUBLISH_MAX, telling).await {
            Ok(Ok(_)) => {
                let mut served = served.unwrap_or_default();
                served.apply(change);
                self.served = Some(served);
                Ok(())
            }
            Ok(Err(status)) => Err(NotPublished(status.message().to_owned())),
            Err(_) => Err(NotPublished("no answer in time".to_owned())),
        }
    }

    fn delta(&self, world: &World, served: &ZoneFacts, looked_at: &BTreeSet<Key>) -> ZoneChange {
        let mut change = ZoneChange::default();
        for key in looked_at {
            let stored = world.get(key);
            let name = ObjectName::new(key.namespace.clone(), key.name.clone());
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
                    let facts = self.pod_facts(stored.as_deref(), &name);
                    put(facts, served.pods.get(&name), name, &mut change.pods, &mut change.removed_pods);
                }
                _ => {}
            }
        }
        change
    }

    fn everything(&self, world: &World) -> ZoneFacts {
        let services = world.list(Kind::Service, None).into_iter().filter_map(|service| facts::service(&service));
        let pods = world.list(Kind::Pod, None).into_iter().filter_map(|pod| {
            let name = ObjectName::new(pod.key.namespace.clone(), pod.key.name.clone());
            self.pod_facts(Some(&pod), &name)
        });
        ZoneFacts {
            namespaces: world.list(Kind::Namespace, None).iter().map(|object| object.key.name.clone()).collect(),
            services: services.map(|service| (service.name.clone(), service)).collect(),
            pods: pods.map(|pod| (pod.name.clone(), pod)).collect(),
            ..ZoneFacts::default()
        }
    }

    /// A pod as it is stored, unless it is announced as more.
    fn pod_facts(&self, stored: Option<&Object>, name: &ObjectName) -> Option<PodFacts> {
        let stored = stored.and_then(facts::pod)?;
        let announced = lock(&self.announced).pods.get(name).filter(|announced| ahead(announced, &stored)).cloned();
        Some(announced.unwrap_or(stored))
    }

    /// Drops announcements that the store has caught up with, or that are no longer true.
    fn forget_announced(&self, world: &World) {
        lock(&self.announced).pods.retain(|name, announced| {
            let stored = world.get(&Key::new(Kind::Pod, &name.namespace, &name.name));
            stored.as_deref().and_then(facts::pod).is_some_and(|stored| ahead(announced, &stored))
        });
    }

    /// Whether identity-dns still serves what it was told; if not, everything is published anew.
    async fn check(&mut self, store: &str) {
        if self.served.is_none() {
            return;
        }
        let mut client = service_kit::sized_client!(IdentityDnsServiceClient::new(self.channel.clone()));
        if let Ok(Ok(zone)) = tokio::time::timeout(CHECK_EVERY, client.get_zone(GetZoneRequest {})).await {
            let zone = zone.into_inner();
            // An earlier version does not tell the store.
            let another = !zone.store_id.is_empty() && zone.store_id != store;
            if another || (zone.epoch, zone.generation) != (self.epoch, self.generation) {
                self.served = None;
            }
        }
    }
}

/// Whether an announcement says of the same living incarnation what the store does not say yet.
fn ahead(announced: &PodFacts, stored: &PodFacts) -> bool {
    announced.uid == stored.uid
        && !stored.terminating
        && announced != stored
        && (!stored.ready || stored.ips.is_empty())
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
