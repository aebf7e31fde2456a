//! What a container has of its own, and what of the machine is hidden from it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::mounts::{bind, fresh, on_machine, remount, tried};

pub(super) fn devices() -> io::Result<()> {
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
pub(super) fn close_kernel_doors() -> io::Result<()> {
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
pub(super) fn mask(path: &Path) -> io::Result<()> {
    if path.is_file() {
        return bind(Path::new("/dev/null"), path).map_err(tried(format!("hiding {}", path.display())));
    }
    if !path.is_dir() {
        return Ok(());
    }
    fresh(path, "mode=0555,size=4k").map_err(tried(format!("hiding {}", path.display())))?;
    remount(path, MsFlags::MS_RDONLY)
}
