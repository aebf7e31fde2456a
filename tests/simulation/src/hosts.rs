//! The hosts: every service of the product as it is, a machine, people, and somebody who asks for names.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use coordinator::store::simulated_disk::Random;
use coordinator::store::{EmbeddedStore, StateStore};
use domain::Profile;
use service_kit::{Context, Error, ServerConfig, Target};
use turmoil::Sim;

use crate::clock::SimulatedClock;
use crate::lab::Lab;
use crate::mutant::Mutant;
use crate::network::SimulatedNetwork;
use crate::place::{Moment, Place};
use crate::resolver;
use crate::runtime::Runtime;
use crate::store::WatchedStore;
use crate::user::User;

/// Where DNS is answered.
pub const DNS_PORT: u16 = 7753;

/// Services, each a host.
pub const SERVICES: [&str; 5] = ["coordinator", "ordinal-scheduler", "update-planner", "volume-claim", "identity-dns"];

/// Everything that can crash.
pub const MORTAL: [&str; 6] =
    ["coordinator", "ordinal-scheduler", "update-planner", "volume-claim", "identity-dns", "node"];

/// All hosts.
pub const ALL: [&str; 8] =
    ["coordinator", "ordinal-scheduler", "update-planner", "volume-claim", "identity-dns", "node", "user", "resolver"];

/// What the hosts of a run have in common.
#[derive(Debug)]
pub struct Hosts {
    lab: Arc<Lab>,
    clocks: BTreeMap<&'static str, Arc<SimulatedClock>>,
    places: Mutex<BTreeMap<&'static str, Arc<Place>>>,
    crashes: Mutex<BTreeMap<&'static str, (u64, Moment)>>,
}

impl Hosts {
    /// Adds every host to a simulation.
    pub fn build(sim: &mut Sim<'_>, lab: &Arc<Lab>) -> Arc<Self> {
        let clocks: BTreeMap<&'static str, Arc<SimulatedClock>> = ALL.map(|name| (name, Arc::default())).into();
        if lab.mutant() == Some(Mutant::WallClockTimers) {
            clocks.values().for_each(|clock| clock.confuse());
        }
        let hosts = Arc::new(Self { lab: lab.clone(), clocks, places: Mutex::default(), crashes: Mutex::default() });
        for name in ALL {
            let hosts = hosts.clone();
            sim.host(name, move || {
                let hosts = hosts.clone();
                async move {
                    let place = hosts.arrive(name);
                    if let Err(error) = live(name, place.clone()).await {
                        let why = service_kit::status::chain(&error);
                        place.lab.crash(&place, "it ended by itself");
                        place.lab.note(&format!("{name} ended: {why}"));
                    }
                    pending().await
                }
            });
        }
        hosts
    }

    fn arrive(&self, name: &'static str) -> Arc<Place> {
        let crash = self.crashes.lock().expect("no holder of this lock panics").remove(name);
        let place = Place::new(name, self.clocks[name].clone(), self.lab.clone(), crash);
        self.places.lock().expect("no holder of this lock panics").insert(name, place.clone());
        self.lab.note(&format!("{name} starts"));
        place
    }

    /// The present life of a host.
    pub fn place(&self, name: &str) -> Option<Arc<Place>> {
        self.places.lock().expect("no holder of this lock panics").get(name).cloned()
    }

    /// The clock of a host.
    pub fn clock(&self, name: &str) -> &SimulatedClock {
        &self.clocks[name]
    }

    /// The next life of a host ends at this message of its own.
    pub fn crash_next(&self, name: &'static str, message: u64, moment: Moment) {
        self.crashes.lock().expect("no holder of this lock panics").insert(name, (message, moment));
    }
}

/// One life of a host.
async fn live(name: &'static str, place: Arc<Place>) -> Result<(), Error> {
    let context = Context {
        clock: place.clock.clone(),
        network: Some(Arc::new(SimulatedNetwork::new(place.clone()))),
        ..Context::default()
    };
    let directory = place.lab.directory.clone();
    let server = |port: u16| ServerConfig { listen: Some(anywhere(port)), ..ServerConfig::default() };
    let running = match name {
        "coordinator" => coordinator(server(7700), &place, context).await?,
        "ordinal-scheduler" => {
            ordinal_scheduler::start(ordinal_scheduler::Config { server: server(7701) }, context).await?
        }
        "update-planner" => update_planner::start(update_planner::Config { server: server(7703) }, context).await?,
        "volume-claim" => {
            let volumes_directory = directory.join("volumes");
            if place.lab.mutant() == Some(Mutant::LostDedupeRecord) {
                forget_operations(&volumes_directory);
            }
            volume_claim::start(volume_claim::Config { server: server(7702), volumes_directory }, context).await?
        }
        "identity-dns" => identity_dns(server(7704), &place, context).await?,
        "node" => {
            place.lab.machine_restarts();
            Runtime::new(place, &context).run().await;
            return Ok(());
        }
        "user" => {
            User::new(place, &context).run().await;
            return Ok(());
        }
        "resolver" => {
            resolver::run(place, context).await;
            return Ok(());
        }
        other => panic!("there is no host {other}"),
    };
    running.task.await.unwrap_or_else(|error| Err(Error::service(name, error.to_string())))
}

async fn coordinator(
    server: ServerConfig,
    place: &Arc<Place>,
    context: Context,
) -> Result<service_kit::Running, Error> {
    if place.lab.mutant() == Some(Mutant::UidsRepeat) {
        randomness(1);
    }
    let opened = EmbeddedStore::open_as_task(Box::new(place.lab.disk()), "state.redb");
    let store: Arc<dyn StateStore> =
        Arc::new(opened.map_err(|error| Error::service("coordinator", error.to_string()))?);
    let store = Arc::new(WatchedStore::new(store, place.clone()).await);
    let target = |name: &str, port: u16| Target::Tcp(format!("{name}:{port}"));
    let config = coordinator::Config {
        server,
        store_directory: place.lab.directory.join("store"),
        ordinal_scheduler: target("ordinal-scheduler", 7701),
        update_planner: target("update-planner", 7703),
        volume_claim: target("volume-claim", 7702),
        identity_dns: target("identity-dns", 7704),
        token: None,
        cluster_domain: coordinator::CLUSTER_DOMAIN_DEFAULT.to_owned(),
        dns_address: format!("identity-dns:{DNS_PORT}"),
        profile: Profile::Setkeeper,
        patience: place.lab.patience,
    };
    coordinator::start_on(store, config, context).await
}

async fn identity_dns(
    server: ServerConfig,
    place: &Arc<Place>,
    context: Context,
) -> Result<service_kit::Running, Error> {
    place.lab.names_restart();
    let journal = place.lab.directory.join("names");
    if place.lab.mutant() == Some(Mutant::StaleNames) {
        stale_copy(&journal);
    }
    let config = identity_dns::Config {
        server,
        listen: vec![anywhere(DNS_PORT)],
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 77, 255, 254))],
        cache: Some(journal),
        resolvers: identity_dns::config::Resolvers::Fixed(Vec::new()),
        ..identity_dns::Config::default()
    };
    Ok(identity_dns::start(config, context).await?.running)
}

fn anywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Makes identities come from a seed, in this thread.
pub fn randomness(seed: u64) {
    let mut random = Random::new(seed);
    service_kit::random::replace(move || {
        let mut bytes = [0; 16];
        bytes.chunks_mut(4).for_each(|chunk| chunk.copy_from_slice(&random.next().to_be_bytes()[4..]));
        bytes
    });
}

/// A planted bug: the record of what was done does not survive.
fn forget_operations(volumes: &Path) {
    for entry in std::fs::read_dir(volumes).into_iter().flatten().flatten() {
        if entry.path().is_file() {
            let _may_be_gone = std::fs::remove_file(entry.path());
        }
    }
}

/// A planted bug: the journal is found as it was at the start before.
fn stale_copy(journal: &Path) {
    let copy = journal.with_extension("copy");
    let before = std::fs::read(&copy).ok();
    if let Ok(now) = std::fs::read(journal) {
        let _best_effort = std::fs::write(&copy, now);
    }
    if let Some(before) = before {
        let _best_effort = std::fs::write(journal, before);
    }
}
