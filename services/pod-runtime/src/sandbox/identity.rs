//! User namespaces, users, groups and capabilities.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What a container's root keeps, as container runtimes leave it by default, without making device nodes: nothing
/// else would keep a pod from the machine's disks.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Makes a user namespace, and `more`, in which the caller's own ids are `user` and `group`. Nothing else is mapped.
pub(crate) fn enter_user_namespace(more: CloneFlags, user: u32, group: u32) -> io::Result<()> {
    let (outer_user, outer_group) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER | more)?;
    // Refused where an outer namespace has already denied it, which is what is wanted.
    let _ = fs::write("/proc/self/setgroups", "deny");
    fs::write("/proc/self/uid_map", format!("{user} {outer_user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {outer_group} 1"))
}

/// Becomes `user` and `group`, for good. Where only one id of the machine is there, the new id is another name for it,
/// in a user namespace of its own.
pub(crate) fn become_user(
    user: Option<u32>,
    group: Option<u32>,
    supplemental_groups: &[u32],
    one_uid: bool,
) -> io::Result<()> {
    let wanted_user = user.unwrap_or_else(|| Uid::effective().as_raw());
    let wanted_group = group.unwrap_or_else(|| Gid::effective().as_raw());
    if one_uid {
        if wanted_user != Uid::effective().as_raw() || wanted_group != Gid::effective().as_raw() {
            enter_user_namespace(CloneFlags::empty(), wanted_user, wanted_group)?;
        }
        return Ok(());
    }
    if !Uid::effective().is_root() {
        let same = wanted_user == Uid::effective().as_raw() && wanted_group == Gid::effective().as_raw();
        return if same {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("cannot become user {wanted_user}, group {wanted_group} without privilege"),
            ))
        };
    }
    let groups: Vec<Gid> =
        std::iter::once(wanted_group).chain(supplemental_groups.iter().copied()).map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setgid(Gid::from_raw(wanted_group))?;
    setuid(Uid::from_raw(wanted_user))?;
    Ok(())
}

/// Gives up, for this process and all it will ever execute, what reaches beyond a pod. Before the user changes.
pub(crate) fn bound_capabilities() -> io::Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if KEPT.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no capability of this number, nor any above it.
            Err(rustix::io::Errno::INVAL) => break,
            // Root without this right, as in some containers. What it holds is dropped all the same, and without new
            // privileges no program regains it.
            Err(rustix::io::Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Keeps of the capabilities at hand only what a pod may have, and lets no program regain others.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    let kept = CapabilitySets {
        effective: held.effective & KEPT,
        permitted: held.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, kept)?;
    forbid_new_privileges()
}

/// No program that is executed from here on gains privileges by doing so.
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}
