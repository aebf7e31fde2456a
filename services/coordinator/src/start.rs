//! Bringing the coordinator up.

use std::sync::{Arc, Mutex};

use ::api::manifest::Kind;
use ::api::proto::coordinator::v1::node_service_server::NodeServiceServer;
use ::api::proto::coordinator::v1::object_service_server::ObjectServiceServer;
use ::api::proto::coordinator::v1::pod_service_server::PodServiceServer;
use ::api::proto::coordinator::v1::stateful_set_service_server::StatefulSetServiceServer;
use ::api::proto::coordinator::v1::system_service_server::SystemServiceServer;
use serde_json::json;
use service_kit::{
    BoundServer, CancellationToken, Channel, Context, Error, Retry, Role, Running, Server, process, sized_server,
};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::DropGuard;

use crate::api::{BACKUPS_AT_ONCE_MAX, Front, NAMESPACE_DEFAULT, System};
use crate::config::Config;
use crate::machines::Machines;
use crate::machines::lifecycle::Lifecycle;
use crate::machines::presence::Presence;
use crate::names::Names;
use crate::objects::time_text;
use crate::pods::node_service::Nodes;
use crate::pods::placement::Placement;
use crate::pods::report::Reports;
use crate::sets::{Planners, Sets};
use crate::store::{Batch, EmbeddedStore, Precondition, StateStore, Write, offline};
use crate::volumes::Volumes;
use crate::world::{Key, Transaction, World, WorldError};
use crate::{collect, driver, rollouts};

/// File of the state store in its directory.
pub const STORE_FILE: &str = "state.redb";

/// Name of this service.
const NAME: &str = "coordinator";

/// Where the store keeps how often a coordinator has started on it. Not an object: nobody lists it.
const EPOCH_KEY: &str = "/setkeeper/epoch";

/// Opens the embedded store in its directory and starts on it.
///
/// # Errors
/// Where the store cannot be opened or read, or the address cannot be bound.
pub async fn start(config: Config, context: Context) -> Result<Running, Error> {
    let directory = config.store_directory.join(STORE_FILE);
    let store = process::blocking(move || EmbeddedStore::open(&directory)).await;
    let store = store.map_err(|error| failed("opening the state store", &error))?;
    let store = store.map_err(|error| failed("opening the state store", &error))?;
    store.measure(&context.metrics);
    start_on(Arc::new(store), config, context).await
}

/// Starts every controller on a store that is open, and serves the API.
///
/// # Errors
/// Where the store cannot be read, or the address cannot be bound.
pub async fn start_on(store: Arc<dyn StateStore>, config: Config, context: Context) -> Result<Running, Error> {
    let epoch = next_epoch(&*store).await?;
    let former_stores = former_stores(&*store).await?;
    let world = World::load(store).await.map_err(|error| failed("reading the state store", &error))?;
    let mut tasks = JoinSet::new();
    // The world goes on until everyone who may wait for it has ended.
    let followed = CancellationToken::new();
    let following = tokio::spawn(world.clone().follow(followed.clone()));
    let following = Following { task: following, end: followed.drop_guard() };
    create_first_objects(&world, &context).await?;

    let services = services(&config, &context);
    let channel = |name: &str| {
        let found = services.iter().find(|(service, _)| *service == name);
        found.map(|(_, channel)| channel.clone()).expect("every service is listed")
    };
    let switches = config.profile.switches();
    let planners = Planners {
        ordinal_scheduler: channel("ordinal-scheduler"),
        update_planner: channel("update-planner"),
        volume_claim: channel("volume-claim"),
        identity_dns: channel("identity-dns"),
    };
    let names = Names::start(world.clone(), channel("identity-dns"), epoch, context.clone(), &mut tasks);
    tasks.spawn(rollouts::observer::run(world.clone(), names.clone(), context.clone()));
    let sets = Arc::new(Sets::new(world.clone(), planners, switches, config.patience, context.clone()));
    let volumes = Arc::new(Volumes::new(world.clone(), channel("volume-claim"), epoch, switches, context.clone()));
    let placement = Arc::new(Placement { world: world.clone(), context: context.clone(), unplaced: Mutex::default() });
    let collector = Arc::new(collect::Collector::new(world.clone(), switches, context.clone()));
    tasks.spawn(driver::run(sets.clone(), world.clone(), context.clone()));
    tasks.spawn(driver::run(volumes, world.clone(), context.clone()));
    tasks.spawn(driver::run(placement, world.clone(), context.clone()));
    tasks.spawn(driver::run(collector, world.clone(), context.clone()));

    let presence = Arc::new(Presence::new(context.clone()));
    let lifecycle = Lifecycle { world: world.clone(), presence: presence.clone(), context: context.clone() };
    tasks.spawn(driver::run(Arc::new(lifecycle), world.clone(), context.clone()));

    let machines = Machines::new(world.clone(), config.token.clone(), context.clone());
    let front = Front { world: world.clone(), context: context.clone(), switches };
    let supervised = world.clone();
    let nodes = Nodes {
        world: world.clone(),
        reports: Reports { world, names: names.clone(), sets: sets.clone(), context: context.clone() },
        context: context.clone(),
        cluster_domain: config.cluster_domain.clone(),
        dns_address: config.dns_address.clone(),
        presence: presence.clone(),
        former_stores,
    };
    let dependencies = services.clone();
    let system = System {
        front: front.clone(),
        sets,
        presence,
        machines: machines.clone(),
        services,
        names,
        epoch,
        cluster_domain: config.cluster_domain.clone(),
        dns_address: config.dns_address.clone(),
        profile: config.profile,
        backups: Arc::new(Semaphore::new(BACKUPS_AT_ONCE_MAX)),
    };
    let server = Server::new(NAME)
        .add(sized_server!(ObjectServiceServer::new(front.clone())))
        .add(sized_server!(StatefulSetServiceServer::new(front.clone())))
        .add(sized_server!(PodServiceServer::new(crate::api::Pods { front, machines })))
        .add(sized_server!(NodeServiceServer::new(nodes)))
        .add(sized_server!(SystemServiceServer::new(system)));
    let server = dependencies.into_iter().fold(server, |server, (name, channel)| server.depends_on(name, channel));
    let bound = server.bind_in(&context, &config.server).await?;
    let address = bound.tcp_address();
    let task = tokio::spawn(serve(bound, tasks, following, supervised, context));
    Ok(Running { name: NAME, address, task })
}

/// The task that keeps the world in step with the store. Dropping it ends the world.
struct Following {
    task: JoinHandle<Result<(), WorldError>>,
    end: DropGuard,
}

/// Serves until shutdown, or until something without which the coordinator would only seem to live has ended: a
/// controller, the world, or a store that takes no more writes. Then everything ends with an error, for the process to
/// end and be started again.
async fn serve(
    bound: BoundServer,
    mut tasks: JoinSet<()>,
    following: Following,
    world: Arc<World>,
    context: Context,
) -> Result<(), Error> {
    let Following { task: mut followed, end } = following;
    let serving = bound.serve(context.clone());
    tokio::pin!(serving);
    let broken = tokio::select! {
        biased;
        served = &mut serving => {
            context.shutdown.cancel();
            while tasks.join_next().await.is_some() {}
            end.disarm().cancel();
            return served;
        }
        error = world.failed() => failed("writing to the state store", &error),
        ended = &mut followed => match ended {
            Ok(Err(error)) => failed("following the state store", &error),
            Ok(Ok(())) => Error::service(NAME, "the state store is no longer followed"),
            Err(error) => failed("following the state store", &error),
        },
        Some(ended) = tasks.join_next() => match ended {
            // At shutdown controllers may end before the server has noticed.
            _ if context.shutdown.is_cancelled() => {
                let served = serving.await;
                while tasks.join_next().await.is_some() {}
                end.disarm().cancel();
                return served;
            }
            Ok(()) => Error::service(NAME, "a controller ended by itself"),
            Err(error) => failed("running a controller", &error),
        },
    };
    tracing::error!(error = service_kit::status::chain(&broken), "the coordinator stops");
    context.shutdown.cancel();
    drop(end);
    let _ = serving.await;
    tasks.shutdown().await;
    Err(broken)
}

fn services(config: &Config, context: &Context) -> Vec<(&'static str, Channel)> {
    let all = [
        (Role::OrdinalScheduler, &config.ordinal_scheduler),
        (Role::UpdatePlanner, &config.update_planner),
        (Role::VolumeClaim, &config.volume_claim),
        (Role::IdentityDns, &config.identity_dns),
    ];
    let channel =
        |role, target| context.connect(role, target, config.token.as_ref()).called_by(NAME).retrying(Retry::QUICK);
    all.map(|(role, target)| (role.name(), channel(role, target))).to_vec()
}

/// Counts this start. Receivers refuse effects of an earlier one.
async fn next_epoch(store: &dyn StateStore) -> Result<u64, Error> {
    let doing = "counting this start in the state store";
    let before = store.get(EPOCH_KEY).await.map_err(|error| failed(doing, &error))?;
    let number = before.as_ref().and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse::<u64>().ok());
    let epoch = number.unwrap_or(0) + 1;
    let key = EPOCH_KEY.to_owned();
    let precondition = match before {
        Some(entry) => Precondition::ModifiedAt { key: key.clone(), revision: entry.modified },
        None => Precondition::Absent { key: key.clone() },
    };
    let write = Write::Put { key, value: epoch.to_string().into_bytes().into() };
    let batch = Batch { preconditions: vec![precondition], writes: vec![write] };
    store.commit(batch).await.map_err(|error| failed(doing, &error))?;
    Ok(epoch)
}

/// The stores that this one was restored from.
async fn former_stores(store: &dyn StateStore) -> Result<Vec<String>, Error> {
    let kept = store.get(offline::FORMER_KEY).await;
    let kept = kept.map_err(|error| failed("reading which stores this one succeeds", &error))?;
    Ok(kept.map(|entry| offline::former_stores(&entry.value)).unwrap_or_default())
}

/// The namespace and the storage class that everybody expects to be there.
async fn create_first_objects(world: &World, context: &Context) -> Result<(), Error> {
    let mut transaction = Transaction::default();
    let class = crate::volumes::default_class();
    let class_name = class.pointer("/metadata/name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE_DEFAULT },
        "status": { "phase": "Active" } });
    let first = world.list(Kind::Namespace, None).is_empty();
    for (key, mut value) in [
        (Key::new(Kind::Namespace, "", NAMESPACE_DEFAULT), namespace),
        (Key::new(Kind::StorageClass, "", &class_name), class),
    ] {
        // A class that somebody deleted stays deleted: only the very first start makes it.
        if !first || world.get(&key).is_some() {
            continue;
        }
        let metadata = crate::objects::object_mut(&mut value, "metadata");
        metadata.insert("uid".into(), service_kit::random::uid().into());
        metadata.insert("creationTimestamp".into(), time_text(context.clock.now()).into());
        transaction.create(key, value);
    }
    world.commit(transaction).await.map_err(|error| failed("creating the first objects", &error))?;
    Ok(())
}

fn failed(doing: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::start(NAME, format!("{doing}: {}", service_kit::status::chain(error)))
}
