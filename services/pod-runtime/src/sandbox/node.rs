//! The runtime's hold on the node: finds the anchor that lives, starts one where none does.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::anchor::AnchorSetup;
use super::record::{self, PodDir};
use super::wire::{self, AnchorReply, AnchorRequest, ShimReply, ShimRequest};

/// How long the anchor may take for anything; each of its answers takes well under a millisecond.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of the anchor's log kept when a new anchor starts.
const LOG_MAX: u64 = 1024 * 1024;

/// The node as the runtime sees it.
#[derive(Debug)]
pub(crate) struct Node {
    helper: PathBuf,
    setup: AnchorSetup,
    pods: PathBuf,
    /// One start at a time.
    starting: tokio::sync::Mutex<()>,
}

impl Node {
    /// Finds or starts the anchor.
    pub(crate) async fn open(helper: PathBuf, setup: AnchorSetup, pods: PathBuf) -> io::Result<Self> {
        let node = Self { helper, setup, pods, starting: tokio::sync::Mutex::new(()) };
        let (reply, _) = node.call(AnchorRequest::Hello).await?;
        node.check(&reply)?;
        Ok(node)
    }

    /// Asks the anchor; starts it first where there is none.
    pub(crate) async fn call(&self, request: AnchorRequest) -> io::Result<(AnchorReply, Vec<OwnedFd>)> {
        match self.ask(request.clone()).await {
            Err(error) if is_absent(&error) => {}
            other => return other,
        }
        let starting = self.starting.lock().await;
        // Another caller may have started it meanwhile.
        match self.ask(AnchorRequest::Hello).await {
            Ok(_) => {}
            Err(error) if is_absent(&error) => self.start().await?,
            Err(error) => return Err(error),
        }
        drop(starting);
        self.ask(request).await
    }

    /// Ends the anchor, if there is one and it has no pods.
    pub(crate) async fn end(&self) -> io::Result<()> {
        match self.ask(AnchorRequest::End).await {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn ask(&self, request: AnchorRequest) -> io::Result<(AnchorReply, Vec<OwnedFd>)> {
        let directory = self.setup.directory.clone();
        let (reply, descriptors) = blocking(move || {
            let stream = wire::in_directory(&directory, "anchor.sock", |path| UnixStream::connect(path))?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            wire::send(&stream, &request)?;
            wire::receive_with::<AnchorReply>(&stream)
        })
        .await?;
        match reply {
            AnchorReply::Error { message } => Err(io::Error::other(message)),
            reply => Ok((reply, descriptors)),
        }
    }

    fn check(&self, reply: &AnchorReply) -> io::Result<()> {
        let AnchorReply::Hello { version, gateway, prefix_length, .. } = reply else {
            return Err(io::Error::new(ErrorKind::InvalidData, "the anchor gives no account of itself"));
        };
        if *version != wire::VERSION {
            let message = format!("the anchor speaks version {version}, this is version {}", wire::VERSION);
            return Err(io::Error::new(ErrorKind::Unsupported, message));
        }
        if (*gateway, *prefix_length) != (self.setup.gateway, self.setup.prefix_length) {
            let message = format!(
                "pods run in network {gateway}/{prefix_length}; end them before changing it to {}/{}",
                self.setup.gateway, self.setup.prefix_length
            );
            return Err(io::Error::new(ErrorKind::AddrInUse, message));
        }
        Ok(())
    }

    /// Starts an anchor: in the namespaces that the living pods hang on, if there are any, otherwise in new ones.
    async fn start(&self) -> io::Result<()> {
        let (helper, setup, pods) = (self.helper.clone(), self.setup.clone(), self.pods.clone());
        let (ours, theirs) = UnixStream::pair()?;
        let log = open_log(&setup.directory)?;
        let child = tokio::process::Command::new(helper)
            .arg("node-enter")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        // It outlives us; if it does not, the runtime collects it.
        drop(child);
        let reply = blocking(move || {
            let namespaces = living_namespaces(&pods)?;
            let descriptors: Vec<_> = namespaces.iter().map(AsFd::as_fd).collect();
            ours.set_read_timeout(Some(TIMEOUT))?;
            wire::send_with(&ours, &setup, &descriptors)?;
            Ok(wire::receive_with::<AnchorReply>(&ours)?.0)
        })
        .await
        .map_err(|error| {
            io::Error::new(error.kind(), format!("the anchor did not come up, see anchor.log: {error}"))
        })?;
        match reply {
            AnchorReply::Error { message } => Err(io::Error::other(message)),
            reply => self.check(&reply),
        }
    }
}

/// Whether nobody listens, or who did died before it answered.
fn is_absent(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}

/// The node's namespaces as a living shim holds them; none where no pod lives.
fn living_namespaces(pods: &Path) -> io::Result<Vec<OwnedFd>> {
    for name in record::names(pods)? {
        let pod = PodDir::new(pods.join(name));
        if !pod.is_locked()? {
            continue;
        }
        let stream = wire::in_directory(pod.path(), "shim.sock", |path| UnixStream::connect(path))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        wire::send(&stream, &ShimRequest::Node)?;
        let (reply, namespaces) = wire::receive_with::<ShimReply>(&stream)?;
        if matches!(reply, ShimReply::Done) && !namespaces.is_empty() {
            return Ok(namespaces);
        }
    }
    Ok(Vec::new())
}

fn open_log(directory: &Path) -> io::Result<File> {
    let path = directory.join("anchor.log");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_MAX) {
        fs::remove_file(&path)?;
    }
    File::options().create(true).append(true).open(path)
}

/// Runs short work with files and sockets where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
