//! Pods as processes of this machine: the namespaced tier and, where that is refused, the plain-process tier.
//!
//! ```text
//! runtime ──► anchor: owns the node's network (and user) namespace, hands out its sockets, starts shims
//!    └──────► shim, one per pod: holds the pod's lock, network, logs, exit records
//!               └─ container-init, first process of the container's own process namespace
//!                    └─ the program
//! ```
//!
//! Anchor and shims outlive the runtime: stop it, or kill it, and no pod notices. The next one finds the anchor by its
//! socket, the pods by their directories and the locks on them. All of it is this same program, executed again
//! ([`crate::helper::helper_main`]).
//!
//! What is promised: a pod whose lock is free and whose recorded processes are gone is dead, and only then may another
//! of its name start; everything of a pod dies with its shim; the end of every container that was begun is recorded
//! exactly once, by its shim or, if that was killed, as `ContainerStatusUnknown`.

mod address;
mod anchor;
mod census;
mod client;
mod clock;
mod identity;
mod init;
mod log;
mod network;
mod node;
mod operations;
mod probe;
mod process;
mod record;
mod relay;
mod root;
mod shim;
pub(crate) mod stages;
mod wire;

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::Uid;
use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

pub use self::address::PodNetwork;
use self::anchor::AnchorSetup;
use self::node::Node;
use self::operations::Inner;
use self::probe::Trial;
use self::record::Isolation;
use self::wire::AnchorRequest;
use crate::NameServers;
use crate::backend::{
    BackendError, Capabilities, ContainerInstance, ContainerSpec, ExecOutcome, PodBackend, SandboxSpec, SandboxState,
};
pub use crate::config::Tier;

/// How to run pods here.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory for all that is kept about pods. Made if absent; one runtime uses it at a time.
    pub state_dir: PathBuf,
    /// A program whose `main` begins with [`crate::helper::helper_main`]; the running one as a rule.
    pub helper: PathBuf,
    /// Which tier.
    pub tier: Tier,
    /// The pods' network in the namespaced tier; 10.77.0.0/16 as a rule.
    pub network: PodNetwork,
    /// Directories and files that no container may see except through its mounts, besides `state_dir`: whatever holds
    /// volumes, databases and tokens.
    pub masked: Vec<PathBuf>,
}

/// The pods of this machine.
#[derive(Debug)]
pub struct Sandboxes {
    inner: Arc<Inner>,
}

/// Loopback network of the plain-process tier: any address of it can be bound without preparation.
const LOOPBACK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 77, 0, 0), 16);

/// Port of name servers.
const NAME_PORT: u16 = 53;

/// Finds out what the machine allows, takes hold of the state directory, and finds the pods that run.
///
/// # Errors
/// [`BackendError::Machine`] if another runtime uses the directory, if the tier asked for is refused, or if the node's
/// processes cannot be started or are of another version.
pub async fn open(options: Options) -> Result<Arc<Sandboxes>, BackendError> {
    let state = options.state_dir.clone();
    let prepared = node::blocking(move || prepare(&state)).await;
    let (state, lock) = prepared.map_err(machine(format!("state directory {}", options.state_dir.display())))?;
    let choice = choose(&options, &state).await?;
    let pods = state.join("pods");
    let node = match choice.network {
        Some(network) => {
            let setup = AnchorSetup {
                directory: state.join("node"),
                gateway: network.gateway(),
                prefix_length: network.prefix_length(),
                user_namespace: choice.isolation.one_uid,
            };
            let node = Node::open(options.helper.clone(), setup, pods.clone()).await;
            Some(node.map_err(machine("start of the node".into()))?)
        }
        None => None,
    };
    let loopback = PodNetwork::new(LOOPBACK.0, LOOPBACK.1);
    let network = choice.network.or(loopback).unwrap_or(options.network);
    let program = options.helper.canonicalize().map_err(machine(format!("program {}", options.helper.display())))?;
    let mut masked = options.masked;
    masked.push(state.clone());
    let inner = Inner::new(operations::Parts {
        state,
        helper: options.helper,
        program,
        masked,
        network,
        isolation: choice.isolation,
        capabilities: choice.capabilities,
        node,
        lock,
    });
    inner.adopt().await?;
    Ok(Arc::new(Sandboxes { inner }))
}

pub(crate) fn machine(operation: String) -> impl FnOnce(io::Error) -> BackendError {
    move |source| BackendError::Machine { operation, source }
}

/// Makes the directories and takes the runtime's lock.
fn prepare(state: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(state)?;
    let state = state.canonicalize()?;
    for name in ["node", "pods"] {
        let directory = state.join(name);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => {
                other?;
                fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
            }
        }
    }
    // Patient: a runtime that was just killed may not be quite gone.
    let lock = record::take_lock(&state.join("node/runtime.lock"))
        .map_err(|error| io::Error::new(error.kind(), format!("another runtime uses the directory: {error}")))?;
    for name in record::names(&state.join("pods"))? {
        if name.starts_with('.') {
            // What a removal left when it was cut short. What resists is tried again by the next runtime.
            if let Err(error) = fs::remove_dir_all(state.join("pods").join(&name)) {
                tracing::warn!(directory = name, %error, "remains of a removed pod stay");
            }
        }
    }
    Ok((state, lock))
}

struct Choice {
    isolation: Isolation,
    /// The pods' network, if it is one of its own.
    network: Option<PodNetwork>,
    capabilities: Capabilities,
}

async fn choose(options: &Options, state: &Path) -> Result<Choice, BackendError> {
    let root = state.join("node/probe");
    match fs::create_dir(&root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(machine("directory for the probe".into())(error));
        }
        _ => {}
    }
    let privileged = nix::unistd::Uid::effective().is_root();
    let ways: &[bool] = if privileged { &[false, true] } else { &[true] };
    let trial = |user_namespace| Trial {
        user_namespace,
        root: root.clone(),
        gateway: options.network.gateway(),
        prefix_length: options.network.prefix_length(),
    };
    let mut reasons = Vec::new();
    if options.tier == Tier::Process {
        reasons.push("plain processes were asked for".to_owned());
    } else {
        for user_namespace in ways {
            match probe::attempt(&options.helper, "probe-node", &trial(*user_namespace)).await {
                Ok(()) => return Ok(namespaced(options.network, *user_namespace)),
                Err(reason) => reasons.push(reason),
            }
        }
    }
    let reason = reasons.join("; ");
    if options.tier == Tier::Namespaced {
        return Err(machine("namespaces for pods".into())(io::Error::new(io::ErrorKind::Unsupported, reason)));
    }
    let mut mounts = None;
    let mut refusal = String::new();
    for user_namespace in ways {
        match probe::attempt(&options.helper, "probe-mounts", &trial(*user_namespace)).await {
            Ok(()) => {
                mounts = Some(*user_namespace);
                break;
            }
            Err(reason) => refusal = reason,
        }
    }
    Ok(plain(reason, mounts, &refusal, privileged).await)
}

fn namespaced(network: PodNetwork, one_uid: bool) -> Choice {
    let isolation = Isolation { network: true, processes: true, mounts: true, own_user_namespace: false, one_uid };
    let mut degraded = vec!["memory and CPU limits are not enforced".to_owned()];
    degraded.push("pods reach each other and this machine's name server, but nothing beyond".to_owned());
    if one_uid {
        let users = "every user id of a container is this user on disk; supplemental groups have no effect";
        degraded.push(users.to_owned());
    }
    let gateway = IpAddr::V4(network.gateway());
    Choice {
        isolation,
        network: Some(network),
        capabilities: Capabilities {
            tier: "namespaced",
            tier_reason: String::new(),
            degraded,
            mounts: true,
            nameserver: Some(gateway),
            host_ip: gateway,
            only_uid: None,
        },
    }
}

async fn plain(reason: String, mounts: Option<bool>, refusal: &str, privileged: bool) -> Choice {
    let own_user_namespace = mounts == Some(true);
    let isolation = Isolation {
        network: false,
        processes: false,
        mounts: mounts.is_some(),
        own_user_namespace,
        one_uid: own_user_namespace,
    };
    let mut degraded = vec![
        "pods share this machine's network: each must bind its own address, and a wildcard listener answers for all"
            .to_owned(),
        "pods see this machine's processes; one that hides from its parent and clears its environment may outlive \
         its pod if the shim is killed"
            .to_owned(),
        "memory and CPU limits are not enforced".to_owned(),
    ];
    if mounts.is_none() {
        degraded.push(format!("no mounts at a container's own paths, no hostname: {refusal}"));
        degraded.push("pods can read and write whatever this user can".to_owned());
    }
    let host_ip = Ipv4Addr::new(LOOPBACK.0.octets()[0], LOOPBACK.0.octets()[1], 0, 1);
    let nameserver = UdpSocket::bind((host_ip, NAME_PORT)).await.is_ok().then_some(IpAddr::V4(host_ip));
    if nameserver.is_none() {
        degraded.push("no name server on port 53: names of pods must come from the hosts file".to_owned());
    }
    let only_uid = (!privileged && !own_user_namespace).then(|| nix::unistd::Uid::effective().as_raw());
    Choice {
        isolation,
        network: None,
        capabilities: Capabilities {
            tier: "process",
            tier_reason: reason,
            degraded,
            mounts: mounts.is_some(),
            nameserver,
            host_ip: IpAddr::V4(host_ip),
            only_uid,
        },
    }
}

impl Sandboxes {
    /// Answers name queries of pods on port 53 of [`Capabilities::nameserver`] by asking `upstream`, until `shutdown`.
    /// Does nothing but wait where there is no such address.
    ///
    /// # Errors
    /// [`BackendError::Machine`] if the sockets cannot be made or fail; the caller may call again.
    pub async fn serve_dns(&self, upstream: NameServers, shutdown: CancellationToken) -> Result<(), BackendError> {
        let Some(address) = self.inner.capabilities.nameserver else {
            shutdown.cancelled().await;
            return Ok(());
        };
        let sockets = self.name_sockets(address).await.map_err(machine(format!("name server on {address}")))?;
        relay::serve(sockets, Arc::new(upstream), shutdown).await.map_err(machine(format!("name server on {address}")))
    }

    async fn name_sockets(&self, address: IpAddr) -> io::Result<relay::Sockets> {
        let Some(node) = &self.inner.node else {
            return Ok(relay::Sockets {
                udp: UdpSocket::bind((address, NAME_PORT)).await?,
                tcp: TcpListener::bind((address, NAME_PORT)).await?,
            });
        };
        let (_, sockets) = node.call(AnchorRequest::NameServer).await?;
        let [udp, tcp] = <[_; 2]>::try_from(sockets)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the anchor sent other than two sockets"))?;
        let (udp, tcp) = (std::net::UdpSocket::from(udp), std::net::TcpListener::from(tcp));
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(relay::Sockets { udp: UdpSocket::from_std(udp)?, tcp: TcpListener::from_std(tcp)? })
    }

    /// Ends the node's own processes where no pod is left; otherwise they stay for the next runtime.
    ///
    /// # Errors
    /// [`BackendError::Machine`] if the anchor cannot be asked.
    pub async fn close(&self) -> Result<(), BackendError> {
        let Some(node) = &self.inner.node else { return Ok(()) };
        if self.list().await?.iter().any(|sandbox| sandbox.alive) {
            return Ok(());
        }
        node.end().await.map_err(machine("end of the node".into()))
    }
}

impl PodBackend for Sandboxes {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities.clone()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SandboxState>, BackendError>> {
        Box::pin(self.inner.list())
    }

    fn state<'a>(&'a self, uid: &'a Uid) -> BoxFuture<'a, Result<SandboxState, BackendError>> {
        Box::pin(self.inner.state(uid))
    }

    fn ensure_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<SandboxState, BackendError>> {
        let inner = Arc::clone(&self.inner);
        self.inner.owned(async move { inner.ensure_sandbox(spec).await })
    }

    fn start_container<'a>(
        &'a self,
        uid: &'a Uid,
        spec: ContainerSpec,
    ) -> BoxFuture<'a, Result<ContainerInstance, BackendError>> {
        let (inner, uid) = (Arc::clone(&self.inner), uid.clone());
        self.inner.owned(async move { inner.start_container(&uid, spec).await })
    }

    fn signal<'a>(&'a self, uid: &'a Uid, container: &'a str, signal: i32) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.inner.signal(uid, container, signal))
    }

    fn kill<'a>(&'a self, uid: &'a Uid, container: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.inner.kill(uid, container))
    }

    fn exec<'a>(
        &'a self,
        uid: &'a Uid,
        container: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<ExecOutcome, BackendError>> {
        Box::pin(self.inner.exec(uid, container, command, timeout))
    }

    fn connect(&self, address: SocketAddr, timeout: Duration) -> BoxFuture<'_, Result<TcpStream, BackendError>> {
        Box::pin(self.inner.connect(address, timeout))
    }

    fn remove<'a>(&'a self, uid: &'a Uid) -> BoxFuture<'a, Result<(), BackendError>> {
        let (inner, uid) = (Arc::clone(&self.inner), uid.clone());
        self.inner.owned(async move { inner.remove(&uid).await })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.changed.notified())
    }
}
