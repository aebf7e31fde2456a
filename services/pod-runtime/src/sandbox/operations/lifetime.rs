//! The beginning and the end of a sandbox.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Inner, KILL_TIMEOUT};
use crate::backend::{BackendError, SandboxSpec, SandboxState};
use crate::sandbox::address::PodNetwork;
use crate::sandbox::client::{self, Connection};
use crate::sandbox::node::blocking;
use crate::sandbox::record::{self, PodDir, SandboxRecord};
use crate::sandbox::wire::{AnchorRequest, ShimReply, ShimRequest};
use crate::sandbox::{anchor, census, machine};

/// How long a shim may take to bring up its network and answer. It takes some 10 ms on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Inner {
    /// Makes sure that no other incarnation lives or is about to, then writes down the sandbox with its address.
    pub(super) async fn admit(&self, pod: &PodDir, spec: &SandboxSpec) -> Result<(), BackendError> {
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
    pub(super) async fn begin(&self, pod: &PodDir) -> io::Result<()> {
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

    /// Ends the shim and with it everything of the pod, then removes the directory.
    pub(super) async fn end(&self, pod: &PodDir) -> io::Result<()> {
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
