//! The anchor: one small process that owns the node's network namespace, and as an ordinary user the user namespace
//! around it. It hands out sockets that live in there and starts the shims. It outlives the runtime.
//!
//! `node-enter` makes or joins the namespaces and becomes `node-anchor`: only a program executed inside a user
//! namespace is open to its owner, and only such a process can be re-entered by a later runtime.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use serde::{Deserialize, Serialize};

use super::wire::{self, AnchorReply, AnchorRequest};
use super::{identity, network, record};

/// How long a caller may take to say what it wants. Only the runtime calls, so this guards against its death midway.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What the anchor must know; the descriptors of an existing node come with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AnchorSetup {
    /// The node's state directory.
    pub(crate) directory: PathBuf,
    /// Address of the bridge.
    pub(crate) gateway: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub(crate) prefix_length: u8,
    /// Whether a user namespace surrounds the node.
    pub(crate) user_namespace: bool,
}

/// `node-enter`: stdin is a socket from which one [`AnchorSetup`] comes.
pub(crate) fn enter() -> io::Result<()> {
    nix::unistd::setsid()?;
    // A copy: the socket itself stays in place for the next program.
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (setup, namespaces) = wire::receive_with::<AnchorSetup>(&stream)?;
    match namespaces.as_slice() {
        [] if setup.user_namespace => {
            identity::enter_user_namespace(CloneFlags::CLONE_NEWNET, 0, 0)?;
        }
        [] => unshare(CloneFlags::CLONE_NEWNET)?,
        [network, user @ ..] => {
            for user in user {
                setns(user, CloneFlags::CLONE_NEWUSER)?;
            }
            setns(network, CloneFlags::CLONE_NEWNET)?;
        }
    }
    let error = Command::new("/proc/self/exe").arg("node-anchor").arg(serde_json::to_string(&setup)?).exec();
    Err(error)
}

/// `node-anchor`: stdin is the socket to answer on once the node is up.
pub(crate) fn main(setup: &str) -> io::Result<()> {
    let setup: AnchorSetup = serde_json::from_str(setup)?;
    let first = stdin_socket()?;
    let outcome = Anchor::set_up(setup);
    let (anchor, listener) = match outcome {
        Ok(parts) => parts,
        Err(error) => {
            wire::send(&first, &AnchorReply::Error { message: error.to_string() })?;
            return Err(error);
        }
    };
    wire::send(&first, &anchor.hello())?;
    drop(first);
    anchor.serve(&listener)
}

/// Takes the socket that the parent gave as stdin, and puts nothing in its place.
pub(crate) fn stdin_socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

struct Anchor {
    setup: AnchorSetup,
    signals: SignalFd,
    shims: usize,
    _lock: File,
}

impl Anchor {
    fn set_up(setup: AnchorSetup) -> io::Result<(Self, UnixListener)> {
        let lock = record::take_lock(&setup.directory.join("lock"))?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        network::run(network::set_up_node(setup.gateway, setup.prefix_length))?;
        let socket = setup.directory.join("anchor.sock");
        if let Err(error) = fs::remove_file(&socket)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = wire::in_directory(&setup.directory, "anchor.sock", |path| UnixListener::bind(path))?;
        Ok((Self { setup, signals, shims: 0, _lock: lock }, listener))
    }

    fn hello(&self) -> AnchorReply {
        AnchorReply::Hello {
            version: wire::VERSION,
            pid: std::process::id(),
            gateway: self.setup.gateway,
            prefix_length: self.setup.prefix_length,
        }
    }

    fn serve(mut self, listener: &UnixListener) -> io::Result<()> {
        loop {
            let mut set = [
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut set, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let called = set[0].any().unwrap_or_default();
            self.reap();
            if called {
                let (stream, _) = listener.accept()?;
                match self.answer(&stream) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => eprintln!("caller: {error}"),
                }
            }
        }
    }

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
            self.shims = self.shims.saturating_sub(1);
        }
    }

    /// Answers one request; false to end.
    fn answer(&mut self, stream: &UnixStream) -> io::Result<bool> {
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        let (request, _) = wire::receive_with::<AnchorRequest>(stream)?;
        if matches!(request, AnchorRequest::Hello) {
            wire::send(stream, &self.hello())?;
            return Ok(true);
        }
        let end = matches!(request, AnchorRequest::End);
        match self.act(request) {
            Ok(sockets) => {
                let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                wire::send_with(stream, &AnchorReply::Done, &descriptors)?;
                Ok(!end)
            }
            Err(error) => {
                wire::send(stream, &AnchorReply::Error { message: error.to_string() })?;
                Ok(true)
            }
        }
    }

    fn act(&mut self, request: AnchorRequest) -> io::Result<Vec<OwnedFd>> {
        match request {
            AnchorRequest::Hello => Ok(Vec::new()),
            AnchorRequest::Socket => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                Ok(vec![socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?])
            }
            AnchorRequest::NameServer => {
                let address = SocketAddrV4::new(self.setup.gateway, 53);
                Ok(vec![UdpSocket::bind(address)?.into(), TcpListener::bind(address)?.into()])
            }
            AnchorRequest::Shim { directory } => {
                let (mut command, socket) = shim_command(Path::new("/proc/self/exe"), &directory)?;
                command.spawn()?;
                self.shims += 1;
                Ok(vec![socket.into()])
            }
            AnchorRequest::End if self.shims > 0 => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{} pods are left", self.shims)))
            }
            AnchorRequest::End => Ok(Vec::new()),
        }
    }
}

/// How to start a shim for a pod directory, and its first connection.
pub(crate) fn shim_command(program: &Path, directory: &Path) -> io::Result<(Command, UnixStream)> {
    let log = File::options().create(true).append(true).open(directory.join("shim.log"))?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command
        .arg("pod-shim")
        .arg(directory)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok((command, ours))
}
