//! The operations on sandboxes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Uid;
use futures::future::BoxFuture;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::address::PodNetwork;
use super::client::{self, Connection};
use super::node::{Node, blocking};
use super::record::{self, Isolation, PodDir, SandboxRecord};
use super::wire::{AnchorRequest, ShimReply, ShimRequest};
use super::{anchor, census, machine};
use crate::backend::{
    BackendError, Capabilities, ContainerInstance, ContainerSpec, ExecOutcome, SandboxSpec, SandboxState,
};

/// How long a shim may take to bring up its network and answer. It takes some 10 ms on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a container's start may take: putting its tree together takes some 10 ms, a slow file system longer.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a shim may take to kill and record; a full disk makes it wait.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a shim may take for anything else.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What operations work on.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) state: PathBuf,
    pub(crate) helper: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) network: PodNetwork,
    pub(crate) isolation: Isolation,
    pub(crate) capabilities: Capabilities,
    pub(crate) node: Option<Node>,
    pub(crate) lock: File,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) capabilities: Capabilities,
    pub(crate) node: Option<Node>,
    pub(crate) changed: Arc<Notify>,
    state: PathBuf,
    helper: PathBuf,
    program: PathBuf,
    masked: Vec<PathBuf>,
    network: PodNetwork,
    isolation: Isolation,
    /// Held while a pod is checked against its predecessors and given an address.
    admission: tokio::sync::Mutex<HashSet<Uid>>,
    /// One change of a pod's sandbox at a time.
    pods: Mutex<HashMap<Uid, Arc<tokio::sync::Mutex<()>>>>,
    watched: Arc<Mutex<HashSet<Uid>>>,
    watching: CancellationToken,
    _stop: DropGuard,
    _lock: File,
}

impl Inner {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let watching = CancellationToken::new();
        Arc::new(Self {
            capabilities: parts.capabilities,
            node: parts.node,
            changed: Arc::new(Notify::new()),
            state: parts.state,
            helper: parts.helper,
            program: parts.program,
            masked: parts.masked,
            network: parts.network,
            isolation: parts.isolation,
            admission: tokio::sync::Mutex::new(HashSet::new()),
            pods: Mutex::new(HashMap::new()),
            watched: Arc::new(Mutex::new(HashSet::new())),
            _stop: watching.clone().drop_guard(),
            watching,
            _lock: parts.lock,
        })
    }

    /// Runs work to its end whether or not anyone still waits for it.
    pub(crate) fn owned<'a, T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, BackendError>> {
        // Bare: a start or an end that was begun is finished, however the caller fares; each has time limits inside.
        let task = tokio::spawn(work);
        Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(machine("sandbox operation".into())(io::Error::other(error))))
        })
    }

    /// Follows the pods that are alive.
    pub(crate) async fn adopt(&self) -> Result<(), BackendError> {
        for sandbox in self.list().await? {
            if sandbox.alive {
                self.watch(&sandbox.spec.uid);
            }
        }
        Ok(())
    }

    fn directory(&self, uid: &Uid) -> Result<PodDir, BackendError> {
        if is_plain(&uid.0) {
            return Ok(PodDir::new(self.state.join("pods").join(&uid.0)));
        }
        Err(BackendError::NoSandbox { uid: uid.clone() })
    }

    pub(crate) async fn list(&self) -> Result<Vec<SandboxState>, BackendError> {
        let (found, unclear) = self.census().await?;
        for (name, error) in unclear {
            tracing::warn!(pod = name, %error, "state of a pod cannot be told");
        }
        Ok(found)
    }

    async fn census(&self) -> Result<Census, BackendError> {
        let pods = self.state.join("pods");
        blocking(move || census_of(&pods)).await.map_err(machine("list of sandboxes".into()))
    }

    pub(crate) async fn state(&self, uid: &Uid) -> Result<SandboxState, BackendError> {
        let pod = self.directory(uid)?;
        let found = blocking(move || census::examine(&pod)).await;
        found
            .map_err(machine(format!("state of pod {uid}")))?
            .ok_or_else(|| BackendError::NoSandbox { uid: uid.clone() })
    }

    pub(crate) async fn ensure_sandbox(&self, spec: SandboxSpec) -> Result<SandboxState, BackendError> {
        let pod = self.directory(&spec.uid).map_err(|_| BackendError::CannotRun {
            reason: "CreateContainerConfigError",
            message: format!("uid {:?} cannot name a directory", spec.uid.0),
        })?;
        let turn = self.turn(&spec.uid);
        let _turn = turn.lock().await;
        match self.state(&spec.uid).await {
            Ok(state) if state.alive => {
                self.watch(&spec.uid);
                return Ok(state);
            }
            Ok(_) | Err(BackendError::NoSandbox { .. }) => {}
            Err(error) => return Err(error),
        }
        self.admit(&pod, &spec).await?;
        let begun = self.begin(&pod).await;
        self.admission.lock().await.remove(&spec.uid);
        begun.map_err(machine(format!("sandbox of pod {}", spec.name)))?;
        self.watch(&spec.uid);
        self.state(&spec.uid).await
    }

    /// Makes sure that no other incarnation lives or is about to, then writes down the sandbox with its address.
    async fn admit(&self, pod: &PodDir, spec: &SandboxSpec) -> Result<(), BackendError> {
        let mut beginning = self.admission.lock().await;
        let (sandboxes, unclear) = self.census().await?;
        if let Some((name, error)) = unclear.into_iter().next() {
            // It might be this pod's predecessor, and alive.
            return Err(machine(format!("state of pod {name}, needed before {} starts", spec.name))(error));
        }
        let rival = sandboxes.iter().find(|other| {
            let same = (&other.spec.namespace, &other.spec.name) == (&spec.namespace, &spec.name);
            same && other.spec.uid != spec.uid && (other.alive || beginning.contains(&other.spec.uid))
        });
        if let Some(rival) = rival {
            return Err(BackendError::PredecessorAlive { name: spec.name.clone(), uid: rival.spec.uid.clone() });
        }
        let write = {
            let (pod, spec, state) = (pod.clone(), spec.clone(), self.state.clone());
            let (network, isolation) = (self.network, self.isolation);
            let (program, masked) = (self.program.clone(), self.masked.clone());
            move || {
                let ip = match pod.sandbox() {
                    Ok(record) => record.ip,
                    Err(_) => next_address(&state, &network, &sandboxes)?,
                };
                fs::create_dir_all(pod.path())?;
                pod.write_sandbox(&SandboxRecord {
                    version: record::VERSION,
                    spec,
                    ip,
                    prefix_length: network.prefix_length(),
                    gateway: network.gateway(),
                    isolation,
                    program,
                    masked,
                })
            }
        };
        blocking(write).await.map_err(machine(format!("record of pod {}", spec.name)))?;
        beginning.insert(spec.uid.clone());
        Ok(())
    }

    /// Starts the shim and waits until its sandbox is up.
    async fn begin(&self, pod: &PodDir) -> io::Result<()> {
        let first = match &self.node {
            Some(node) => {
                let request = AnchorRequest::Shim { directory: pod.path().to_owned() };
                let (_, mut sockets) = node.call(request).await?;
                sockets.pop().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no connection to the shim"))?
            }
            None => {
                let (command, socket) = anchor::shim_command(&self.helper, pod.path())?;
                // It outlives us; if it does not, the runtime collects it.
                drop(tokio::process::Command::from(command).spawn()?);
                socket.into()
            }
        };
        let answer = async { Connection::first(first)?.receive().await };
        match tokio::time::timeout(START_TIMEOUT, answer).await {
            Ok(Ok(ShimReply::Hello { .. })) => Ok(()),
            Ok(Ok(ShimReply::Error { message })) => Err(io::Error::other(message)),
            Ok(Ok(other)) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the shim said {other:?}"))),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let pod = pod.clone();
                blocking(move || census::force_end(&pod)).await?;
                Err(io::Error::new(io::ErrorKind::TimedOut, "the pod's shim did not come up"))
            }
        }
    }

    pub(crate) async fn start_container(
        &self,
        uid: &Uid,
        spec: ContainerSpec,
    ) -> Result<ContainerInstance, BackendError> {
        let invalid = |message: String| BackendError::CannotRun { reason: "CreateContainerConfigError", message };
        if !is_plain(&spec.name) {
            return Err(invalid(format!("container name {:?} cannot name a directory", spec.name)));
        }
        if spec.command.is_empty() {
            return Err(invalid("no command".into()));
        }
        if spec
            .command
            .iter()
            .chain(spec.env.iter().flat_map(|(name, value)| [name, value]))
            .any(|text| text.contains('\0'))
        {
            return Err(invalid("command or environment holds a NUL byte".into()));
        }
        if !self.capabilities.mounts
            && let Some(mount) = spec.mounts.first()
        {
            return Err(invalid(format!("{} cannot be mounted on this machine", mount.target.display())));
        }
        let pod = self.directory(uid)?;
        let (name, instance) = (spec.name.clone(), spec.instance);
        self.call(uid, &name, &ShimRequest::Start { spec: Box::new(spec) }, CONTAINER_TIMEOUT).await?;
        let found = {
            let name = name.clone();
            blocking(move || pod.instance(&name, instance)).await
        };
        found.map_err(machine(format!("state of container {name}")))?.ok_or_else(|| not_running(uid, &name))
    }

    pub(crate) async fn signal(&self, uid: &Uid, container: &str, signal: i32) -> Result<(), BackendError> {
        let request = ShimRequest::Signal { container: container.into(), signal };
        self.call(uid, container, &request, CALL_TIMEOUT).await.map(drop)
    }

    pub(crate) async fn kill(&self, uid: &Uid, container: &str) -> Result<(), BackendError> {
        let request = ShimRequest::Kill { container: container.into() };
        match self.call(uid, container, &request, KILL_TIMEOUT).await {
            Ok(_) => Ok(()),
            // With its shim the container died too; that is proven here.
            Err(error) => match self.state(uid).await {
                Ok(state) if !state.alive => Ok(()),
                _ => Err(error),
            },
        }
    }

    pub(crate) async fn exec(
        &self,
        uid: &Uid,
        container: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecOutcome, BackendError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let request = ShimRequest::Exec { container: container.into(), command, timeout_ms };
        match self.call(uid, container, &request, timeout.saturating_add(CALL_TIMEOUT)).await? {
            ShimReply::Executed { exit_code, output } => Ok(ExecOutcome::Exited { exit_code, output }),
            ShimReply::TimedOut => Ok(ExecOutcome::TimedOut),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<TcpStream, BackendError> {
        let connect = async {
            let Some(node) = &self.node else { return TcpStream::connect(address).await };
            let (_, mut sockets) = node.call(AnchorRequest::Socket).await?;
            let socket = sockets.pop().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no socket"))?;
            TcpSocket::from_std_stream(std::net::TcpStream::from(socket)).connect(address).await
        };
        tokio::time::timeout(timeout, connect)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
            .map_err(machine(format!("connect to {address}")))
    }

    pub(crate) async fn remove(&self, uid: &Uid) -> Result<(), BackendError> {
        let pod = self.directory(uid)?;
        let turn = self.turn(uid);
        let _turn = turn.lock().await;
        let removed = self.end(&pod).await;
        removed.map_err(machine(format!("removal of pod {uid}")))?;
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        Ok(())
    }

    async fn end(&self, pod: &PodDir) -> io::Result<()> {
        if pod.is_locked()? {
            let asked = client::call(pod, &ShimRequest::End, KILL_TIMEOUT).await;
            let pod = pod.clone();
            blocking(move || if asked.is_ok() { census::wait_for_end(&pod) } else { census::force_end(&pod) }).await?;
        }
        let (pod, pods) = (pod.clone(), self.state.join("pods"));
        blocking(move || {
            if census::examine(&pod)?.is_some_and(|state| state.alive) {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the pod's shim still holds its lock"));
            }
            discard(&pod, &pods)
        })
        .await
    }

    async fn call(
        &self,
        uid: &Uid,
        container: &str,
        request: &ShimRequest,
        timeout: Duration,
    ) -> Result<ShimReply, BackendError> {
        let pod = self.directory(uid)?;
        let reply = match client::call(&pod, request, timeout).await {
            Ok(reply) => reply,
            Err(_) if !pod.path().is_dir() => return Err(BackendError::NoSandbox { uid: uid.clone() }),
            Err(error) => return Err(machine(format!("container {container} of pod {uid}"))(error)),
        };
        match reply {
            ShimReply::NotRunning => Err(not_running(uid, container)),
            ShimReply::CannotRun { reason, message } => {
                let reason = match reason.as_str() {
                    "CreateContainerError" => "CreateContainerError",
                    _ => "RunContainerError",
                };
                Err(BackendError::CannotRun { reason, message })
            }
            ShimReply::Error { message } => {
                Err(machine(format!("container {container} of pod {uid}"))(io::Error::other(message)))
            }
            reply => Ok(reply),
        }
    }

    fn turn(&self, uid: &Uid) -> Arc<tokio::sync::Mutex<()>> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pods.entry(uid.clone()).or_default())
    }

    /// Tells of every change of a pod until its shim is gone.
    fn watch(&self, uid: &Uid) {
        let Ok(pod) = self.directory(uid) else { return };
        if !self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.clone()) {
            return;
        }
        let (uid, changed, watched) = (uid.clone(), Arc::clone(&self.changed), Arc::clone(&self.watched));
        let stop = self.watching.clone();
        // Bare: ends with the shim it follows or with the backend.
        tokio::spawn(async move {
            let follow = async {
                let mut connection = Connection::open(&pod).await?;
                connection.send(&ShimRequest::Watch).await?;
                loop {
                    connection.receive().await?;
                    changed.notify_one();
                }
            };
            let outcome: Option<io::Result<()>> = stop.run_until_cancelled(follow).await;
            watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
            if let Some(Err(error)) = outcome {
                tracing::debug!(pod = %uid, %error, "shim no longer followed");
            }
            changed.notify_one();
        });
    }
}

/// Sandboxes, and the directories of which nothing certain can be said.
type Census = (Vec<SandboxState>, Vec<(String, io::Error)>);

fn census_of(pods: &std::path::Path) -> io::Result<Census> {
    let (mut found, mut unclear) = (Vec::new(), Vec::new());
    for name in record::names(pods)?.into_iter().filter(|name| is_plain(name)) {
        let pod = PodDir::new(pods.join(&name));
        match census::examine(&pod) {
            Ok(state) => found.extend(state),
            // Removed while we looked.
            Err(_) if !pod.path().exists() => {}
            Err(error) => unclear.push((name, error)),
        }
    }
    Ok((found, unclear))
}

/// The next address that no sandbox has; remembered before it is used, so that it rests after the sandbox is gone.
fn next_address(state: &std::path::Path, network: &PodNetwork, sandboxes: &[SandboxState]) -> io::Result<Ipv4Addr> {
    let memory = state.join("node/address.json");
    let last = match record::read(&memory) {
        Ok(last) => Some(last),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let taken: BTreeSet<Ipv4Addr> = sandboxes
        .iter()
        .filter_map(|sandbox| match sandbox.ip {
            std::net::IpAddr::V4(ip) => Some(ip),
            std::net::IpAddr::V6(_) => None,
        })
        .collect();
    let address = network
        .allocate(&taken, last)
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "every address of the pod network is taken"))?;
    record::write(&memory, &address)?;
    Ok(address)
}

/// Removes a pod's directory: out of the way in one step, then piece by piece.
fn discard(pod: &PodDir, pods: &std::path::Path) -> io::Result<()> {
    let Some(name) = pod.path().file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let away = pods.join(format!(".removed-{name}"));
    match fs::rename(pod.path(), &away) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    File::open(pods)?.sync_all()?;
    fs::remove_dir_all(away)
}

fn not_running(uid: &Uid, container: &str) -> BackendError {
    BackendError::NotRunning { uid: uid.clone(), container: container.to_owned() }
}

fn unexpected(reply: &ShimReply) -> BackendError {
    let source = io::Error::new(io::ErrorKind::InvalidData, format!("the shim said {reply:?}"));
    machine("answer of a shim".into())(source)
}

/// Whether a text from outside may name a file.
fn is_plain(text: &str) -> bool {
    const LENGTH_MAX: usize = 128;
    (1..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
