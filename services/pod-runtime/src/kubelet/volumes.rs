//! Volumes of a pod: directories, files from ConfigMaps, Secrets and fields (pod rules, section 11).
//!
//! Everything here may be repeated: a volume that is already as wanted is left alone.

mod files;
mod sub_path;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::assigned::Assigned;
use super::environment::{Machine, bytes};
use crate::spec::{HostPath, Volume};

pub use sub_path::{SubPathError, resolve_sub_path};

/// Where the volumes of one pod are put.
#[derive(Debug, Clone)]
pub struct Places {
    /// For what should survive; below the pod's own directory.
    pub disk: PathBuf,
    /// For what should stay in memory; the disk where the machine has no such place.
    pub memory: PathBuf,
}

/// A volume that is ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it must not be written by anybody.
    pub read_only: bool,
}

/// Why a volume is not ready.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Something it needs is not there.
    #[error("volume {volume:?}: {why}")]
    Missing {
        /// Which.
        volume: String,
        /// What.
        why: String,
    },
    /// The machine refused.
    #[error("volume {volume:?}: {operation}: {source}")]
    Io {
        /// Which.
        volume: String,
        /// What was tried.
        operation: String,
        /// What it said.
        source: io::Error,
    },
}

/// Brings all volumes of the pod to what the assignment wants. All are tried; the first failure is told.
///
/// # Errors
/// A volume is not ready; in words for an event `FailedMount`.
pub fn prepare(assigned: &Assigned, places: &Places, machine: Machine) -> Result<BTreeMap<String, Ready>, VolumeError> {
    let mut ready = BTreeMap::new();
    let mut failure = None;
    for volume in &assigned.pod.spec.volumes {
        match prepare_one(assigned, places, machine, volume) {
            Ok(one) => {
                ready.insert(volume.name.clone(), one);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(ready), Err)
}

fn prepare_one(assigned: &Assigned, places: &Places, machine: Machine, volume: &Volume) -> Result<Ready, VolumeError> {
    let missing = |why: String| VolumeError::Missing { volume: volume.name.clone(), why };
    let failed = |operation: String| move |source| VolumeError::Io { volume: volume.name.clone(), operation, source };
    let group = assigned.pod.spec.security_context.fs_group;
    if let Some(claim) = &volume.persistent_volume_claim {
        let hint = assigned.missing.iter().find(|line| line.contains(&claim.claim_name));
        let known = assigned.claims.get(&volume.name).ok_or_else(|| {
            missing(hint.cloned().unwrap_or_else(|| format!("claim {:?} is not bound", claim.claim_name)))
        })?;
        let host_path = HostPath { path: known.path.display().to_string(), r#type: known.host_path_type.clone() };
        check_host_path(&host_path).map_err(missing)?;
        if known.host_path_type.is_empty() {
            give_to_group(&known.path, group);
        }
        return Ok(Ready { path: known.path.clone(), read_only: known.read_only || claim.read_only });
    }
    if let Some(host_path) = &volume.host_path {
        check_host_path(host_path).map_err(missing)?;
        return Ok(Ready { path: PathBuf::from(&host_path.path), read_only: false });
    }
    if let Some(empty) = &volume.empty_dir {
        if empty.size_limit.as_ref().is_some_and(|limit| bytes(limit).is_none()) {
            return Err(missing("sizeLimit is no quantity".to_owned()));
        }
        let base = if empty.medium == "Memory" { &places.memory } else { &places.disk };
        let path = base.join(&volume.name);
        open_to_all(&path).map_err(failed(format!("make {}", path.display())))?;
        give_to_group(&path, group);
        return Ok(Ready { path, read_only: false });
    }
    let secret = volume.secret.is_some()
        || volume.projected.iter().flat_map(|projected| &projected.sources).any(|source| source.secret.is_some());
    if let Some(wanted) = files::wanted(assigned, volume, machine).map_err(missing)? {
        let path = if secret { &places.memory } else { &places.disk }.join(&volume.name);
        files::materialise(&path, &wanted).map_err(failed(format!("write {}", path.display())))?;
        return Ok(Ready { path, read_only: true });
    }
    Err(missing("its source is not supported here".to_owned()))
}

/// A directory that everybody may write.
///
/// # Errors
/// The machine refuses.
pub fn open_to_all(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if path.metadata()?.permissions().mode() & 0o777 != 0o777 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    }
    Ok(())
}

/// Checks a path of the machine by its type, and creates what the type says (volume rules, 7.3).
fn check_host_path(host: &HostPath) -> Result<(), String> {
    let path = Path::new(&host.path);
    let refused = |error: io::Error| format!("{}: {error}", path.display());
    if !path.is_absolute() {
        return Err(format!("path {:?} is not absolute", host.path));
    }
    let create_directory = || -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
    };
    match host.r#type.as_str() {
        "" => return create_directory().map_err(refused),
        "DirectoryOrCreate" => create_directory().map_err(refused)?,
        "FileOrCreate" if !path.exists() => {
            std::fs::File::create_new(path).map_err(refused)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(refused)?;
        }
        _ => {}
    }
    let kind = path.metadata().map_err(refused)?.file_type();
    let fits = match host.r#type.as_str() {
        "Directory" | "DirectoryOrCreate" => kind.is_dir(),
        "File" | "FileOrCreate" => kind.is_file(),
        "Socket" => kind.is_socket(),
        "CharDevice" => kind.is_char_device(),
        "BlockDevice" => kind.is_block_device(),
        other => return Err(format!("hostPath type {other:?} is not known")),
    };
    if fits { Ok(()) } else { Err(format!("hostPath type check failed: {} is not a {}", path.display(), host.r#type)) }
}

/// Gives a volume to the pod's group (volume rules, 7.4). A machine that cannot change groups leaves it as it is: the
/// volume then belongs to the one user that pods run as.
fn give_to_group(root: &Path, group: Option<u32>) {
    let Some(group) = group else { return };
    let Ok(meta) = root.symlink_metadata() else { return };
    if meta.gid() == group && meta.mode() & 0o2070 == 0o2070 {
        return;
    }
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if std::os::unix::fs::lchown(&path, None, Some(group)).is_err() {
            tracing::debug!(path = %path.display(), group, "cannot change the group of a volume");
            return;
        }
        if meta.is_symlink() {
            continue;
        }
        let mode = meta.mode() | if meta.is_dir() { 0o2070 } else { 0o060 };
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o7777));
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

#[cfg(test)]
mod tests;
