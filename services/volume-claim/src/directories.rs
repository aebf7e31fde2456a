//! Directories of volumes on this machine.
//!
//! ```text
//! <root>/                  0711: pods pass through, nobody lists
//!   pvc-<claim uid>/       0777: the volume, as local-path provisioners make it
//!   .markers/<volume>      0700 above: whose directory that is. Beside it, where no pod can write
//!   .new/<volume>          directories that are being made
//!   .trash/<volume>/<n>    directories that are being removed
//!   .operations            what was done, and the highest fence seen
//! ```
//! Everything is done through descriptors of these directories, which are opened once; no path is ever walked again.
//! What a pod planted in its volume is never followed: entries are removed by name below a descriptor, directories are
//! opened without following links and without leaving the file system.

mod remove;
mod volume_name;

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use self::remove::Step;
pub use self::volume_name::VolumeName;

/// Everybody passes, the owner lists.
const ROOT_MODE: Mode = Mode::from_raw_mode(0o711);
/// Nobody but us.
const PRIVATE_MODE: Mode = Mode::from_raw_mode(0o700);
/// A volume: whoever runs in its pod may write.
const VOLUME_MODE: Mode = Mode::from_raw_mode(0o777);
const MARKER_MODE: Mode = Mode::from_raw_mode(0o600);

/// Largest marker, in bytes: three short fields.
const MARKER_BYTES_MAX: u64 = 4096;

/// A directory was not made or removed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The name is not one that was generated for a volume.
    #[error("{volume:?} is not the name of a provisioned volume: it must be pvc-<claim uid>")]
    InvalidVolume {
        /// What was given.
        volume: String,
    },
    /// The claim is not the one the volume is named after.
    #[error("volume {volume:?} was not made for claim {claim_uid:?}")]
    InvalidClaim {
        /// The volume.
        volume: String,
        /// The claim.
        claim_uid: String,
    },
    /// What is there was not made for this claim; it is left alone.
    #[error("the directory of volume {volume} {why}: it is left alone")]
    Foreign {
        /// The volume.
        volume: VolumeName,
        /// What is wrong.
        why: &'static str,
    },
    /// The disk is full.
    #[error("no space left for volume {volume}")]
    NoSpace {
        /// The volume.
        volume: VolumeName,
    },
    /// The file system failed.
    #[error("{doing} failed")]
    Storage {
        /// What was tried.
        doing: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Whose a directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    volume: String,
    claim_uid: String,
    capacity_bytes: u64,
}

/// The volumes directory of this machine.
pub struct Directories {
    path: PathBuf,
    root: OwnedFd,
    markers: OwnedFd,
    new: OwnedFd,
    trash: OwnedFd,
    /// One operation at a time: each is short, and two on one volume must not meet.
    working: Mutex<()>,
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directories").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Directories {
    /// Opens the volumes directory; makes it where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made or opened.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let doing = |what: &str| format!("{what} the volumes directory {}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(storage(doing("making")))?;
        match rustix::fs::mkdirat(CWD, path, PRIVATE_MODE) {
            Ok(()) => rustix::fs::chmodat(CWD, path, ROOT_MODE, AtFlags::empty()).map_err(errno(doing("making")))?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(errno(doing("making"))(error)),
        }
        let path = path.canonicalize().map_err(storage(doing("finding")))?;
        let root = rustix::fs::open(&path, directory_flags(), Mode::empty()).map_err(errno(doing("opening")))?;
        let own = |name: &str| -> Result<OwnedFd, DirectoryError> {
            match rustix::fs::mkdirat(&root, name, PRIVATE_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(errno(format!("making {name} in {}", path.display()))(error)),
            }
            open_below(&root, name).map_err(errno(format!("opening {name} in {}", path.display())))
        };
        let (markers, new, trash) = (own(".markers")?, own(".new")?, own(".trash")?);
        Ok(Self { path, root, markers, new, trash, working: Mutex::new(()) })
    }

    /// Where operations are recorded.
    #[must_use]
    pub fn operations_path(&self) -> PathBuf {
        self.path.join(".operations")
    }

    /// Bytes that volumes may still fill; 0 where nobody can tell.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        rustix::fs::fstatvfs(&self.root).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Makes the directory of a volume. What exists for the same claim is success. Durable when it returns.
    ///
    /// # Errors
    /// [`DirectoryError::Foreign`] where something else is there; otherwise what the file system says.
    pub fn provision(&self, volume: &VolumeName, capacity_bytes: u64) -> Result<PathBuf, DirectoryError> {
        let _one = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let (marked, exists) = (self.marked(volume)?, self.exists(volume)?);
        let path = self.path.join(volume.as_str());
        match (marked, exists) {
            (true, true) => return Ok(path),
            (false, true) => return Err(foreign(volume, "was not made by this service")),
            (true, false) if self.in_trash(volume)? => return Err(foreign(volume, "is being removed")),
            (true, false) => {}
            (false, false) => self.mark(volume, capacity_bytes).map_err(|error| full(volume, "marking", error))?,
        }
        self.make(volume).map_err(|error| full(volume, "making", error))?;
        Ok(path)
    }

    /// Removes the directory of a volume, or a bounded part of it. What does not exist is removed.
    ///
    /// # Errors
    /// [`DirectoryError::Foreign`] where what is there was not made for this claim; otherwise what the file system says.
    pub fn deprovision(&self, volume: &VolumeName) -> Result<Step, DirectoryError> {
        let _one = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let (marked, exists) = (self.marked(volume)?, self.exists(volume)?);
        if !marked {
            return if exists {
                Err(foreign(volume, "was not made by this service"))
            } else {
                Ok(Step::nothing_left())
            };
        }
        let failed = |doing: &'static str| move |error| errno(format!("{doing} volume {volume}"))(error);
        let bin = remove::Bin::open(&self.trash, volume).map_err(failed("opening the trash of"))?;
        if exists {
            bin.throw(&self.root, volume).map_err(failed("moving to the trash"))?;
        }
        let step = bin.empty().map_err(failed("removing"))?;
        if step.done {
            bin.remove().map_err(failed("removing the trash of"))?;
            self.unmark(volume).map_err(failed("removing the marker of"))?;
        }
        Ok(step)
    }

    /// Whether a directory was made, or begun, for this volume and its claim.
    fn marked(&self, volume: &VolumeName) -> Result<bool, DirectoryError> {
        let doing = || format!("reading the marker of volume {volume}");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.markers, volume.as_str(), flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(errno(doing())(error)),
        };
        let mut text = String::new();
        file.take(MARKER_BYTES_MAX).read_to_string(&mut text).map_err(storage(doing()))?;
        let marker: Option<Marker> = serde_json::from_str(&text).ok();
        match marker {
            Some(marker) if marker.volume == volume.as_str() && marker.claim_uid == volume.claim_uid() => Ok(true),
            Some(_) => Err(foreign(volume, "was made for another claim")),
            None => Err(foreign(volume, "has a marker that cannot be read")),
        }
    }

    fn exists(&self, volume: &VolumeName) -> Result<bool, DirectoryError> {
        match rustix::fs::statat(&self.root, volume.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(true),
            Ok(_) => Err(foreign(volume, "is not a directory")),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(errno(format!("looking for volume {volume}"))(error)),
        }
    }

    fn in_trash(&self, volume: &VolumeName) -> Result<bool, DirectoryError> {
        match rustix::fs::statat(&self.trash, volume.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(errno(format!("looking for the trash of volume {volume}"))(error)),
        }
    }

    /// Writes the marker whole or not at all: under another name first.
    fn mark(&self, volume: &VolumeName, capacity_bytes: u64) -> rustix::io::Result<()> {
        let claim_uid = volume.claim_uid().to_owned();
        let marker = Marker { volume: volume.as_str().to_owned(), claim_uid, capacity_bytes };
        let text = serde_json::to_vec(&marker).map_err(|_| Errno::INVAL)?;
        let temporary = format!(".{volume}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.markers, &temporary, flags, MARKER_MODE)?;
        let mut file = std::fs::File::from(file);
        file.write_all(&text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::fsync(&file)?;
        rustix::fs::renameat(&self.markers, &temporary, &self.markers, volume.as_str())?;
        rustix::fs::fsync(&self.markers)
    }

    fn unmark(&self, volume: &VolumeName) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(&self.markers, volume.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(&self.markers),
            Err(error) => Err(error),
        }
    }

    /// Makes the directory complete under another name, so that nobody ever sees it without its mode.
    fn make(&self, volume: &VolumeName) -> rustix::io::Result<()> {
        let name = volume.as_str();
        match rustix::fs::mkdirat(&self.new, name, PRIVATE_MODE) {
            // A crash left it: it is empty, for nobody ever knew it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let directory = open_below(&self.new, name)?;
        rustix::fs::fchmod(&directory, VOLUME_MODE)?;
        rustix::fs::fsync(&directory)?;
        rustix::fs::renameat_with(&self.new, name, &self.root, name, RenameFlags::NOREPLACE)?;
        rustix::fs::fsync(&self.root)
    }
}

/// Opens a directory entry: follows no link, leaves neither the directory nor its file system.
fn open_below(parent: &OwnedFd, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<OwnedFd> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(parent, name, directory_flags(), Mode::empty(), resolve) {
        // An old kernel, or a sandbox that does not know the call. A single name cannot walk far without it.
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = rustix::fs::openat(parent, name, directory_flags(), Mode::empty())?;
            let same = rustix::fs::fstat(&opened)?.st_dev == rustix::fs::fstat(parent)?.st_dev;
            if same { Ok(opened) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Entries of a directory, without itself and its parent.
fn list(directory: &OwnedFd) -> rustix::io::Result<impl Iterator<Item = rustix::io::Result<rustix::fs::DirEntry>>> {
    let own = |entry: &rustix::io::Result<rustix::fs::DirEntry>| {
        entry.as_ref().is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
    };
    Ok(Dir::read_from(directory)?.filter(move |entry| !own(entry)))
}

fn storage(doing: String) -> impl FnOnce(std::io::Error) -> DirectoryError {
    move |source| DirectoryError::Storage { doing, source }
}

fn errno(doing: String) -> impl FnOnce(Errno) -> DirectoryError {
    move |error| DirectoryError::Storage { doing, source: error.into() }
}

fn foreign(volume: &VolumeName, why: &'static str) -> DirectoryError {
    DirectoryError::Foreign { volume: volume.clone(), why }
}

fn full(volume: &VolumeName, doing: &str, error: Errno) -> DirectoryError {
    match error {
        Errno::NOSPC | Errno::DQUOT => DirectoryError::NoSpace { volume: volume.clone() },
        error => errno(format!("{doing} volume {volume}"))(error),
    }
}

#[cfg(test)]
mod tests;
