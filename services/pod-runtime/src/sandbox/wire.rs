//! How the runtime, the anchor, the shims and their stages talk: one JSON object per line over unix sockets, with file
//! descriptors beside a line where a socket is handed over.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::ContainerSpec;

/// Version of the messages below. A runtime refuses an anchor or shim of another version and says so.
pub(crate) const VERSION: u32 = 1;

/// Longest line. A container's environment and arguments must fit; the kernel's own limit for both is 2 MiB by default.
pub(crate) const LINE_MAX: usize = 4 * 1024 * 1024;

/// File descriptors that come with one line: the two sockets of the name server are the most.
pub(crate) const DESCRIPTORS_MAX: usize = 2;

/// Asked of the anchor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum AnchorRequest {
    /// Who are you?
    Hello,
    /// An unconnected TCP socket inside the node's network.
    Socket,
    /// A UDP and a listening TCP socket on port 53 of the bridge.
    NameServer,
    /// A shim for a pod directory; the answer carries its first connection.
    Shim {
        /// The pod's directory.
        directory: std::path::PathBuf,
    },
    /// End, if no pod is left.
    End,
}

/// Answered by the anchor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "snake_case")]
pub(crate) enum AnchorReply {
    /// It is this.
    Hello {
        /// Its message version.
        version: u32,
        /// Its process number.
        pid: u32,
        /// Address of the bridge.
        gateway: std::net::Ipv4Addr,
        /// Length of the network's prefix in bits.
        prefix_length: u8,
    },
    /// Done; descriptors come with it where asked for.
    Done,
    /// Refused, in words.
    Error {
        /// In words.
        message: String,
    },
}

/// Asked of a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum ShimRequest {
    /// Who are you? Also answered when the sandbox has come up.
    Hello,
    /// Start a container instance; answered when it runs or cannot.
    Start {
        /// What to run.
        spec: Box<ContainerSpec>,
    },
    /// Signal the program.
    Signal {
        /// Which container.
        container: String,
        /// Signal number.
        signal: i32,
    },
    /// Kill everything; answered when the exit is recorded.
    Kill {
        /// Which container.
        container: String,
    },
    /// Run a command; answered when it has ended. Closing the connection kills it.
    Exec {
        /// Which container.
        container: String,
        /// Program and arguments.
        command: Vec<String>,
        /// After so many milliseconds it is killed.
        timeout_ms: u64,
    },
    /// Tell of every change by a line; the end of the connection tells that the shim died.
    Watch,
    /// The node's network namespace, and its user namespace where there is one, as descriptors.
    Node,
    /// Kill everything, record it, and end.
    End,
}

/// Answered by a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "snake_case")]
pub(crate) enum ShimReply {
    /// It is this.
    Hello {
        /// Its message version.
        version: u32,
        /// Its process number.
        pid: u32,
    },
    /// Done.
    Done,
    /// Something changed.
    Changed,
    /// No such container, or it does not run.
    NotRunning,
    /// The command cannot be run.
    CannotRun {
        /// `RunContainerError` or `CreateContainerError`.
        reason: String,
        /// In words.
        message: String,
    },
    /// The command ended.
    Executed {
        /// 0 to 255; 128 + n for signal n.
        exit_code: i32,
        /// The beginning of its output.
        output: String,
    },
    /// The command took too long and was killed.
    TimedOut,
    /// The machine refused, in words.
    Error {
        /// In words.
        message: String,
    },
}

/// Told by the stages of a container to its shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum StageEvent {
    /// The next stage exists, under this number on the machine.
    Spawned {
        /// Process number.
        pid: u32,
    },
    /// The program runs.
    Started,
    /// It cannot be run.
    Failed {
        /// `RunContainerError` or `CreateContainerError`.
        reason: String,
        /// In words.
        message: String,
    },
    /// The program ended.
    Exited {
        /// 0 to 255; 128 + n for signal n.
        exit_code: i32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
}

/// Told to the first process of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum InitOrder {
    /// Put the container together and run it.
    Run(Box<InitSpec>),
    /// Signal the program.
    Signal {
        /// Signal number.
        signal: i32,
    },
    /// Kill everything below.
    Kill,
}

/// What the first process of a container must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InitSpec {
    /// What to run.
    pub(crate) container: ContainerSpec,
    /// What separates the pod from the machine.
    pub(crate) isolation: super::record::Isolation,
    /// Where the root is put together.
    pub(crate) root: std::path::PathBuf,
    /// A program that is there at its own path.
    pub(crate) program: std::path::PathBuf,
    /// Directories to hide.
    pub(crate) masked: Vec<std::path::PathBuf>,
}

/// What the last stage before the program must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProgramSpec {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Working directory.
    pub(crate) working_dir: std::path::PathBuf,
    /// User id.
    pub(crate) user: Option<u32>,
    /// Group id.
    pub(crate) group: Option<u32>,
    /// Further group ids.
    pub(crate) supplemental_groups: Vec<u32>,
    /// Whether other user ids need a nested user namespace.
    pub(crate) one_uid: bool,
    /// Process on the machine whose mount namespace to join first.
    pub(crate) join_mounts_of: Option<u32>,
}

/// Collects bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: VecDeque<u8>,
    searched: usize,
}

impl Lines {
    /// Adds what was read; fails when a line grows beyond [`LINE_MAX`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend(bytes);
        if self.bytes.len() > 2 * LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
        }
        Ok(())
    }

    /// The next whole line as a message.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let found = self.bytes.iter().skip(self.searched).position(|byte| *byte == b'\n');
        let Some(end) = found.map(|position| position + self.searched) else {
            self.searched = self.bytes.len();
            return if self.searched > LINE_MAX {
                Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"))
            } else {
                Ok(None)
            };
        };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        self.searched = 0;
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

/// A message as a line.
pub(crate) fn line<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    if bytes.len() > LINE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too long"));
    }
    Ok(bytes)
}

/// Writes a message.
pub(crate) fn send<T: Serialize>(mut stream: &UnixStream, message: &T) -> io::Result<()> {
    stream.write_all(&line(message)?)
}

/// Reads one message from a blocking stream that carries nothing after it; none at its end.
pub(crate) fn receive<T: DeserializeOwned>(stream: &UnixStream, lines: &mut Lines) -> io::Result<Option<T>> {
    loop {
        if let Some(message) = lines.next()? {
            return Ok(Some(message));
        }
        if fill(stream, lines)? == Filled::End {
            return Ok(None);
        }
    }
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Some bytes.
    Some,
    /// Nothing now.
    Nothing,
    /// The end.
    End,
}

/// Reads once into `lines`.
pub(crate) fn fill(mut stream: &UnixStream, lines: &mut Lines) -> io::Result<Filled> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Filled::End),
            Ok(count) => {
                lines.push(&buffer[..count])?;
                return Ok(Filled::Some);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Filled::Nothing),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Filled::End),
            Err(error) => return Err(error),
        }
    }
}

/// Writes a message with descriptors beside it.
pub(crate) fn send_with<T: Serialize>(
    stream: &UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = line(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    (&*stream).write_all(&bytes[sent..])
}

/// Reads one message and the descriptors that came with it.
pub(crate) fn receive_with<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut lines = Lines::default();
    let mut descriptors = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let count = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        lines.push(&buffer[..count])?;
        if let Some(message) = lines.next()? {
            return Ok((message, descriptors));
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Calls `act` with a short path to a socket in `directory`: the address of a unix socket has 108 bytes only, a state
/// directory may be longer.
pub(crate) fn in_directory<T>(directory: &Path, name: &str, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let directory = File::open(directory)?;
    act(Path::new(&format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_cuts() {
        let text = b"{\"op\":\"hello\"}\n{\"op\":\"socket\"}\n{\"op\":\"en";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                lines.push(part).expect("short");
                while let Some(request) = lines.next::<AnchorRequest>().expect("valid") {
                    seen.push(request);
                }
            }
            assert!(matches!(seen[..], [AnchorRequest::Hello, AnchorRequest::Socket]), "cut at {cut}");
        }
    }

    #[test]
    fn descriptors_arrive_with_their_line() {
        let (left, right) = UnixStream::pair().expect("pair");
        let (mut far, near) = UnixStream::pair().expect("pair");
        send_with(&left, &AnchorReply::Done, &[near.as_fd()]).expect("send");
        drop(near);
        let (reply, descriptors) = receive_with::<AnchorReply>(&right).expect("receive");
        assert!(matches!(reply, AnchorReply::Done));
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).expect("one descriptor");
        UnixStream::from(descriptor).write_all(b"x").expect("write");
        let mut byte = [0];
        far.read_exact(&mut byte).expect("read");
        assert_eq!(&byte, b"x");
    }
}
