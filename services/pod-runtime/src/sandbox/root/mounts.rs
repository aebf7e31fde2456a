//! Single mounts, and what is mounted where.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// Where the machine's tree is while the container's is put together.
pub(super) const MACHINE: &str = "/.machine";

pub(super) fn on_machine(path: &Path) -> PathBuf {
    Path::new(MACHINE).join(path.strip_prefix("/").unwrap_or(path))
}

/// An empty directory in memory. Without a size it may grow to half of the machine's memory, the kernel's own bound.
pub(super) fn fresh(target: &Path, data: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(data))?)
}

pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?)
}

pub(super) fn change(target: &str, flags: MsFlags) -> io::Result<()> {
    Ok(mount(None::<&str>, target, None::<&str>, flags, None::<&str>)?)
}

pub(super) fn make_read_only(root: &Path) -> io::Result<()> {
    for path in mounts_below(root)? {
        if path == root {
            continue;
        }
        match remount(&path, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV) {
            // Hidden by another mount, or out of the caller's reach: then out of the container's too.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
            other => other.map_err(tried(path.display()))?,
        }
    }
    Ok(())
}

/// Adds flags to one mount. Those it has must be given again: in a user namespace they may not be taken away.
pub(super) fn remount(path: &Path, flags: MsFlags) -> io::Result<()> {
    let existing = mount_flags(path)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | existing | flags;
    Ok(mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?)
}

fn mount_flags(path: &Path) -> io::Result<MsFlags> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let found = rustix::fs::statvfs(path)?.f_flag;
    Ok([
        (Flags::RDONLY, MsFlags::MS_RDONLY),
        (Flags::NOSUID, MsFlags::MS_NOSUID),
        (Flags::NODEV, MsFlags::MS_NODEV),
        (Flags::NOEXEC, MsFlags::MS_NOEXEC),
    ]
    .into_iter()
    .filter(|(flag, _)| found.contains(*flag))
    .fold(MsFlags::empty(), |flags, (_, flag)| flags | flag))
}

/// Mount points at and below `path`, outer before inner.
pub(super) fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = [format!("{MACHINE}/proc/self/mountinfo"), "/proc/self/mountinfo".to_owned()];
    let text = table.iter().find_map(|table| fs::read(table).ok()).ok_or(ErrorKind::NotFound)?;
    let mut found: Vec<PathBuf> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|point| point.starts_with(path))
        .collect();
    found.sort_by_key(|point| point.components().count());
    found.dedup();
    Ok(found)
}

/// Mount points are written with spaces, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Puts what was tried before what went wrong.
pub(super) fn tried(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_read_back() {
        assert_eq!(unescape(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(br"/plain"), Path::new("/plain"));
        assert_eq!(unescape(br"/end\04"), Path::new(r"/end\04"));
    }
}
