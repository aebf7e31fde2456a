//! A container's file tree: the machine's own, read-only, with private `/dev`, `/proc`, `/sys`, `/run` and temporary
//! directories, and the mounts of the container on top, also where the machine has no such path.
//!
//! An overlay over `/` would be simpler and is refused in a user namespace wherever the machine's root has mounts below
//! it. So the tree is put together in a fresh tmpfs from bind mounts, and a directory that needs a new entry is replaced
//! by a tmpfs with bind mounts of all it held.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::pivot_root;

use super::wire::InitSpec;
use crate::backend::{ContainerSpec, Mount, MountSource};

/// Top-level directories that a container gets its own of.
const PRIVATE: [&str; 5] = ["dev", "proc", "sys", "run", "tmp"];

/// Where the machine's tree is while the container's is put together.
const MACHINE: &str = "/.machine";

/// Where a replacement of a directory is put together.
const WORK: &str = "/.work";

/// Entries of a directory that can be replaced. More would make the start of a container slow: each is a bind mount.
const MIRRORED_MAX: usize = 4096;

/// Symbolic links followed on the way to a mount path, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// Puts the calling process, alone in its mount namespace, into the container's tree.
pub(crate) fn enter(spec: &InitSpec) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from).map_err(tried("a mount namespace"))?;
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE).map_err(tried("making mounts private"))?;
    let sources = spec.container.mounts.iter().map(resolve_source).collect::<io::Result<Vec<_>>>()?;
    let masked: Vec<PathBuf> = spec.masked.iter().filter_map(|path| path.canonicalize().ok()).collect();

    let root = spec.root.as_path();
    fresh(root, "mode=0755").map_err(tried("a fresh root"))?;
    mirror(Path::new("/"), root, &PRIVATE).map_err(tried("binding the machine's directories"))?;
    make_read_only(root).map_err(tried("making the machine's files read-only"))?;
    for path in [MACHINE, WORK] {
        fs::create_dir(root.join(&path[1..]))?;
    }
    std::env::set_current_dir(root)?;
    pivot_root(".", &MACHINE[1..]).map_err(io::Error::from).map_err(tried("pivot_root"))?;
    std::env::set_current_dir("/")?;

    let mut tree = Tree { writable: vec![PathBuf::from("/")] };
    tree.private_directories(spec)?;
    for path in masked {
        mask(&path)?;
    }
    tree.keep(&spec.program).map_err(tried(format!("keeping {}", spec.program.display())))?;
    for (wanted, source) in spec.container.mounts.iter().zip(sources) {
        tree.mount(wanted, source.as_deref()).map_err(tried(format!("mounting {}", wanted.target.display())))?;
    }
    name_user(&mut tree, &spec.container)?;
    umount2(MACHINE, MntFlags::MNT_DETACH).map_err(io::Error::from).map_err(tried("leaving the machine's tree"))?;
    fs::remove_dir(MACHINE)?;
    fs::remove_dir(WORK)?;
    if spec.container.read_only_root {
        for path in tree.writable.iter().rev() {
            remount(path, MsFlags::MS_RDONLY).map_err(tried(format!("making {} read-only", path.display())))?;
        }
    }
    Ok(())
}

/// Puts what was tried before what went wrong.
fn tried(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn resolve_source(wanted: &Mount) -> io::Result<Option<PathBuf>> {
    match &wanted.source {
        MountSource::Path(path) => path.canonicalize().map(Some).map_err(tried(format!(
            "source of {}: {}",
            wanted.target.display(),
            path.display()
        ))),
        MountSource::Memory { .. } => Ok(None),
    }
}

struct Tree {
    /// What the container may write to besides its mounts; outer before inner.
    writable: Vec<PathBuf>,
}

impl Tree {
    fn private_directories(&mut self, spec: &InitSpec) -> io::Result<()> {
        devices().map_err(tried("/dev"))?;
        if spec.isolation.processes {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
                .map_err(io::Error::from)
                .map_err(tried("/proc"))?;
        } else {
            bind(&on_machine(Path::new("/proc")), Path::new("/proc")).map_err(tried("/proc"))?;
        }
        close_kernel_doors()?;
        if spec.isolation.network {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
            // Refused where the machine's own /sys is partly hidden; the container then has an empty one.
            let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>);
        }
        fresh(Path::new("/run"), "mode=0755")?;
        fresh(Path::new("/tmp"), "mode=1777")?;
        self.writable.extend([PathBuf::from("/run"), PathBuf::from("/tmp")]);
        if Path::new("/var/tmp").is_dir() {
            fresh(Path::new("/var/tmp"), "mode=1777").map_err(tried("/var/tmp"))?;
            self.writable.push(PathBuf::from("/var/tmp"));
        }
        Ok(())
    }

    /// Shows a file of the machine at its own path, where something private lies over it.
    fn keep(&mut self, file: &Path) -> io::Result<()> {
        if file.exists() || !on_machine(file).is_file() {
            return Ok(());
        }
        let target = self.make_target(file, false, LINKS_MAX)?;
        bind(&on_machine(file), &target)?;
        remount(&target, MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID)
    }

    fn mount(&mut self, wanted: &Mount, source: Option<&Path>) -> io::Result<()> {
        if !wanted.target.is_absolute() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "mount path is not absolute"));
        }
        let read_only = if wanted.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        if let Some(source) = source {
            let source = on_machine(source);
            let directory = fs::metadata(&source)?.is_dir();
            let target = self.make_target(&wanted.target, directory, LINKS_MAX)?;
            bind(&source, &target)?;
            for path in mounts_below(&target)? {
                remount(&path, read_only | MsFlags::MS_NODEV | MsFlags::MS_NOSUID)?;
            }
        } else {
            let size = match wanted.source {
                MountSource::Memory { size_bytes: Some(size) } => format!(",size={size}"),
                _ => String::new(),
            };
            let target = self.make_target(&wanted.target, true, LINKS_MAX)?;
            fresh(&target, &format!("mode=1777{size}"))?;
            remount(&target, read_only)?;
        }
        Ok(())
    }

    /// Makes sure that something can be mounted on `target`; gives the path with all links resolved.
    fn make_target(&mut self, target: &Path, directory: bool, links: usize) -> io::Result<PathBuf> {
        match fs::metadata(target) {
            Ok(found) if found.is_dir() == directory => return target.canonicalize(),
            Ok(_) => {
                let kinds = if directory { "is a file, not a directory" } else { "is a directory, not a file" };
                return Err(io::Error::new(ErrorKind::InvalidInput, kinds));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let parent = target.parent().ok_or(ErrorKind::InvalidInput)?;
        let name = target.file_name().ok_or(ErrorKind::InvalidInput)?;
        if let Ok(link) = fs::read_link(target) {
            // A link to nowhere, such as /etc/resolv.conf into a /run that is private now: what it names is made.
            let links = links.checked_sub(1).ok_or_else(|| io::Error::other("too many symbolic links"))?;
            return self.make_target(&parent.join(link), directory, links);
        }
        let parent = self.make_target(parent, true, links)?;
        let path = parent.join(name);
        let make = || if directory { fs::create_dir(&path) } else { File::create(&path).map(drop) };
        if make().is_err() {
            self.open_up(&parent).map_err(tried(format!("making room in {}", parent.display())))?;
            make()?;
        }
        Ok(path)
    }

    /// Replaces a directory that cannot be written by one that can, with the same entries.
    fn open_up(&mut self, directory: &Path) -> io::Result<()> {
        let work = Path::new(WORK);
        let meta = fs::metadata(directory)?;
        fresh(work, &format!("mode={:o}", meta.mode() & 0o7777))?;
        // In a user namespace the owner may have no name; then the directory belongs to the pod's root.
        let _ = std::os::unix::fs::chown(work, Some(meta.uid()), Some(meta.gid()));
        mirror(directory, work, &[])?;
        mount(Some(work), directory, None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
        self.writable.push(directory.to_owned());
        Ok(())
    }
}

/// Makes `to` show every entry of `from`: links as links, everything else by a bind mount. The names in `empty` become
/// empty directories.
fn mirror(from: &Path, to: &Path, empty: &[&str]) -> io::Result<()> {
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

fn devices() -> io::Result<()> {
    let options = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), options, Some("mode=0755,size=64k"))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let target = Path::new("/dev").join(name);
        File::create(&target)?;
        bind(&on_machine(&target), &target).map_err(tried(name))?;
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(to, Path::new("/dev").join(name))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(Path::new("/dev").join(name))?;
    }
    // As much shared memory as container runtimes give.
    fresh(Path::new("/dev/shm"), "mode=1777,size=64m")?;
    let terminal = |more: &str| {
        let data = format!("newinstance,ptmxmode=0666,mode=0620{more}");
        mount(Some("devpts"), "/dev/pts", Some("devpts"), options, Some(data.as_str()))
    };
    // Group 5 is the terminals' by convention and has no name where only one id is mapped. Few servers need one at all.
    if terminal(",gid=5").is_err() {
        let _ = terminal("");
    }
    let _ = mount(Some("mqueue"), "/dev/mqueue", Some("mqueue"), options, None::<&str>);
    fs::set_permissions("/dev/mqueue", Permissions::from_mode(0o1777)).or(Ok(()))
}

/// Makes read-only, or hides, what in /proc acts on the machine as a whole.
fn close_kernel_doors() -> io::Result<()> {
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        let path = Path::new(path);
        if path.exists() {
            bind(path, path).map_err(tried(path.display()))?;
            remount(path, MsFlags::MS_RDONLY).map_err(tried(path.display()))?;
        }
    }
    for path in ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"] {
        if Path::new(path).exists() {
            bind(Path::new("/dev/null"), Path::new(path)).map_err(tried(path))?;
        }
    }
    Ok(())
}

/// Hides a directory behind an empty one, and a file behind nothing.
fn mask(path: &Path) -> io::Result<()> {
    if path.is_file() {
        return bind(Path::new("/dev/null"), path).map_err(tried(format!("hiding {}", path.display())));
    }
    if !path.is_dir() {
        return Ok(());
    }
    fresh(path, "mode=0555,size=4k").map_err(tried(format!("hiding {}", path.display())))?;
    remount(path, MsFlags::MS_RDONLY)
}

/// Gives a user id without a name one: many programs look themselves up and stop when they find nothing.
fn name_user(tree: &mut Tree, container: &ContainerSpec) -> io::Result<()> {
    let Some(user) = container.user else { return Ok(()) };
    let users = Path::new("/etc/passwd");
    let known = fs::read_to_string(users).unwrap_or_default();
    let has_name = known.lines().any(|line| line.split(':').nth(2) == Some(user.to_string().as_str()));
    if has_name || container.mounts.iter().any(|mount| mount.target == users) {
        return Ok(());
    }
    let group = container.group.unwrap_or_default();
    let file = Path::new("/.passwd");
    fs::write(file, format!("{known}user{user}:x:{user}:{group}::/tmp:/bin/sh\n"))?;
    fs::set_permissions(file, Permissions::from_mode(0o644))?;
    let target = tree.make_target(users, false, LINKS_MAX)?;
    bind(file, &target)?;
    remount(&target, MsFlags::MS_RDONLY)?;
    fs::remove_file(file)
}

fn on_machine(path: &Path) -> PathBuf {
    Path::new(MACHINE).join(path.strip_prefix("/").unwrap_or(path))
}

/// An empty directory in memory. Without a size it may grow to half of the machine's memory, the kernel's own bound.
fn fresh(target: &Path, data: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(data))?)
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?)
}

fn change(target: &str, flags: MsFlags) -> io::Result<()> {
    Ok(mount(None::<&str>, target, None::<&str>, flags, None::<&str>)?)
}

fn make_read_only(root: &Path) -> io::Result<()> {
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
fn remount(path: &Path, flags: MsFlags) -> io::Result<()> {
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
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
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
