//! The operations on sandboxes.

mod containers;
mod lifetime;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Uid;
use futures::future::BoxFuture;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::address::PodNetwork;
use super::client::Connection;
use super::node::{Node, blocking};
use super::record::{self, Isolation, PodDir};
use super::wire::{AnchorRequest, ShimRequest};
use super::{census, machine};
use crate::backend::{BackendError, Capabilities, SandboxSpec, SandboxState};

/// How long a shim may take to kill and record; a full disk makes it wait.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

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

/// Whether a text from outside may name a file.
fn is_plain(text: &str) -> bool {
    const LENGTH_MAX: usize = 128;
    (1..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
