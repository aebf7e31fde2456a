//! One connection to a shim. Never waited for: what it does not read is kept, up to a bound.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::sandbox::wire::{self, Filled, Lines, ShimReply, ShimRequest};

/// Bytes kept for a caller that does not read. Replies are small; a watcher this far behind is gone.
const OUTPUT_MAX: usize = 1024 * 1024;

/// A connected caller.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    lines: Lines,
    output: Vec<u8>,
    /// Whether it wants a line for every change.
    pub(super) watching: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, lines: Lines::default(), output: Vec::new(), watching: false })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn send(&mut self, reply: &ShimReply) -> io::Result<()> {
        self.output.extend(wire::line(reply)?);
        if self.output.len() > OUTPUT_MAX {
            return Err(io::Error::other("the caller does not read"));
        }
        self.flush()
    }

    /// Sends at once, or fails.
    pub(super) fn send_with(&mut self, reply: &ShimReply, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.flush()?;
        wire::send_with(&self.stream, reply, descriptors)
    }

    /// Writes what it takes; gives the requests that have come, and whether the connection is still open.
    pub(super) fn receive(&mut self) -> io::Result<(Vec<ShimRequest>, bool)> {
        self.flush()?;
        let filled = wire::fill(&self.stream, &mut self.lines)?;
        let mut requests = Vec::new();
        while let Some(request) = self.lines.next()? {
            requests.push(request);
        }
        Ok((requests, filled != Filled::End))
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
