//! Volumes made of files: ConfigMaps, Secrets, fields of the pod.
//!
//! The files live in a time-stamped directory; a link `..data` names the current one and is swapped in one step, so a
//! reader sees all of the old or all of the new.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path};

use crate::kubelet::assigned::{Assigned, Keys};
use crate::kubelet::environment::{Machine, metadata_value, resource_value};
use crate::spec::{DownwardSource, KeyToPath, Volume};

/// Mode of a file where nobody names one.
const DEFAULT_MODE: u32 = 0o644;

/// The link that names the current directory.
const DATA: &str = "..data";

/// A file as wanted: content and mode, by relative path.
pub(super) type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// The files that a volume should hold; none if it is not made of files.
pub(super) fn wanted(assigned: &Assigned, volume: &Volume, machine: Machine) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let keys = find(&assigned.config_maps, "configmap", &source.name, source.optional)?;
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_keys(&mut files, keys, &source.items, mode, source.optional)?;
    } else if let Some(source) = &volume.secret {
        let keys = find(&assigned.secrets, "secret", &source.secret_name, source.optional)?;
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_keys(&mut files, keys, &source.items, mode, source.optional)?;
    } else if let Some(source) = &volume.downward_api {
        add_fields(&mut files, assigned, source, source.default_mode.unwrap_or(DEFAULT_MODE), machine)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for source in &projected.sources {
            if let Some(source) = &source.config_map {
                let keys = find(&assigned.config_maps, "configmap", &source.name, source.optional)?;
                add_keys(&mut files, keys, &source.items, mode, source.optional)?;
            }
            if let Some(source) = &source.secret {
                let keys = find(&assigned.secrets, "secret", &source.name, source.optional)?;
                add_keys(&mut files, keys, &source.items, mode, source.optional)?;
            }
            if let Some(source) = &source.downward_api {
                add_fields(&mut files, assigned, source, mode, machine)?;
            }
            if source.service_account_token.is_some() {
                return Err("serviceAccountToken is not supported: there is no API to present it to".to_owned());
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn find<'a>(
    objects: &'a BTreeMap<String, Keys>,
    kind: &str,
    name: &str,
    optional: bool,
) -> Result<Option<&'a Keys>, String> {
    match objects.get(name) {
        None if !optional => Err(format!("{kind} {name:?} not found")),
        found => Ok(found),
    }
}

fn add_keys(
    files: &mut Files,
    keys: Option<&Keys>,
    items: &Option<Vec<KeyToPath>>,
    mode: u32,
    optional: bool,
) -> Result<(), String> {
    let Some(keys) = keys else { return Ok(()) };
    let Some(items) = items else {
        return keys.iter().try_for_each(|(key, value)| add(files, key, value.clone(), mode));
    };
    for item in items {
        match keys.get(&item.key) {
            Some(value) => add(files, &item.path, value.clone(), item.mode.unwrap_or(mode))?,
            None if optional => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn add_fields(
    files: &mut Files,
    assigned: &Assigned,
    source: &DownwardSource,
    mode: u32,
    machine: Machine,
) -> Result<(), String> {
    for item in &source.items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => metadata_value(&assigned.pod, field),
            (None, Some(resource)) => resource_value(&assigned.pod, None, resource, machine),
            (None, None) => continue,
        };
        let value = value.map_err(|error| error.0)?;
        add(files, &item.path, value.into_bytes(), item.mode.unwrap_or(mode))?;
    }
    Ok(())
}

fn add(files: &mut Files, path: &str, content: Vec<u8>, mode: u32) -> Result<(), String> {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    if path.is_empty() || path.starts_with("..") || !Path::new(path).components().all(plain) {
        return Err(format!("path {path:?} must be relative and must not contain \"..\""));
    }
    match files.insert(path.to_owned(), (content, mode)) {
        Some(_) => Err(format!("conflicting paths: {path:?} is written twice")),
        None => Ok(()),
    }
}

/// Brings a directory to these files, in one step for whoever reads it.
pub(super) fn materialise(root: &Path, files: &Files) -> io::Result<()> {
    std::fs::create_dir_all(root)?;
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755))?;
    let link = root.join(DATA);
    let current = std::fs::read_link(&link).ok();
    if current.as_ref().is_some_and(|current| same(&root.join(current), files)) {
        return Ok(());
    }
    let fresh = fresh_name(root);
    write_all(&root.join(&fresh), files)?;
    let temporary = root.join("..data_tmp");
    remove_if_there(&temporary)?;
    symlink(&fresh, &temporary)?;
    std::fs::rename(&temporary, &link)?;
    let tops: Vec<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for top in &tops {
        let visible = root.join(top);
        if visible.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(top), &visible)?;
        }
    }
    for entry in std::fs::read_dir(root)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == DATA || *name == fresh || tops.iter().any(|top| *top == name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?
        } else {
            std::fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

/// A directory name that is not in use: the next number.
fn fresh_name(root: &Path) -> String {
    let number = |name: &str| name.strip_prefix("..").and_then(|digits| digits.parse::<u64>().ok());
    let names = std::fs::read_dir(root).into_iter().flatten().flatten();
    let highest = names.filter_map(|entry| number(&entry.file_name().to_string_lossy())).max();
    format!("..{}", highest.map_or(1, |highest| highest + 1))
}

fn write_all(directory: &Path, files: &Files) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    for (path, (content, mode)) in files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o777))?;
    }
    Ok(())
}

fn same(directory: &Path, files: &Files) -> bool {
    let count = count_files(directory);
    count == Some(files.len())
        && files.iter().all(|(path, (content, mode))| {
            let path = directory.join(path);
            let as_wanted = path.metadata().is_ok_and(|meta| meta.mode() & 0o777 == mode & 0o777);
            as_wanted && std::fs::read(&path).is_ok_and(|found| found == *content)
        })
}

fn count_files(directory: &Path) -> Option<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory).ok()? {
        let entry = entry.ok()?;
        count += if entry.file_type().ok()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Some(count)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
