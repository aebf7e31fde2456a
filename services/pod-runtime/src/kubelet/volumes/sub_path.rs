//! A path inside a volume that must stay inside, whatever links the volume holds.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Why a path inside a volume cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum SubPathError {
    /// The path is not allowed.
    #[error("subPath {path:?} must be relative and must not contain \"..\"")]
    NotInside {
        /// As written.
        path: String,
    },
    /// A link leads out of the volume.
    #[error("subPath {path:?} leads out of the volume")]
    LeadsOut {
        /// As written.
        path: String,
    },
    /// The machine refused.
    #[error("subPath {path:?}: {source}")]
    Io {
        /// As written.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

/// The real place of `path` inside `volume`, free of links; directories that are missing are made with the mode of the
/// volume's root. The kernel resolves each step and refuses to leave the volume.
///
/// # Errors
/// The path leads out, or the machine refuses.
pub fn resolve_sub_path(volume: &Path, path: &str) -> Result<PathBuf, SubPathError> {
    let failed = |errno: Errno| match errno {
        Errno::XDEV | Errno::LOOP => SubPathError::LeadsOut { path: path.to_owned() },
        errno => SubPathError::Io { path: path.to_owned(), source: errno.into() },
    };
    let root = rustix::fs::open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(failed)?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&root).map_err(failed)?.st_mode & 0o777);
    let mut inside = PathBuf::new();
    let mut reached: Option<OwnedFd> = None;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => continue,
            _ => return Err(SubPathError::NotInside { path: path.to_owned() }),
        }
        let step = match open_beneath(&root, &inside) {
            Err(Errno::NOENT) => {
                let parent = reached.as_ref().map_or(root.as_fd(), OwnedFd::as_fd);
                let name = inside.file_name().unwrap_or_default();
                match rustix::fs::mkdirat(parent, name, mode) {
                    // Made now: the mask of this process must not make it narrower than its volume.
                    Ok(()) => rustix::fs::chmodat(parent, name, mode, rustix::fs::AtFlags::empty()).map_err(failed)?,
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                open_beneath(&root, &inside)
            }
            step => step,
        };
        reached = Some(step.map_err(failed)?);
    }
    let reached = reached.unwrap_or(root);
    let link = format!("/proc/self/fd/{}", reached.as_raw_fd());
    std::fs::read_link(link).map_err(|source| SubPathError::Io { path: path.to_owned(), source })
}

fn open_beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}
