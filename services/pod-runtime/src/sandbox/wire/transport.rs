//! Messages on a stream: one line each, with file descriptors beside a line where a socket is handed over.

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
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest line. A container's environment and arguments must fit; the kernel's own limit for both is 2 MiB by default.
const LINE_MAX: usize = 4 * 1024 * 1024;

/// File descriptors that come with one line: the two sockets of the name server are the most.
const DESCRIPTORS_MAX: usize = 2;

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
    use crate::sandbox::wire::{AnchorReply, AnchorRequest};

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
