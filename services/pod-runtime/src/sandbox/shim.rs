//! The shim: one small process per pod that holds its lock, its network and its containers, records how they end, and
//! writes their logs. It outlives the runtime; everything of the pod dies with it.
//!
//! One thread and one loop. It never waits for a container: every wait is an entry of the poll set, so that one hanging
//! mount does not silence the pod's other containers.

mod client;
mod job;
mod namespaces;
mod requests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use self::client::Client;
use self::job::{Job, Kind};
use self::namespaces::{enter_sandbox, stop_ignoring_signals};
use super::anchor::stdin_socket;
use super::log::Stream;
use super::record::{PodDir, SandboxRecord};
use super::wire::{self, ShimReply};
use super::{clock, process, record};

/// Connections at a time: the runtime's watch, a few calls, and as many commands as probes run at once.
const CLIENTS_MAX: usize = 256;

/// How soon a record that could not be written is tried again.
const RECORD_RETRY: Duration = Duration::from_secs(1);

/// `pod-shim`: stdin is the first connection, on which a hello says that the sandbox is up.
pub(crate) fn main(directory: PathBuf) -> io::Result<()> {
    let first = stdin_socket()?;
    nix::unistd::setsid()?;
    match Shim::set_up(PodDir::new(directory)) {
        Ok(mut shim) => {
            let id = shim.add_client(first)?;
            shim.reply(id, &hello());
            shim.serve()
        }
        Err(error) => {
            wire::send(&first, &ShimReply::Error { message: error.to_string() })?;
            Err(error)
        }
    }
}

fn hello() -> ShimReply {
    ShimReply::Hello { version: wire::VERSION, pid: std::process::id() }
}

struct Shim {
    directory: PodDir,
    record: SandboxRecord,
    listener: UnixListener,
    signals: SignalFd,
    /// Network namespace of the node, and the user namespace around it: what a new anchor needs if the old one died.
    node: Vec<File>,
    clients: BTreeMap<u64, Client>,
    jobs: BTreeMap<u64, Job>,
    next_id: u64,
    /// Who waits for the end.
    ending: Option<Vec<u64>>,
    _lock: File,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Client(u64),
    Control(u64),
    Output(u64, Stream),
}

impl Shim {
    fn set_up(directory: PodDir) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        stop_ignoring_signals()?;
        SigSet::all().thread_set_mask()?;
        let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let lock = record::take_lock(&directory.lock())?;
        directory.write_shim(process::ProcessId::of(std::process::id())?)?;
        let record = directory.sandbox()?;
        let node = enter_sandbox(&record)?;
        fs::create_dir_all(directory.root())?;
        let socket = directory.path().join("shim.sock");
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = wire::in_directory(directory.path(), "shim.sock", |path| UnixListener::bind(path))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            directory,
            record,
            listener,
            signals,
            node,
            clients: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_id: 0,
            ending: None,
            _lock: lock,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            self.settle();
            if self.ended() {
                return fs::remove_file(self.directory.path().join("shim.sock"));
            }
            for source in self.wait()? {
                match source {
                    Source::Signals => self.reap()?,
                    Source::Listener => self.accept()?,
                    Source::Client(id) => self.read_client(id),
                    Source::Control(id) => self.read_control(id),
                    Source::Output(id, stream) => {
                        if let Some(job) = self.jobs.get_mut(&id) {
                            job.read_output(stream);
                        }
                    }
                }
            }
        }
    }

    /// Waits until something can be done, or a time has come.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut set = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        for (id, client) in &self.clients {
            let write = if client.has_output() { PollFlags::POLLOUT } else { PollFlags::empty() };
            sources.push(Source::Client(*id));
            set.push(PollFd::new(client.as_fd(), PollFlags::POLLIN | write));
        }
        for (id, job) in &self.jobs {
            if let Some(control) = job.control() {
                sources.push(Source::Control(*id));
                set.push(PollFd::new(control, PollFlags::POLLIN));
            }
            for (stream, descriptor) in job.outputs() {
                sources.push(Source::Output(*id, stream));
                set.push(PollFd::new(descriptor, PollFlags::POLLIN));
            }
        }
        match poll(&mut set, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = set.iter().map(|entry| entry.any().unwrap_or_default());
        Ok(sources.into_iter().zip(ready).filter_map(|(source, ready)| ready.then_some(source)).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let now = clock::monotonic();
        let next = self.jobs.values().filter_map(|job| match &job.kind {
            Kind::Exec(exec) => Some(exec.deadline.saturating_sub(now) + Duration::from_millis(1)),
            Kind::Container(container) => container.unrecorded.is_some().then_some(RECORD_RETRY),
        });
        next.min().map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX))
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                // Beyond the limit the caller sees its connection close, and tries again.
                Ok((stream, _)) if self.clients.len() < CLIENTS_MAX => {
                    self.add_client(stream)?;
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    eprintln!("accept: {error}");
                    return Ok(());
                }
            }
        }
    }

    fn add_client(&mut self, stream: std::os::unix::net::UnixStream) -> io::Result<u64> {
        let id = self.new_id();
        self.clients.insert(id, Client::new(stream)?);
        Ok(id)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn reply(&mut self, id: u64, reply: &ShimReply) {
        if let Some(client) = self.clients.get_mut(&id)
            && client.send(reply).is_err()
        {
            self.drop_client(id);
        }
    }

    /// A caller that is gone takes its command with it.
    fn drop_client(&mut self, id: u64) {
        self.clients.remove(&id);
        for job in self.jobs.values_mut() {
            if matches!(&job.kind, Kind::Exec(exec) if exec.client == id) {
                job.kill(self.record.isolation.processes);
            }
        }
    }

    fn read_client(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        match client.receive() {
            Ok((requests, open)) => {
                for request in requests {
                    self.handle(id, request);
                }
                if !open {
                    self.drop_client(id);
                }
            }
            Err(error) => {
                eprintln!("client: {error}");
                self.drop_client(id);
            }
        }
    }

    fn read_control(&mut self, id: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let replies = job.read_control(&self.directory);
        for (client, reply) in replies {
            self.reply(client, &reply);
        }
        self.tell_watchers();
    }

    fn reap(&mut self) -> io::Result<()> {
        while self.signals.read_signal()?.is_some() {}
        loop {
            let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let pid = pid.as_raw().unsigned_abs();
            for job in self.jobs.values_mut() {
                // What a stage told before it ended must be known before its end is judged.
                job.reaped(pid, (code, signal));
            }
        }
    }

    /// Finishes what can be finished: jobs whose processes are gone, commands whose time is up.
    fn settle(&mut self) {
        let now = clock::monotonic();
        let own_processes = self.record.isolation.processes;
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if let Kind::Exec(exec) = &mut job.kind
                && exec.deadline <= now
                && !exec.timed_out
            {
                exec.timed_out = true;
                job.kill(own_processes);
            }
            if !job.is_over() {
                continue;
            }
            let replies = job.read_control(&self.directory);
            for (client, reply) in replies {
                self.reply(client, &reply);
            }
            if !own_processes && !self.strays_are_gone(id) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if let Some(replies) = job.finish(&self.directory) {
                self.jobs.remove(&id);
                for (client, reply) in replies {
                    self.reply(client, &reply);
                }
                self.tell_watchers();
            }
        }
    }

    /// Without process namespaces, what a dead container or a command left behind becomes our child. It must be gone
    /// before the last container counts as ended.
    fn strays_are_gone(&self, finishing: u64) -> bool {
        let others = self.jobs.iter().any(|(id, job)| *id != finishing && matches!(job.kind, Kind::Container(_)));
        let finishing_container = self.jobs.get(&finishing).is_some_and(|job| matches!(job.kind, Kind::Container(_)));
        if others || !finishing_container {
            return true;
        }
        let known: Vec<u32> = self.jobs.values().flat_map(|job| job.placed.known()).collect();
        let strays: Vec<u32> =
            process::children(std::process::id()).into_iter().filter(|pid| !known.contains(pid)).collect();
        for pid in strays.iter().flat_map(|pid| process::descendants(*pid).into_iter().chain([*pid])) {
            // Each is reaped, and this is asked again, when SIGCHLD comes.
            let _ = nix::sys::signal::kill(process::nix_pid(pid), Signal::SIGKILL);
        }
        strays.is_empty()
    }

    fn tell_watchers(&mut self) {
        let watchers: Vec<u64> =
            self.clients.iter().filter_map(|(id, client)| client.watching.then_some(*id)).collect();
        for id in watchers {
            self.reply(id, &ShimReply::Changed);
        }
    }

    fn ended(&mut self) -> bool {
        if !self.jobs.is_empty() {
            return false;
        }
        let Some(waiters) = self.ending.take() else { return false };
        for id in waiters {
            self.reply(id, &ShimReply::Done);
        }
        true
    }
}
