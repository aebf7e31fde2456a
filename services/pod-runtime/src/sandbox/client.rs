//! The runtime's calls to the shims.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::record::PodDir;
use super::wire::{self, Lines, ShimReply, ShimRequest};

/// A connection to a shim.
pub(crate) struct Connection {
    stream: UnixStream,
    lines: Lines,
}

impl Connection {
    /// Connects to the shim of a pod; fails when none listens.
    pub(crate) async fn open(pod: &PodDir) -> io::Result<Self> {
        let directory = File::open(pod.path())?;
        let path = format!("/proc/self/fd/{}/shim.sock", directory.as_fd().as_raw_fd());
        let stream = UnixStream::connect(path).await?;
        Ok(Self { stream, lines: Lines::default() })
    }

    /// The connection that came with a new shim.
    pub(crate) fn first(descriptor: OwnedFd) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(descriptor);
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, lines: Lines::default() })
    }

    /// Asks.
    pub(crate) async fn send(&mut self, request: &ShimRequest) -> io::Result<()> {
        self.stream.write_all(&wire::line(request)?).await
    }

    /// The next reply; an error when the shim is gone.
    pub(crate) async fn receive(&mut self) -> io::Result<ShimReply> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = self.lines.next()? {
                return Ok(reply);
            }
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the pod's shim is gone"));
            }
            self.lines.push(&buffer[..count])?;
        }
    }
}

/// Asks one thing of a pod's shim.
pub(crate) async fn call(pod: &PodDir, request: &ShimRequest, timeout: Duration) -> io::Result<ShimReply> {
    let ask = async {
        let mut connection = Connection::open(pod).await?;
        connection.send(request).await?;
        connection.receive().await
    };
    tokio::time::timeout(timeout, ask)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "the pod's shim does not answer")))
}
