//! Removing a tree that somebody hostile may have built, and may still be building.
//!
//! The volume's directory is renamed into a bin: a private directory of its own. The bin is emptied without recursion:
//! a directory that is not empty is moved up into the bin under a number and is dealt with later. So neither depth nor
//! the length of paths matters, and at most three descriptors are open. Links are removed, never followed.

use std::cell::Cell;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{PRIVATE_MODE, VolumeName, list, open_below};

/// Entries that one step removes or moves. Some tens of milliseconds on a slow disk: others wait no longer for the
/// volumes directory.
const ENTRIES_PER_STEP_MAX: u64 = 4096;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whether nothing is left.
    pub done: bool,
    /// Entries removed.
    pub removed_entries: u64,
}

impl Step {
    pub(super) fn nothing_left() -> Self {
        Self { done: true, removed_entries: 0 }
    }
}

/// The bin of one volume.
pub(super) struct Bin<'a> {
    trash: &'a OwnedFd,
    name: &'a str,
    directory: OwnedFd,
    /// Number under which the next directory is kept.
    next: Cell<u64>,
}

impl<'a> Bin<'a> {
    /// Opens the bin of a volume; makes it where it is missing.
    pub(super) fn open(trash: &'a OwnedFd, volume: &'a VolumeName) -> rustix::io::Result<Self> {
        let name = volume.as_str();
        match rustix::fs::mkdirat(trash, name, PRIVATE_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let directory = open_below(trash, name)?;
        let next = Cell::new(next_number(&directory)?);
        Ok(Self { trash, name, directory, next })
    }

    /// Moves the volume's directory from `root` into the bin. Durable when it returns.
    pub(super) fn throw(&self, root: &OwnedFd, volume: &VolumeName) -> rustix::io::Result<()> {
        self.keep(root, volume.as_str())?;
        rustix::fs::fsync(&self.directory)?;
        rustix::fs::fsync(root)
    }

    /// Removes up to [`ENTRIES_PER_STEP_MAX`] entries.
    pub(super) fn empty(&self) -> rustix::io::Result<Step> {
        let mut removed_entries = 0;
        let mut budget = ENTRIES_PER_STEP_MAX;
        loop {
            let Some(entry) = list(&self.directory)?.next().transpose()? else {
                return Ok(Step { done: true, removed_entries });
            };
            if budget == 0 {
                return Ok(Step { done: false, removed_entries });
            }
            let name = entry.file_name();
            if remove_plain(&self.directory, name)? {
                removed_entries += 1;
                budget -= 1;
                continue;
            }
            let inner = open_writable(&self.directory, name)?;
            for entry in list(&inner)? {
                if budget == 0 {
                    return Ok(Step { done: false, removed_entries });
                }
                budget -= 1;
                let entry = entry?;
                if remove_plain(&inner, entry.file_name())? {
                    removed_entries += 1;
                } else {
                    // Moving a directory elsewhere writes its "..", so it must be writable itself.
                    drop(open_writable(&inner, entry.file_name())?);
                    self.keep(&inner, entry.file_name())?;
                }
            }
            // Emptied now, unless somebody goes on filling it: then the budget ends this.
            budget = budget.saturating_sub(1);
        }
    }

    /// Removes the empty bin. Durable when it returns.
    pub(super) fn remove(&self) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(self.trash, self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(self.trash),
            Err(error) => Err(error),
        }
    }

    /// Moves an entry of `from` into the bin, under the next number.
    fn keep(&self, from: &OwnedFd, name: impl rustix::path::Arg) -> rustix::io::Result<()> {
        let number = self.next.get();
        self.next.set(number.saturating_add(1));
        match rustix::fs::renameat_with(from, name, &self.directory, number.to_string(), RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => Ok(()), // Somebody else may have removed it.
            Err(error) => Err(error),
        }
    }
}

/// A number above all that are in use.
fn next_number(bin: &OwnedFd) -> rustix::io::Result<u64> {
    let mut next = 0;
    for entry in list(bin)? {
        let number = entry?.file_name().to_str().ok().and_then(|name| name.parse::<u64>().ok());
        next = next.max(number.map_or(0, |number| number.saturating_add(1)));
    }
    Ok(next)
}

/// Removes an entry that is no directory, or an empty one. False for a directory with something in it.
fn remove_plain(parent: &OwnedFd, name: &std::ffi::CStr) -> rustix::io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // Linux says EISDIR, POSIX says EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a directory so that its entries can be removed, whatever mode its owner gave it.
fn open_writable(parent: &OwnedFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let path_only = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, path_only, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode & 0o7777);
    if !mode.contains(PRIVATE_MODE) {
        // Through the handle, so that it is this very directory and no link put in its place.
        let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
        match rustix::fs::chmodat(CWD, itself, PRIVATE_MODE, AtFlags::empty()) {
            // Not ours to change; opening it tells whether we may go on all the same.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    open_below(parent, name)
}
