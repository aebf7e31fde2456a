use std::net::SocketAddr;
use std::sync::Mutex as StdMutex;

use api::proto::identity_dns::v1::identity_dns_service_server::{IdentityDnsService, IdentityDnsServiceServer};
use api::proto::identity_dns::v1::{AssignRequest, AssignResponse, GetZoneResponse, PublishResponse};
use serde_json::{Value, json};
use service_kit::{Server, ServerConfig, Target, connect, sized_server};
use tonic::{Request, Response, Status};

use super::*;
use crate::store::MemoryStore;
use crate::world::Transaction;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what it is told, as identity-dns does; refuses when told to.
#[derive(Debug, Clone, Default)]
struct Fake(Arc<StdMutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    facts: ZoneFacts,
    store: String,
    epoch: u64,
    generation: u64,
    full: u32,
    refuses: bool,
}

#[tonic::async_trait]
impl IdentityDnsService for Fake {
    async fn assign(&self, _: Request<AssignRequest>) -> Result<Response<AssignResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let publication =
            Publication::try_from(request.into_inner()).map_err(|why| Status::invalid_argument(why.to_string()))?;
        let mut told = self.0.lock().unwrap();
        if told.refuses {
            return Err(Status::unavailable("not now"));
        }
        match publication.base_generation {
            None => {
                told.full += 1;
                told.facts = ZoneFacts::default();
            }
            Some(base) if (told.epoch, told.generation) == (publication.epoch, base) => {}
            Some(_) => return Err(Status::failed_precondition("BASE_MISMATCH")),
        }
        told.facts.apply(publication.change);
        (told.epoch, told.generation) = (publication.epoch, publication.generation);
        told.store = publication.store;
        Ok(Response::new(PublishResponse { generation: told.generation, serial: 1 }))
    }

    async fn get_zone(&self, _: Request<GetZoneRequest>) -> Result<Response<GetZoneResponse>, Status> {
        let told = self.0.lock().unwrap();
        let (store_id, epoch, generation) = (told.store.clone(), told.epoch, told.generation);
        Ok(Response::new(GetZoneResponse { store_id, epoch, generation, loaded: true, ..GetZoneResponse::default() }))
    }
}

struct Bench {
    fake: Fake,
    world: Arc<World>,
    names: Arc<Names>,
    context: Context,
    _tasks: JoinSet<()>,
}

async fn bench() -> Bench {
    let (fake, context) = (Fake::default(), Context::default());
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = Server::new("identity-dns").add(sized_server!(IdentityDnsServiceServer::new(fake.clone())));
    let bound = server.bind(&ServerConfig { listen, ..ServerConfig::default() }).await.unwrap();
    let running = bound.spawn(context.clone());
    let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
    let mut tasks = JoinSet::new();
    let following = world.clone().follow(context.shutdown.clone());
    tasks.spawn(async move { following.await.expect("the store works") });
    let channel = connect(&Target::Tcp(running.address.unwrap().to_string()), None);
    let names = Names::start(world.clone(), channel, 7, context.clone(), &mut tasks);
    Bench { fake, world, names, context, _tasks: tasks }
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

    fn pod(&self, name: &str) -> Option<PodFacts> {
        self.fake.0.lock().unwrap().facts.pods.get(&ObjectName::new("default", name)).cloned()
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
    let bench = bench().await;
    for round in 0..50 {
        let stored = bench.put(Kind::Pod, "web-0", pod(round % 2 == 0, round % 3 == 0)).await;
        bench.served(stored.version).await;
        let served = bench.pod("web-0").unwrap();
        assert_eq!((served.ready, served.terminating), (round % 2 == 0, round % 3 == 0), "round {round}");
    }
    assert_eq!(bench.fake.0.lock().unwrap().full, 1, "changes go out as changes");
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_is_served_first_and_does_not_outlive_its_report() {
    let bench = bench().await;
    let stored = bench.put(Kind::Pod, "web-0", pod(false, false)).await;
    bench.served(stored.version).await;
    let ready = Object::new(stored.key.clone(), pod(true, false), stored.version);
    bench.names.announce(&ready).await.unwrap();
    assert!(bench.pod("web-0").unwrap().ready, "before the store says so");
    bench.names.withdraw(&stored.key);
    // The next publication takes it back.
    let other = bench.put(Kind::Pod, "web-1", pod(false, false)).await;
    bench.served(other.version).await;
    assert!(!bench.pod("web-0").unwrap().ready, "the report never came");
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_error_everything_is_published_anew() {
    let bench = bench().await;
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    bench.fake.0.lock().unwrap().refuses = true;
    let stored = bench.put(Kind::Pod, "web-0", pod(true, true)).await;
    assert!(!bench.names.wait_published(stored.version, Duration::from_millis(200)).await);
    *bench.fake.0.lock().unwrap() = Told::default();
    bench.served(stored.version).await;
    assert!(bench.pod("web-0").unwrap().terminating);
    assert_eq!(bench.fake.0.lock().unwrap().full, 1);
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_without_names_does_not_keep_others_from_theirs() {
    let bench = bench().await;
    let mut odd = pod(true, false);
    odd["metadata"]["name"] = json!("odd");
    odd["spec"]["hostname"] = json!("not a label");
    bench.put(Kind::Pod, "odd", odd).await;
    let address = json!({"metadata": {"name": "ip"}, "spec": {"type": "ExternalName", "externalName": "10.0.0.1"}});
    bench.put(Kind::Service, "ip", address).await;
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    assert!(bench.pod("web-0").is_some() && bench.pod("odd").is_none());
    bench.context.shutdown.cancel();
}
