//! Against replicas that do what a test says, over real connections.

mod several;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU16;

use api::proto::identity_dns::v1::identity_dns_service_server::{IdentityDnsService, IdentityDnsServiceServer};
use api::proto::identity_dns::v1::{
    AssignRequest, AssignResponse, GetZoneRequest, GetZoneResponse, PublishRequest, PublishResponse,
};
use domain::zone::{PodFacts, Publication, ZoneFacts};
use serde_json::{Value, json};
use service_kit::{Server, ServerConfig, Target, connect, sized_server};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use super::*;
use crate::store::MemoryStore;
use crate::world::Transaction;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what it is told, as identity-dns does; refuses or hangs when told to.
#[derive(Debug, Clone, Default)]
struct Fake {
    told: watch::Sender<Told>,
    hangs: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Told {
    facts: ZoneFacts,
    store: String,
    epoch: u64,
    generation: u64,
    full: u32,
    refuses: bool,
}

impl Told {
    fn take(&mut self, publication: Publication) -> Result<(), Status> {
        if self.refuses {
            return Err(Status::unavailable("not now"));
        }
        if (publication.epoch, publication.generation) < (self.epoch, self.generation) {
            return Err(Status::aborted("FENCED"));
        }
        match publication.base_generation {
            None => {
                self.full += 1;
                self.facts = ZoneFacts::default();
            }
            Some(base) if (self.epoch, self.generation) == (publication.epoch, base) => {}
            Some(_) => return Err(Status::failed_precondition("BASE_MISMATCH")),
        }
        self.facts.apply(publication.change);
        (self.epoch, self.generation) = (publication.epoch, publication.generation);
        self.store = publication.store;
        Ok(())
    }

    fn pod(&self, name: &str) -> Option<&PodFacts> {
        self.facts.pods.get(&ObjectName::new("default", name))
    }
}

impl Fake {
    fn told(&self) -> watch::Ref<'_, Told> {
        self.told.borrow()
    }

    fn pod(&self, name: &str) -> Option<PodFacts> {
        self.told().pod(name).cloned()
    }

    /// Returns when it was told this.
    async fn until(&self, what: &str, is: impl Fn(&Told) -> bool) {
        let mut told = self.told.subscribe();
        let reached = tokio::time::timeout(PATIENCE, told.wait_for(|told| is(told))).await;
        reached.unwrap_or_else(|_| panic!("{what}: {:?}", self.told())).unwrap();
    }

    /// A process that is stopped answers nothing, and everything once it goes on.
    async fn going_on(&self) {
        self.hangs.subscribe().wait_for(|hangs| !hangs).await.unwrap();
    }
}

#[tonic::async_trait]
impl IdentityDnsService for Fake {
    async fn assign(&self, _: Request<AssignRequest>) -> Result<Response<AssignResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.going_on().await;
        let publication =
            Publication::try_from(request.into_inner()).map_err(|why| Status::invalid_argument(why.to_string()))?;
        let mut taken = Ok(());
        self.told.send_modify(|told| taken = told.take(publication));
        taken.map(|()| Response::new(PublishResponse { generation: self.told().generation, serial: 1 }))
    }

    async fn get_zone(&self, _: Request<GetZoneRequest>) -> Result<Response<GetZoneResponse>, Status> {
        self.going_on().await;
        let told = self.told();
        let (store_id, epoch, generation) = (told.store.clone(), told.epoch, told.generation);
        Ok(Response::new(GetZoneResponse { store_id, epoch, generation, loaded: true, ..GetZoneResponse::default() }))
    }
}

/// A fake that can be reached, until it is stopped.
struct Served {
    fake: Fake,
    address: SocketAddr,
    context: Context,
    task: JoinHandle<Result<(), service_kit::Error>>,
}

impl Served {
    /// At an address of its own: once it is stopped, nobody else may be there.
    async fn start() -> Self {
        static STARTED: AtomicU16 = AtomicU16::new(0);
        let [high, low] = STARTED.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self::serve(Fake::default(), SocketAddr::from(([127, 1, high, low], 0))).await
    }

    async fn serve(fake: Fake, address: SocketAddr) -> Self {
        let context = Context::default();
        let server = Server::new("identity-dns").add(sized_server!(IdentityDnsServiceServer::new(fake.clone())));
        let bound = server.bind(&ServerConfig { listen: Some(address), ..ServerConfig::default() }).await.unwrap();
        let running = bound.spawn(context.clone());
        Self { fake, address: running.address.unwrap(), context, task: running.task }
    }

    /// Nobody is at its address any more. Returns what it had on disk.
    async fn stop(self) -> (Fake, SocketAddr) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        (self.fake, self.address)
    }
}

struct Bench {
    world: Arc<World>,
    names: Arc<Names>,
    context: Context,
    tasks: JoinSet<()>,
}

/// What was stored before is followed, and nobody is told.
async fn followed() -> Bench {
    let context = Context::default();
    let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
    let mut tasks = JoinSet::new();
    let following = world.clone().follow(context.shutdown.clone());
    tasks.spawn(async move { following.await.expect("the store works") });
    let names = Names::follow(world.clone(), 7, context.clone(), &mut tasks);
    Bench { world, names, context, tasks }
}

/// These replicas are told, as a list of their addresses.
async fn bench<const N: usize>() -> (Bench, [Served; N]) {
    let mut bench = followed().await;
    let mut replicas = Vec::new();
    for _ in 0..N {
        replicas.push(Served::start().await);
    }
    let addresses = replicas.iter().map(|served| served.address.to_string()).collect::<Vec<_>>().join(",");
    let channel = connect(&Target::Tcp(addresses), None);
    bench.tasks.spawn(bench.names.clone().follow_replicas(channel));
    (bench, replicas.try_into().ok().unwrap())
}

impl Bench {
    /// Stores an object and returns it.
    async fn put(&self, kind: Kind, name: &str, value: Value) -> Arc<Object> {
        let key = Key::new(kind, "default", name);
        let mut transaction = Transaction::default();
        match self.world.get(&key) {
            Some(old) => transaction.update(&old, value),
            None => transaction.create(key.clone(), value),
        }
        self.world.commit(transaction).await.unwrap();
        self.world.get(&key).unwrap()
    }

    async fn served(&self, revision: StoreRevision) {
        assert!(self.names.wait_published(revision, PATIENCE).await, "served in time");
    }

    /// The stored pod as it will be once it is ready.
    fn ready(&self, stored: &Object) -> Object {
        Object::new(stored.key.clone(), pod(true, false), stored.version)
    }
}

fn pod(ready: bool, deleted: bool) -> Value {
    let mut metadata = json!({"name": "web-0", "namespace": "default", "uid": "u", "labels": {"app": "nginx"}});
    if deleted {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    let status = json!({"phase": "Running", "podIP": "10.77.0.5",
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]});
    json!({"metadata": metadata, "spec": {"hostname": "web-0", "subdomain": "nginx"}, "status": status})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_waited_for_is_served() {
    let (bench, [served]) = bench().await;
    let fake = &served.fake;
    for round in 0..50 {
        let stored = bench.put(Kind::Pod, "web-0", pod(round % 2 == 0, round % 3 == 0)).await;
        bench.served(stored.version).await;
        let served = fake.pod("web-0").unwrap();
        assert_eq!((served.ready, served.terminating), (round % 2 == 0, round % 3 == 0), "round {round}");
    }
    assert_eq!(fake.told().full, 1, "changes go out as changes");
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_is_served_first_and_does_not_outlive_its_report() {
    let (bench, [served]) = bench().await;
    let fake = &served.fake;
    let stored = bench.put(Kind::Pod, "web-0", pod(false, false)).await;
    bench.served(stored.version).await;
    bench.names.announce(&bench.ready(&stored)).await.unwrap();
    assert!(fake.pod("web-0").unwrap().ready, "before the store says so");
    bench.names.withdraw(&stored.key);
    // The next publication takes it back.
    let other = bench.put(Kind::Pod, "web-1", pod(false, false)).await;
    bench.served(other.version).await;
    assert!(!fake.pod("web-0").unwrap().ready, "the report never came");
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_error_everything_is_published_anew() {
    let (bench, [served]) = bench().await;
    let fake = &served.fake;
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    fake.told.send_modify(|told| told.refuses = true);
    let stored = bench.put(Kind::Pod, "web-0", pod(true, true)).await;
    assert!(!bench.names.wait_published(stored.version, Duration::from_millis(200)).await);
    fake.told.send_replace(Told::default());
    bench.served(stored.version).await;
    assert!(fake.pod("web-0").unwrap().terminating);
    assert_eq!(fake.told().full, 1);
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_without_names_does_not_keep_others_from_theirs() {
    let (bench, [served]) = bench().await;
    let fake = &served.fake;
    let mut odd = pod(true, false);
    odd["metadata"]["name"] = json!("odd");
    odd["spec"]["hostname"] = json!("not a label");
    bench.put(Kind::Pod, "odd", odd).await;
    let address = json!({"metadata": {"name": "ip"}, "spec": {"type": "ExternalName", "externalName": "10.0.0.1"}});
    bench.put(Kind::Service, "ip", address).await;
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    assert!(fake.pod("web-0").is_some() && fake.pod("odd").is_none());
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_an_address_is_no_news_and_takes_none_over() {
    let (bench, [served]) = bench().await;
    let fake = &served.fake;
    let without = || {
        let mut pod = pod(false, false);
        pod["status"].as_object_mut().unwrap().remove("podIP");
        pod
    };
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    let before = fake.told().generation;
    let other = bench.put(Kind::Pod, "web-1", without()).await;
    bench.served(other.version).await;
    assert_eq!((fake.told().generation, fake.pod("web-1")), (before, None), "nothing to tell");
    // One that loses its address, or whose successor has none yet, is found no more.
    let lost = bench.put(Kind::Pod, "web-0", without()).await;
    bench.served(lost.version).await;
    assert_eq!(fake.pod("web-0"), None);
    assert_eq!(fake.told().full, 1, "changes go out as changes");
    bench.context.shutdown.cancel();
}
