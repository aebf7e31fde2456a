//! The directory of a run: what is not simulated is in it.
//!
//! Its path gets into what services say, and into what is made of that. So the same run always has the same one; a second
//! run of it at the same time waits.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A directory that nobody else uses. It goes when it is dropped.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// The directory of the run that `what` describes, empty.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn take(what: &str) -> io::Result<Self> {
        // Memory where there is some that looks like a disk: nothing here is meant to survive.
        let shared = Path::new("/dev/shm");
        let root = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let path = root.join(format!("setkeeper-simulation-{:016x}", hasher.finish()));
        loop {
            fs::create_dir_all(&path)?;
            let lock = File::open(&path)?;
            lock.lock()?;
            // Whoever had it before has removed it: what is locked then is no longer what is there.
            let same = fs::metadata(&path).is_ok_and(|now| lock.metadata().is_ok_and(|held| held.ino() == now.ino()));
            if same {
                for entry in fs::read_dir(&path)? {
                    fs::remove_dir_all(entry?.path())?;
                }
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where it is. Whatever is put into it is in a directory of its own.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _stays = fs::remove_dir_all(&self.path);
    }
}
