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
use tracing::Instrument as _;

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
    publisher: Arc<Mutex<Publisher>>,
    published: watch::Sender<StoreRevision>,
    announced: Announced,
}

/// Pods that are announced before the store says so, and those that were and no longer are.
#[derive(Debug, Default)]
struct Announcements {
    pods: BTreeMap<ObjectName, PodFacts>,
    /// Those of them that no publication has taken along yet.
    fresh: BTreeSet<ObjectName>,
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
            publisher: Arc::new(Mutex::new(publisher)),
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
    ///
    /// # Cancel safety
    /// A publication that has begun goes on: others may be part of it, and what is served must be known.
    pub(crate) async fn announce(&self, pod: &Object) -> Result<(), NotPublished> {
        let Some(facts) = facts::pod(pod).cloned() else { return Ok(()) };
        let name = facts.name.clone();
        {
            let mut announced = lock(&self.announced);
            announced.fresh.insert(name.clone());
            announced.pods.insert(name.clone(), facts);
        }
        let mut publisher = self.publisher.clone().lock_owned().await;
        // Whoever had the turn before may have taken this along.
        if publisher.serves_announced(&name) {
            return Ok(());
        }
        let world = self.world.clone();
        // Ends with the call, which is bounded.
        let publication =
            tokio::spawn(async move { publisher.publish(&world, &BTreeSet::new()).await }.in_current_span());
        publication.await.unwrap_or_else(|_| Err(NotPublished("the publication was interrupted".to_owned())))
    }

    /// A pod is, after all, no more than the store says of it: what was announced of it is no longer true.
    pub(crate) fn withdraw(&self, key: &Key) {
        let mut announced = lock(&self.announced);
        let name = name_of(key);
        announced.fresh.remove(&name);
        if announced.pods.remove(&name).is_some() {
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

    /// The revision up to which what is stored is served, as it rises.
    pub(crate) fn published(&self) -> watch::Receiver<StoreRevision> {
        self.published.subscribe()
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
    /// Whether identity-dns serves a pod as it is announced, or nothing is announced of it any more.
    fn serves_announced(&self, name: &ObjectName) -> bool {
        let announced = lock(&self.announced);
        let served = self.served.as_ref().and_then(|served| served.pods.get(name));
        !announced.fresh.contains(name) && announced.pods.get(name).is_none_or(|pod| Some(pod) == served)
    }

    /// Brings what is served to what is stored and announced, for the objects looked at and what is freshly announced;
    /// for all where what is served is not known.
    async fn publish(&mut self, world: &World, looked_at: &BTreeSet<Key>) -> Result<(), NotPublished> {
        let fresh = std::mem::take(&mut lock(&self.announced).fresh);
        let (base, change) = match &self.served {
            Some(served) => (Some(self.generation), self.delta(world, served, looked_at, &fresh)),
            None => (None, ZoneFacts::default().change_to(&self.everything(world))),
        };
        let all = base.is_none().then(|| lock(&self.announced).pods.keys().cloned().collect::<Vec<_>>());
        self.forget_announced(world, looked_at.iter().map(name_of).chain(fresh).chain(all.into_iter().flatten()));
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

    fn delta(
        &self,
        world: &World,
        served: &ZoneFacts,
        looked_at: &BTreeSet<Key>,
        fresh: &BTreeSet<ObjectName>,
    ) -> ZoneChange {
        let mut change = ZoneChange::default();
        let fresh = fresh.iter().map(|name| Key::new(Kind::Pod, &name.namespace, &name.name));
        let fresh: Vec<_> = fresh.filter(|key| !looked_at.contains(key)).collect();
        for key in looked_at.iter().chain(&fresh) {
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
        let pods =
            world.list(Kind::Pod, None).into_iter().filter_map(|pod| self.pod_facts(Some(&pod), &name_of(&pod.key)));
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
        let announced = lock(&self.announced).pods.get(name).filter(|announced| ahead(announced, stored)).cloned();
        Some(announced.unwrap_or_else(|| stored.clone()))
    }

    /// Drops announcements that the store has caught up with, or that are no longer true, among pods that changed.
    fn forget_announced(&self, world: &World, changed: impl Iterator<Item = ObjectName>) {
        let mut announced = lock(&self.announced);
        for name in changed {
            let Some(facts) = announced.pods.get(&name) else { continue };
            let stored = world.get(&Key::new(Kind::Pod, &name.namespace, &name.name));
            if !stored.as_deref().and_then(facts::pod).is_some_and(|stored| ahead(facts, stored)) {
                announced.pods.remove(&name);
            }
        }
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

fn name_of(key: &Key) -> ObjectName {
    ObjectName::new(key.namespace.clone(), key.name.clone())
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
