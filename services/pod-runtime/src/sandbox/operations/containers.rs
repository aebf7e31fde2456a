//! What is asked of the shim of a running sandbox.

use std::io;
use std::time::Duration;

use domain::Uid;

use super::{Inner, KILL_TIMEOUT, is_plain};
use crate::backend::{BackendError, ContainerInstance, ContainerSpec, ExecOutcome};
use crate::sandbox::client;
use crate::sandbox::machine;
use crate::sandbox::node::blocking;
use crate::sandbox::wire::{ShimReply, ShimRequest};

/// How long a container's start may take: putting its tree together takes some 10 ms, a slow file system longer.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a shim may take for anything else.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl Inner {
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
}

fn not_running(uid: &Uid, container: &str) -> BackendError {
    BackendError::NotRunning { uid: uid.clone(), container: container.to_owned() }
}

fn unexpected(reply: &ShimReply) -> BackendError {
    let source = io::Error::new(io::ErrorKind::InvalidData, format!("the shim said {reply:?}"));
    machine("answer of a shim".into())(source)
}
