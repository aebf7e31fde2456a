//! The stages of a container, each a program of its own, so that nothing has to fork:
//!
//! - `container-launch` makes (or joins) the process namespace, spawns the next stage into it, and ends; the shim, as
//!   collector of orphans, becomes the next stage's parent. It cannot be the shim itself: whoever makes a process
//!   namespace has all later children in it, and an unprivileged process cannot go back.
//! - `container-init` puts the file tree together, spawns the program, reaps orphans, and ends with the program; in its
//!   own process namespace the kernel then kills whatever is left.
//! - `container-program` takes on the container's user and becomes the program.
//!
//! The program is never process 1, so a signal without a handler ends it, as it ends any ordinary process.
//!
//! All die with the shim: the kernel kills `container-init` when its parent dies, and everything else with that.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::anchor::stdin_socket;
use super::wire::{self, Filled, InitOrder, InitSpec, Lines, ProgramSpec, StageEvent};
use super::{identity, process, root};

/// Searched for a program where the container's environment has no `PATH`, as container runtimes do.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How `container-launch` is to place the next stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A container in a process namespace of its own.
    New,
    /// A container among the machine's processes.
    Plain,
    /// A command in the process namespace of this process.
    Join(u32),
    /// A command among the machine's processes.
    PlainCommand,
}

impl Placement {
    /// As an argument.
    pub(crate) fn argument(self) -> String {
        match self {
            Self::New => "new".into(),
            Self::Plain => "plain".into(),
            Self::Join(pid) => pid.to_string(),
            Self::PlainCommand => "command".into(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "new" => Self::New,
            "plain" => Self::Plain,
            "command" => Self::PlainCommand,
            pid => Self::Join(pid.parse().ok()?),
        })
    }
}

/// `container-launch`.
pub(crate) fn launch(placement: &str) -> io::Result<()> {
    let shim = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let outcome = Placement::parse(placement).ok_or_else(|| ErrorKind::InvalidInput.into()).and_then(spawn_next);
    let event = match &outcome {
        Ok(pid) => StageEvent::Spawned { pid: *pid },
        Err(error) => failed("CreateContainerError", error),
    };
    wire::send(&shim, &event)?;
    outcome.map(drop)
}

fn spawn_next(placement: Placement) -> io::Result<u32> {
    let stage = match placement {
        Placement::New => {
            unshare(CloneFlags::CLONE_NEWPID)?;
            "container-init"
        }
        Placement::Plain => "container-init",
        Placement::Join(pid) => {
            setns(File::open(format!("/proc/{pid}/ns/pid"))?, CloneFlags::CLONE_NEWPID)?;
            "container-program"
        }
        Placement::PlainCommand => "container-program",
    };
    Ok(Command::new("/proc/self/exe").arg(stage).spawn()?.id())
}

fn failed(reason: &str, error: &io::Error) -> StageEvent {
    StageEvent::Failed { reason: reason.into(), message: error.to_string() }
}

/// `container-init`.
pub(crate) fn main() -> io::Result<()> {
    SigSet::all().thread_set_mask()?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let shim = stdin_socket()?;
    let mut lines = Lines::default();
    let Some(InitOrder::Run(spec)) = wire::receive(&shim, &mut lines)? else { return Ok(()) };
    // Only now is the shim our parent; if it died before this line, its end of the socket is closed.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if !spec.isolation.processes {
        prctl::set_child_subreaper(true)?;
    }
    let started = match prepare(&spec) {
        Ok(()) => start_program(&spec),
        Err(error) => Err(failed("CreateContainerError", &error)),
    };
    let mut init = match started {
        Ok(main) => Init { shim, lines, signals, main, exited: None, own_namespace: spec.isolation.processes },
        Err(event) => return wire::send(&shim, &event),
    };
    wire::send(&init.shim, &StageEvent::Started)?;
    drop(spec);
    init.run()
}

fn prepare(spec: &InitSpec) -> io::Result<()> {
    if spec.isolation.mounts { root::enter(spec) } else { Ok(()) }
}

fn start_program(spec: &InitSpec) -> Result<Pid, StageEvent> {
    let container = &spec.container;
    let program = ProgramSpec {
        command: container.command.clone(),
        env: container.env.clone(),
        working_dir: container.working_dir.clone().unwrap_or_else(|| PathBuf::from("/")),
        user: container.user,
        group: container.group,
        supplemental_groups: container.supplemental_groups.clone(),
        one_uid: spec.isolation.one_uid,
        join_mounts_of: None,
    };
    let spawned = || -> io::Result<(Pid, Option<StageEvent>)> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg("container-program")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        wire::send(&ours, &program)?;
        // The program's own end closes when it is executed.
        Ok((process::nix_pid(child.id()), wire::receive(&ours, &mut Lines::default())?))
    };
    match spawned() {
        Ok((pid, None)) => Ok(pid),
        Ok((_, Some(event))) => Err(event),
        Err(error) => Err(failed("RunContainerError", &error)),
    }
}

struct Init {
    shim: UnixStream,
    lines: Lines,
    signals: SignalFd,
    main: Pid,
    exited: Option<StageEvent>,
    own_namespace: bool,
}

impl Init {
    fn run(&mut self) -> io::Result<()> {
        self.shim.set_nonblocking(true)?;
        while self.exited.is_none() {
            // A child may have ended before its signal could be read: reap first, then wait.
            self.reap()?;
            if self.exited.is_some() {
                break;
            }
            let mut set = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.shim.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut set, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.read_signals()?;
            self.read_orders()?;
        }
        self.end_rest();
        self.shim.set_nonblocking(false)?;
        match &self.exited {
            Some(event) => wire::send(&self.shim, event),
            None => Ok(()),
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.main => {
                    self.exited = Some(StageEvent::Exited { exit_code: code, signal: None });
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.main => {
                    let signal = signal as i32;
                    self.exited = Some(StageEvent::Exited { exit_code: 128 + signal, signal: Some(signal) });
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Passes on to the program what was sent to this process, except news of children.
    fn read_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) => {}
                Ok(Ok(signal)) => self.signal(signal),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_orders(&mut self) -> io::Result<()> {
        loop {
            while let Some(order) = self.lines.next::<InitOrder>()? {
                match order {
                    InitOrder::Signal { signal } => {
                        if let Ok(signal) = Signal::try_from(signal) {
                            self.signal(signal);
                        }
                    }
                    InitOrder::Kill => process::kill_descendants(),
                    InitOrder::Run(_) => {}
                }
            }
            match wire::fill(&self.shim, &mut self.lines)? {
                Filled::Some => {}
                Filled::Nothing => return Ok(()),
                Filled::End => {
                    // The shim is gone. Its lock is free; nothing of the pod may outlive it.
                    self.end_rest();
                    return Err(io::Error::new(ErrorKind::BrokenPipe, "the shim is gone"));
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // The program is our child and not reaped yet, so the number is still its own.
        let _ = kill(self.main, signal);
    }

    /// Kills what the program left behind. The kernel does so itself where the container has its own processes.
    fn end_rest(&self) {
        if self.own_namespace {
            return;
        }
        loop {
            process::kill_descendants();
            if waitpid(None, None) == Err(Errno::ECHILD) {
                return;
            }
        }
    }
}

/// `container-program`: returns only when the program cannot be executed.
pub(crate) fn program() -> io::Result<()> {
    let control = stdin_socket()?;
    let Some(spec) = wire::receive::<ProgramSpec>(&control, &mut Lines::default())? else { return Ok(()) };
    let error = match execute(&spec) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    wire::send(&control, &failed("RunContainerError", &error))
}

fn execute(spec: &ProgramSpec) -> io::Result<std::convert::Infallible> {
    if let Some(pid) = spec.join_mounts_of {
        setns(File::open(format!("/proc/{pid}/ns/mnt"))?, CloneFlags::CLONE_NEWNS)?;
    }
    nix::unistd::setsid()?;
    let privileged = nix::unistd::Uid::effective().is_root();
    if privileged {
        identity::bound_capabilities()?;
    }
    identity::become_user(spec.user, spec.group, &spec.supplemental_groups, spec.one_uid)?;
    if privileged {
        identity::drop_capabilities()?;
    } else {
        identity::forbid_new_privileges()?;
    }
    // Changing the user clears it, so it comes after.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    std::env::set_current_dir(&spec.working_dir).map_err(|error| {
        io::Error::new(error.kind(), format!("working directory {}: {error}", spec.working_dir.display()))
    })?;
    let name = spec.command.first().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no command"))?;
    let program = find(name, &spec.env)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    SigSet::empty().thread_set_mask()?;
    let error = Command::new(&program)
        .arg0(name)
        .args(&spec.command[1..])
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .exec();
    Err(io::Error::new(error.kind(), format!("exec {:?}: {error}", program.display().to_string())))
}

/// Looks a program up as a shell would, in the container's own `PATH`.
fn find(name: &str, env: &[(String, String)]) -> io::Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value.as_str());
    path.split(':')
        .map(|directory| Path::new(if directory.is_empty() { "." } else { directory }).join(name))
        .find(|candidate| {
            candidate.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| {
            io::Error::new(ErrorKind::NotFound, format!("exec {name:?}: executable file not found in $PATH"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_survive_the_command_line() {
        for placement in [Placement::New, Placement::Plain, Placement::Join(77), Placement::PlainCommand] {
            assert_eq!(Placement::parse(&placement.argument()), Some(placement));
        }
        assert_eq!(Placement::parse("other"), None);
    }

    #[test]
    fn programs_are_found_in_the_containers_own_path() {
        let env = |path: &str| vec![("PATH".to_owned(), path.to_owned())];
        assert_eq!(find("sh", &env("/nowhere:/bin")).expect("every machine has it"), Path::new("/bin/sh"));
        assert_eq!(find("./x", &env("")).expect("taken as it is"), Path::new("./x"));
        let error = find("sh", &env("/nowhere")).expect_err("not there");
        assert!(error.to_string().contains("not found in $PATH"), "{error}");
    }
}
