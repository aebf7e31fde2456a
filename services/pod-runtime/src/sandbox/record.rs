//! What is written down about a pod, and where.
//!
//! ```text
//! <state>/node/            lock, anchor.sock, anchor.log, address
//! <state>/pods/<uid>/      sandbox.json, lock, shim.json, shim.sock, shim.log, root/
//!   containers/<name>/     <instance>.started.json, <instance>.exit.json
//! ```
//!
//! The lock of a pod is held by its shim from before the first process to after the last; the kernel drops it however
//! the shim dies. A record is either whole or absent: temporary file, fsync, rename, fsync of the directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock;
use super::process::ProcessId;
use crate::backend::{ContainerInstance, ContainerState, Exit, SandboxSpec};

/// Layout of the records below; a runtime meets the shims of the version before it.
pub(crate) const VERSION: u32 = 1;

/// How long a lock may be in other hands when it is taken for good: a runtime that looks whether it is held has it for
/// an instant, and a process that was just killed until it is gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What separates a pod from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// A network namespace with its own address, besides hostname and IPC.
    pub(crate) network: bool,
    /// A process-id namespace per container.
    pub(crate) processes: bool,
    /// A mount namespace per container.
    pub(crate) mounts: bool,
    /// Whether the shim has to make its own user namespace for that, because no node namespace surrounds it.
    pub(crate) own_user_namespace: bool,
    /// Whether only one user id of the machine is there, so that other ids need a nested user namespace.
    pub(crate) one_uid: bool,
}

/// Everything a shim must know; written before it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// Layout version.
    pub(crate) version: u32,
    /// What was asked for.
    pub(crate) spec: SandboxSpec,
    /// Address of the pod, its own for as long as this record exists.
    pub(crate) ip: Ipv4Addr,
    /// Length of the pod network's prefix in bits.
    pub(crate) prefix_length: u8,
    /// Address of the bridge, and the pod's way out.
    pub(crate) gateway: Ipv4Addr,
    /// What separates the pod from the machine.
    pub(crate) isolation: Isolation,
    /// This program, which containers can run at its own path wherever that is.
    pub(crate) program: PathBuf,
    /// Directories that no container may see except through its mounts.
    pub(crate) masked: Vec<PathBuf>,
}

/// That an instance was begun; written before its first process exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartedRecord {
    /// When.
    pub(crate) started_at: Timestamp,
    /// In which run of the machine.
    pub(crate) boot_id: String,
    /// First process of the container's process namespace, or the one that collects its orphans.
    pub(crate) init: Option<ProcessId>,
    /// The program itself.
    pub(crate) main: Option<ProcessId>,
}

/// Paths of one pod.
#[derive(Debug, Clone)]
pub(crate) struct PodDir(PathBuf);

impl PodDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The process that last took the lock.
    pub(crate) fn shim(&self) -> io::Result<Option<ProcessId>> {
        absent_as_none(read(&self.0.join("shim.json")))
    }

    pub(crate) fn write_shim(&self, shim: ProcessId) -> io::Result<()> {
        write(&self.0.join("shim.json"), &shim)
    }

    /// Where a container's root is put together, in its own mount namespace.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    pub(crate) fn sandbox(&self) -> io::Result<SandboxRecord> {
        let record: SandboxRecord = read(&self.0.join("sandbox.json"))?;
        if record.version != VERSION {
            let message = format!("records of version {}, this is version {VERSION}", record.version);
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(record)
    }

    pub(crate) fn write_sandbox(&self, record: &SandboxRecord) -> io::Result<()> {
        write(&self.0.join("sandbox.json"), record)
    }

    /// Whether the shim holds its lock. A shared lock is tried and dropped at once; it never hinders a shim for long.
    pub(crate) fn is_locked(&self) -> io::Result<bool> {
        let file = match File::open(self.lock()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn container(&self, name: &str) -> PathBuf {
        self.0.join("containers").join(name)
    }

    fn started_path(&self, name: &str, instance: u32) -> PathBuf {
        self.container(name).join(format!("{instance}.started.json"))
    }

    fn exit_path(&self, name: &str, instance: u32) -> PathBuf {
        self.container(name).join(format!("{instance}.exit.json"))
    }

    pub(crate) fn write_started(&self, name: &str, instance: u32, record: &StartedRecord) -> io::Result<()> {
        fs::create_dir_all(self.container(name))?;
        write(&self.started_path(name, instance), record)
    }

    pub(crate) fn write_exit(&self, name: &str, instance: u32, exit: &Exit) -> io::Result<()> {
        fs::create_dir_all(self.container(name))?;
        write(&self.exit_path(name, instance), exit)
    }

    /// Forgets an instance that never ran.
    pub(crate) fn forget_started(&self, name: &str, instance: u32) -> io::Result<()> {
        fs::remove_file(self.started_path(name, instance))
    }

    /// Removes the records of all instances before `instance`.
    pub(crate) fn prune(&self, name: &str, instance: u32) {
        for earlier in self.instances(name).unwrap_or_default().into_iter().filter(|earlier| *earlier < instance) {
            // An old record that stays takes a little room and is tried again at the next start.
            let _ = fs::remove_file(self.started_path(name, earlier));
            let _ = fs::remove_file(self.exit_path(name, earlier));
        }
    }

    pub(crate) fn started(&self, name: &str, instance: u32) -> io::Result<Option<StartedRecord>> {
        absent_as_none(read(&self.started_path(name, instance)))
    }

    pub(crate) fn exit(&self, name: &str, instance: u32) -> io::Result<Option<Exit>> {
        absent_as_none(read(&self.exit_path(name, instance)))
    }

    /// Names of the containers of which anything was ever recorded, sorted.
    pub(crate) fn container_names(&self) -> io::Result<Vec<String>> {
        names(&self.0.join("containers"))
    }

    /// Instances of a container with a start record, lowest first.
    fn instances(&self, name: &str) -> io::Result<Vec<u32>> {
        let mut instances: Vec<u32> = names(&self.container(name))?
            .iter()
            .filter_map(|file| file.strip_suffix(".started.json")?.parse().ok())
            .collect();
        instances.sort_unstable();
        Ok(instances)
    }

    /// The last instance of a container and its start.
    pub(crate) fn last(&self, name: &str) -> io::Result<Option<(u32, StartedRecord)>> {
        let Some(instance) = self.instances(name)?.pop() else { return Ok(None) };
        Ok(self.started(name, instance)?.map(|started| (instance, started)))
    }

    /// How an instance is, by its records alone.
    pub(crate) fn instance(&self, name: &str, instance: u32) -> io::Result<Option<ContainerInstance>> {
        let Some(started) = self.started(name, instance)? else { return Ok(None) };
        let state = match self.exit(name, instance)? {
            Some(exit) => ContainerState::Exited(exit),
            None => ContainerState::Running {
                pid: started.main.or(started.init).map_or(0, |process| process.pid),
                started_at: started.started_at,
            },
        };
        Ok(Some(ContainerInstance { name: name.to_owned(), instance, state }))
    }
}

/// Takes a lock for as long as the file is open.
pub(crate) fn take_lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    let until = clock::monotonic() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if clock::monotonic() < until => {
                // A millisecond's rest; a signal may cut it short.
                let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(1_u8));
            }
            Err(fs::TryLockError::WouldBlock) => {
                let message = format!("{} is held by another process", path.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Entries of a directory that are valid text, sorted; none where there is no directory.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a record.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = fs::read(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

/// Writes a record so that it is there whole after a crash, or not at all.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}
