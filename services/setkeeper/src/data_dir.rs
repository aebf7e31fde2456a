//! The directory in which `setkeeper up` keeps everything, and who has it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

/// Where root keeps it.
const ROOT_DIRECTORY: &str = "/var/lib/setkeeper";

/// Longest content of the lock file, in bytes: a process id.
const LOCK_BYTES_MAX: u64 = 32;

/// A data directory. It may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// Says that this process has the data directory. Dropping it, or the end of the process, gives it free.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataDir {
    /// The directory that was asked for, or the usual one of this user.
    ///
    /// # Errors
    /// There is none: no home directory is known.
    #[expect(clippy::disallowed_methods, reason = "this is configuration")]
    pub(crate) fn resolve(asked: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = asked {
            let path = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
            return Ok(Self { path });
        }
        if rustix::process::geteuid().is_root() {
            return Ok(Self { path: PathBuf::from(ROOT_DIRECTORY) });
        }
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from);
        let share = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
        let share = share.context("no home directory is known: say where to keep data with --data-dir DIR")?;
        Ok(Self { path: share.join("setkeeper") })
    }

    /// Makes it, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).with_context(|| {
            format!("the data directory {} cannot be made; choose another with --data-dir", self.path.display())
        })
    }

    /// Takes it for this process.
    ///
    /// # Errors
    /// Another process has it.
    pub(crate) fn lock(&self) -> anyhow::Result<DataLock> {
        let path = self.lock_file();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = read_pid(&mut file).map(|pid| format!(" (process {pid})")).unwrap_or_default();
            bail!(
                "Setkeeper already runs on {}{pid}: stop it with `setkeeper down`, or choose another directory with --data-dir",
                self.path.display()
            );
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()))?;
        Ok(DataLock { _file: file })
    }

    /// The process that has it, if one does.
    #[must_use]
    pub(crate) fn owner(&self) -> Option<i32> {
        let mut file = OpenOptions::new().read(true).write(true).open(self.lock_file()).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => None,
            Err(_) => read_pid(&mut file),
        }
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The token that the listeners over TCP ask for.
    #[must_use]
    pub(crate) fn token_file(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The socket of the coordinator.
    #[must_use]
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("setkeeper.sock")
    }

    /// Where everything listens, as JSON.
    #[must_use]
    pub(crate) fn endpoints_file(&self) -> PathBuf {
        self.path.join("endpoints.json")
    }

    /// Directory of the state store.
    #[must_use]
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Directory of the volumes.
    #[must_use]
    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// What the user says image names mean, if there.
    #[must_use]
    pub(crate) fn images(&self) -> PathBuf {
        self.path.join("images.yaml")
    }

    /// What `setkeeper up` logs.
    #[must_use]
    pub(crate) fn log_file(&self) -> PathBuf {
        self.path.join("setkeeper.log")
    }

    /// Who changed what.
    #[must_use]
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.path.join("audit.log")
    }

    /// A directory of a service's own.
    #[must_use]
    pub(crate) fn of_service(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// There while `setkeeper down` ends what runs here.
    #[must_use]
    pub(crate) fn down_mark(&self) -> PathBuf {
        self.path.join("down")
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }
}

/// Mode of what is nobody else's business.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a whole file or nothing, with a mode.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_process_at_a_time_and_the_other_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::resolve(Some(&directory.path().join("a/b"))).expect("a path");
        data.create().expect("is made");
        assert_eq!(fs::metadata(data.path()).expect("is there").permissions().mode() & 0o777, 0o700);
        assert_eq!(data.owner(), None);
        let lock = data.lock().expect("free");
        assert_eq!(data.owner(), i32::try_from(std::process::id()).ok());
        let error = data.lock().expect_err("taken").to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("setkeeper down"), "{error}");
        drop(lock);
        data.lock().expect("free again");
    }
}
