//! A directory shown by another one, entry by entry.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::mounts::{bind, tried};

/// Entries of a directory that can be replaced. More would make the start of a container slow: each is a bind mount.
const MIRRORED_MAX: usize = 4096;

/// Makes `to` show every entry of `from`: links as links, everything else by a bind mount. The names in `empty` become
/// empty directories.
pub(super) fn mirror(from: &Path, to: &Path, empty: &[&str]) -> io::Result<()> {
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        count += 1;
        if count > MIRRORED_MAX {
            return Err(io::Error::other(format!("{} has more than {MIRRORED_MAX} entries", from.display())));
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if entry.file_name().to_str().is_some_and(|name| empty.contains(&name)) {
            fs::create_dir(&target)?;
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
        } else {
            File::create(&target)?;
        }
        match bind(&source, &target) {
            // What went away meanwhile, or what the caller may not reach, is not there for the container.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
            other => other.map_err(tried(source.display()))?,
        }
    }
    for name in empty {
        match fs::create_dir(to.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
