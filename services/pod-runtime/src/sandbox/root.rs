//! A container's file tree: the machine's own, read-only, with private `/dev`, `/proc`, `/sys`, `/run` and temporary
//! directories, and the mounts of the container on top, also where the machine has no such path.
//!
//! An overlay over `/` would be simpler and is refused in a user namespace wherever the machine's root has mounts below
//! it. So the tree is put together in a fresh tmpfs from bind mounts, and a directory that needs a new entry is replaced
//! by a tmpfs with bind mounts of all it held.

mod mirror;
mod mounts;
mod private;

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::pivot_root;

use self::mirror::mirror;
use self::mounts::{MACHINE, bind, change, fresh, make_read_only, mounts_below, on_machine, remount, tried};
use self::private::{close_kernel_doors, devices, mask};
use super::wire::InitSpec;
use crate::backend::{ContainerSpec, Mount, MountSource};

/// Top-level directories that a container gets its own of.
const PRIVATE: [&str; 5] = ["dev", "proc", "sys", "run", "tmp"];

/// Where a replacement of a directory is put together.
const WORK: &str = "/.work";

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
