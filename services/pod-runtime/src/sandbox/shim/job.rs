//! What a shim runs: containers, and commands inside them. Both come into being through `container-launch` and are
//! over when their process has been reaped.

mod container;
mod exec;

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use rustix::fs::OFlags;

pub(super) use self::container::ContainerJob;
pub(super) use self::exec::ExecJob;
use crate::sandbox::init::Placement;
use crate::sandbox::log::Stream;
use crate::sandbox::process;
use crate::sandbox::record::PodDir;
use crate::sandbox::wire::{self, Filled, InitOrder, Lines, ShimReply, StageEvent};

/// Bytes read from one output per turn, so that a flood in one container does not starve the others.
const READ_MAX: usize = 64 * 1024;

/// Where the processes of a job are on their way.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// `container-launch`, until reaped.
    launch: Option<u32>,
    /// First process of the container, or the command; until reaped.
    pub(super) process: Option<u32>,
    /// To be sent when the process is there and is our child.
    order: Option<Vec<u8>>,
    /// To be killed as soon as there is something to kill.
    kill_wanted: bool,
    /// How the process ended.
    ended: Option<(i32, Option<i32>)>,
}

impl Placed {
    /// Process numbers that belong to the job and are not reaped.
    pub(super) fn known(&self) -> impl Iterator<Item = u32> {
        self.launch.into_iter().chain(self.process)
    }
}

/// Something that runs.
#[derive(Debug)]
pub(super) struct Job {
    /// Its processes.
    pub(super) placed: Placed,
    /// What it is.
    pub(super) kind: Kind,
    control: Option<UnixStream>,
    lines: Lines,
    stdout: Option<std::fs::File>,
    stderr: Option<std::fs::File>,
    failure: Option<(String, String)>,
}

/// What a job is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A container instance.
    Container(Box<ContainerJob>),
    /// A command.
    Exec(ExecJob),
}

impl Job {
    fn launch(placement: Placement, order: &impl serde::Serialize, kind: Kind) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = Command::new("/proc/self/exe")
            .arg("container-launch")
            .arg(placement.argument())
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().map(OwnedFd::from).map(unblock).transpose()?;
        let stderr = child.stderr.take().map(OwnedFd::from).map(unblock).transpose()?;
        let placed = Placed { launch: Some(child.id()), order: Some(wire::line(order)?), ..Placed::default() };
        Ok(Self { placed, kind, control: Some(ours), lines: Lines::default(), stdout, stderr, failure: None })
    }

    pub(super) fn control(&self) -> Option<BorrowedFd<'_>> {
        self.control.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let stdout = self.stdout.as_ref().map(|file| (Stream::Stdout, file.as_fd()));
        let stderr = self.stderr.as_ref().map(|file| (Stream::Stderr, file.as_fd()));
        stdout.into_iter().chain(stderr)
    }

    /// Takes what the stages tell; gives what callers must be told.
    pub(super) fn read_control(&mut self, directory: &PodDir) -> Vec<(u64, ShimReply)> {
        let mut replies = Vec::new();
        loop {
            match self.lines.next::<StageEvent>() {
                Ok(Some(event)) => self.handle(event, directory, &mut replies),
                Ok(None) => {
                    let Some(control) = &self.control else { return replies };
                    match wire::fill(control, &mut self.lines) {
                        Ok(Filled::Some) => {}
                        Ok(Filled::Nothing) => return replies,
                        Ok(Filled::End) | Err(_) => self.control = None,
                    }
                }
                Err(error) => {
                    eprintln!("stage: {error}");
                    self.control = None;
                }
            }
        }
    }

    fn handle(&mut self, event: StageEvent, directory: &PodDir, replies: &mut Vec<(u64, ShimReply)>) {
        match event {
            StageEvent::Spawned { pid } => {
                self.placed.process = Some(pid);
                self.send_order();
            }
            StageEvent::Started => {
                if let (Kind::Container(container), Some(init)) = (&mut self.kind, self.placed.process) {
                    container.running = true;
                    container.note_processes(directory, init);
                    replies.extend(container.start_waiters.drain(..).map(|waiter| (waiter, ShimReply::Done)));
                }
            }
            StageEvent::Failed { reason, message } => self.failure = Some((reason, message)),
            StageEvent::Exited { exit_code, signal } => {
                if let Kind::Container(container) = &mut self.kind {
                    container.exited = Some((exit_code, signal));
                }
            }
        }
    }

    /// Once the process is there and the launcher is gone, the process is our child and may begin.
    fn send_order(&mut self) {
        if self.placed.launch.is_some() || self.placed.process.is_none() {
            return;
        }
        let Some(order) = self.placed.order.take() else { return };
        if let Some(control) = &self.control {
            // Blocking: it may be larger than the socket's buffer, and the reader has nothing else to do.
            let sent = control
                .set_nonblocking(false)
                .and_then(|()| io::Write::write_all(&mut &*control, &order))
                .and_then(|()| control.set_nonblocking(true));
            if let Err(error) = sent {
                eprintln!("order: {error}");
            }
        }
    }

    fn read_launch(&mut self) {
        if let Some(control) = &self.control {
            let _ = wire::fill(control, &mut self.lines);
        }
        match self.lines.next::<StageEvent>() {
            Ok(Some(StageEvent::Spawned { pid })) => self.placed.process = Some(pid),
            Ok(Some(StageEvent::Failed { reason, message })) => self.failure = Some((reason, message)),
            other => eprintln!("launch said {other:?}"),
        }
    }

    /// Notes that a process was reaped.
    pub(super) fn reaped(&mut self, pid: u32, status: (i32, Option<i32>)) {
        if self.placed.launch == Some(pid) {
            self.placed.launch = None;
            // Its one line is in the socket by now.
            if self.placed.process.is_none() && self.failure.is_none() {
                self.read_launch();
            }
            if self.placed.process.is_none() {
                self.placed.ended = Some(status);
            } else {
                self.send_order();
                if self.placed.kill_wanted {
                    self.kill(true);
                }
            }
        } else if self.placed.process == Some(pid) {
            self.placed.process = None;
            self.placed.ended = Some(status);
        }
    }

    /// Whether no process of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.placed.ended.is_some()
    }

    /// Sends a signal to the program.
    pub(super) fn signal(&mut self, signal: i32) -> io::Result<()> {
        let Some(control) = &self.control else { return Ok(()) };
        wire::send(control, &InitOrder::Signal { signal })
    }

    /// Ends every process of it; the end itself comes by SIGCHLD.
    pub(super) fn kill(&mut self, own_processes: bool) {
        self.placed.kill_wanted = true;
        let Some(pid) = self.placed.process.map(process::nix_pid).filter(|_| self.placed.launch.is_none()) else {
            return;
        };
        let outcome = match (&self.kind, &self.control) {
            (Kind::Container(container), Some(control)) if !own_processes && container.running => {
                return if let Err(error) = wire::send(control, &InitOrder::Kill) {
                    eprintln!("kill: {error}");
                    let _ = kill(pid, Signal::SIGKILL);
                };
            }
            (Kind::Container(_), _) => kill(pid, Signal::SIGKILL),
            // A command leads a session of its own; before it does, it is alone.
            (Kind::Exec(_), _) => killpg(pid, Signal::SIGKILL).or_else(|_| kill(pid, Signal::SIGKILL)),
        };
        if let Err(error) = outcome {
            eprintln!("kill {pid}: {error}");
        }
    }

    /// Reads what a program wrote, as far as it is there and at most [`READ_MAX`].
    pub(super) fn read_output(&mut self, stream: Stream) -> bool {
        let file = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = file else { return false };
        let mut buffer = vec![0; READ_MAX];
        match open.read(&mut buffer) {
            Ok(0) => {
                *file = None;
                false
            }
            Ok(count) => {
                match &mut self.kind {
                    Kind::Container(container) => container.log.write(stream, &buffer[..count]),
                    Kind::Exec(exec) => exec.keep(&buffer[..count]),
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                eprintln!("output: {error}");
                *file = None;
                false
            }
        }
    }

    /// Writes down the end of a job that is over; gives what callers must be told. None where the end could not be
    /// written: it is then tried again.
    pub(super) fn finish(&mut self, directory: &PodDir) -> Option<Vec<(u64, ShimReply)>> {
        // No writer is left, save strays of a command without its own process namespace, which are not waited for.
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.read_output(stream) {}
        }
        let ended = self.placed.ended.unwrap_or_default();
        let failure = self.failure.clone();
        match &mut self.kind {
            Kind::Exec(exec) => Some(vec![exec.finish(ended.0, failure)]),
            Kind::Container(container) => container.finish(ended, failure, directory),
        }
    }
}

fn unblock(descriptor: OwnedFd) -> io::Result<std::fs::File> {
    rustix::fs::fcntl_setfl(&descriptor, OFlags::NONBLOCK)?;
    Ok(descriptor.into())
}
