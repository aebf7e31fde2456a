//! What a shim runs: containers, and commands inside them. Both come into being through `container-launch` and are
//! over when their process has been reaped.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use domain::Timestamp;
use nix::sys::signal::{Signal, kill, killpg};
use rustix::fs::OFlags;

use crate::backend::{ContainerSpec, Exit};
use crate::sandbox::clock;
use crate::sandbox::init::Placement;
use crate::sandbox::log::{Log, Stream};
use crate::sandbox::process::{self, POD_MARK, ProcessId};
use crate::sandbox::record::{PodDir, SandboxRecord, StartedRecord};
use crate::sandbox::wire::{self, Filled, InitOrder, InitSpec, Lines, ProgramSpec, ShimReply, StageEvent};

/// Bytes of a command's output that are kept: the first 10 KiB, as kubelets keep of a probe's.
const EXEC_OUTPUT_MAX: usize = 10 * 1024;

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

/// A container instance.
#[derive(Debug)]
pub(super) struct ContainerJob {
    /// What was asked for.
    pub(super) spec: ContainerSpec,
    /// Whether the program has been executed.
    pub(super) running: bool,
    /// Who waits for that.
    pub(super) start_waiters: Vec<u64>,
    /// Who waits for its recorded end.
    pub(super) kill_waiters: Vec<u64>,
    /// An end that could not be written down yet.
    pub(super) unrecorded: Option<Exit>,
    started: StartedRecord,
    exited: Option<(i32, Option<i32>)>,
    log: Log,
}

/// A command.
#[derive(Debug)]
pub(super) struct ExecJob {
    /// Who asked.
    pub(super) client: u64,
    /// When it is killed, on the shim's monotonic clock.
    pub(super) deadline: Duration,
    /// Whether it was.
    pub(super) timed_out: bool,
    output: Vec<u8>,
}

impl ContainerJob {
    /// Records that the instance begins, then begins it.
    pub(super) fn start(
        directory: &PodDir,
        sandbox: &SandboxRecord,
        mut spec: ContainerSpec,
        client: u64,
    ) -> io::Result<Job> {
        if !sandbox.isolation.processes {
            spec.env.push((POD_MARK.into(), directory.path().display().to_string()));
        }
        let started = StartedRecord { started_at: clock::now(), boot_id: process::boot_id(), init: None, main: None };
        directory.write_started(&spec.name, spec.instance, &started)?;
        directory.prune(&spec.name, spec.instance.saturating_sub(1));
        let order = InitOrder::Run(Box::new(InitSpec {
            container: spec.clone(),
            isolation: sandbox.isolation,
            root: directory.root(),
            program: sandbox.program.clone(),
            masked: sandbox.masked.clone(),
        }));
        let placement = if sandbox.isolation.processes { Placement::New } else { Placement::Plain };
        let log = Log::open(&spec.log_path);
        let (name, instance) = (spec.name.clone(), spec.instance);
        let kind = Kind::Container(Box::new(Self {
            spec,
            running: false,
            start_waiters: vec![client],
            kill_waiters: Vec::new(),
            unrecorded: None,
            started,
            exited: None,
            log,
        }));
        Job::launch(placement, &order, kind).inspect_err(|_| {
            // Nothing ran; the caller may try the same instance again.
            let _ = directory.forget_started(&name, instance);
        })
    }

    /// Writes down where the processes are. Not forced to disk: after a power loss the numbers mean nothing.
    fn note_processes(&mut self, directory: &PodDir, init: u32) {
        self.started.init = ProcessId::of(init).ok();
        self.started.main = process::children(init).first().and_then(|main| ProcessId::of(*main).ok());
        if let Err(error) = directory.write_started(&self.spec.name, self.spec.instance, &self.started) {
            eprintln!("container {}: record of its processes: {error}", self.spec.name);
        }
    }

    fn exit(&self, status: (i32, Option<i32>), now: Timestamp) -> Exit {
        let (exit_code, signal) = status;
        Exit {
            exit_code,
            signal,
            reason: if exit_code == 0 { "Completed".into() } else { "Error".into() },
            message: String::new(),
            started_at: self.started.started_at,
            finished_at: now,
        }
    }

    fn waiters(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(&mut self.start_waiters).into_iter().chain(std::mem::take(&mut self.kill_waiters))
    }
}

impl ExecJob {
    /// Begins a command in a container whose first process is `init`.
    pub(super) fn start(
        sandbox: &SandboxRecord,
        target: &ContainerSpec,
        init: u32,
        client: u64,
        command: Vec<String>,
        timeout_ms: u64,
    ) -> io::Result<Job> {
        let order = ProgramSpec {
            command,
            env: target.env.clone(),
            working_dir: target.working_dir.clone().unwrap_or_else(|| "/".into()),
            user: target.user,
            group: target.group,
            supplemental_groups: target.supplemental_groups.clone(),
            one_uid: sandbox.isolation.one_uid,
            join_mounts_of: sandbox.isolation.mounts.then_some(init),
        };
        let placement = if sandbox.isolation.processes { Placement::Join(init) } else { Placement::PlainCommand };
        let deadline = clock::monotonic().saturating_add(Duration::from_millis(timeout_ms));
        let kind = Kind::Exec(Self { client, deadline, timed_out: false, output: Vec::new() });
        Job::launch(placement, &order, kind)
    }
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
                    Kind::Exec(exec) => {
                        let room = EXEC_OUTPUT_MAX.saturating_sub(exec.output.len()).min(count);
                        exec.output.extend_from_slice(&buffer[..room]);
                    }
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
        let status = self.placed.ended.unwrap_or_default();
        let failure = self.failure.clone();
        match &mut self.kind {
            Kind::Exec(exec) => {
                let reply = if exec.timed_out {
                    ShimReply::TimedOut
                } else if let Some((reason, message)) = failure {
                    ShimReply::CannotRun { reason, message }
                } else {
                    let output = String::from_utf8_lossy(&exec.output).into_owned();
                    ShimReply::Executed { exit_code: status.0, output }
                };
                Some(vec![(exec.client, reply)])
            }
            Kind::Container(container) => {
                container.log.finish();
                if let (Some((reason, message)), false) = (failure, container.running) {
                    // It never ran: the instance may be tried again.
                    if let Err(error) = directory.forget_started(&container.spec.name, container.spec.instance) {
                        eprintln!("container {}: {error}", container.spec.name);
                    }
                    let reply = ShimReply::CannotRun { reason, message };
                    return Some(container.waiters().map(|waiter| (waiter, reply.clone())).collect());
                }
                let exit = match container.unrecorded.take() {
                    Some(exit) => exit,
                    None => container.exit(container.exited.unwrap_or(status), clock::now()),
                };
                if let Err(error) = directory.write_exit(&container.spec.name, container.spec.instance, &exit) {
                    eprintln!("container {}: record of its exit: {error}", container.spec.name);
                    container.unrecorded = Some(exit);
                    return None;
                }
                Some(container.waiters().map(|waiter| (waiter, ShimReply::Done)).collect())
            }
        }
    }
}

fn unblock(descriptor: OwnedFd) -> io::Result<std::fs::File> {
    rustix::fs::fcntl_setfl(&descriptor, OFlags::NONBLOCK)?;
    Ok(descriptor.into())
}
