//! From a container's manifest to what the backend starts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::assigned::Assigned;
use super::catalogue::Catalogue;
use super::directory::PodDirectory;
use super::environment::{Environment, Facts, Machine, environment, expand, limits};
use super::names::{PodNames, hosts_file};
use super::security::identity;
use super::volumes::{Ready, resolve_sub_path};
use super::zone::Zone;
use crate::backend::{Capabilities, ContainerSpec, Mount, MountSource};
use crate::spec::{Container, VolumeMount};

/// Where a container finds its own directory, if mounts work.
const HOME_INSIDE: &str = "/run/setkeeper/home";

/// Where a container writes its last word, if nobody says otherwise.
const DEFAULT_LAST_WORDS: &str = "/dev/termination-log";

/// Names the real place of a mount, if mounts do not work: this and the volume's name in upper case.
const MOUNT_VARIABLE: &str = "SETKEEPER_MOUNT_";

/// Names the real place of the last word, if mounts do not work.
const LAST_WORDS_VARIABLE: &str = "SETKEEPER_TERMINATION_LOG";

/// What a launch depends on.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The pod and all it refers to.
    pub assigned: &'a Assigned,
    /// Its volumes.
    pub ready: &'a BTreeMap<String, Ready>,
    /// Its files.
    pub directory: &'a PodDirectory,
    /// Its names.
    pub names: &'a PodNames,
    /// Its address.
    pub pod_ip: IpAddr,
    /// Its resolver configuration.
    pub resolv_conf: &'a str,
    /// Names of all pods, for the hosts file.
    pub others: &'a Zone,
    /// What the tier can do.
    pub capabilities: &'a Capabilities,
    /// Name of the machine.
    pub node_name: &'a str,
    /// What images mean.
    pub catalogue: &'a Catalogue,
    /// What the machine has.
    pub machine: Machine,
}

/// Why a container cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// Waiting reason.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

fn config(message: impl ToString) -> LaunchError {
    LaunchError { reason: "CreateContainerConfigError", message: message.to_string() }
}

fn machine(what: &str) -> impl Fn(std::io::Error) -> LaunchError + '_ {
    move |error| LaunchError { reason: "CreateContainerError", message: format!("{what}: {error}") }
}

/// What to start, with its files written.
///
/// # Errors
/// The manifest demands what cannot be done here, something it refers to is missing, or the machine refuses.
pub fn container_spec(launch: &Launch<'_>, container: &Container, instance: u32) -> Result<ContainerSpec, LaunchError> {
    let capabilities = launch.capabilities;
    let pod = &launch.assigned.pod;
    let identity = identity(pod, container, capabilities).map_err(config)?;
    let home = launch.directory.home(&container.name).map_err(machine("make the container's directory"))?;
    let home_inside = if capabilities.mounts { PathBuf::from(HOME_INSIDE) } else { home.clone() };
    let facts = Facts {
        assigned: launch.assigned,
        container,
        pod_ip: launch.pod_ip,
        host_ip: capabilities.host_ip,
        node_name: launch.node_name,
        hostname: &launch.names.kernel,
        home: &home_inside.display().to_string(),
        machine: launch.machine,
    };
    let mut env = environment(&facts).map_err(config)?;
    let mounts = volume_mounts(launch, container, &env)?;
    let words = launch.directory.make_last_words(&container.name).map_err(machine("make the termination log"))?;
    let substitution = Substitution::new(capabilities.mounts, &mounts);
    for (mount, (volume, _)) in &mounts {
        if !capabilities.mounts {
            env.set(&format!("{MOUNT_VARIABLE}{}", variable_name(volume)), source_text(mount));
        }
    }
    if !capabilities.mounts {
        env.set(LAST_WORDS_VARIABLE, words.display().to_string());
    }
    let command = command(launch, container, &env, &home, &home_inside, &mounts)?;
    let mut all: Vec<Mount> = mounts.iter().map(|(mount, _)| mount.clone()).collect();
    own_mounts(launch, container, &mut all, &home, words)?;
    all.sort_by(|a, b| a.target.cmp(&b.target)); // Parents come before children.
    let working_dir = container.working_dir.as_deref().filter(|path| !path.is_empty()).map(|p| substitution.apply(p));
    let (memory_limit_bytes, cpu_limit_millis) = limits(&container.resources);
    Ok(ContainerSpec {
        name: container.name.clone(),
        instance,
        command: command.iter().map(|argument| substitution.apply(argument)).collect(),
        env: env.into_inner().into_iter().map(|(name, value)| (name, substitution.apply(&value))).collect(),
        working_dir: working_dir.map(PathBuf::from).or_else(|| (!capabilities.mounts).then(|| home.clone())),
        mounts: if capabilities.mounts { all } else { Vec::new() },
        user: identity.user,
        group: identity.group,
        supplemental_groups: identity.groups,
        read_only_root: identity.read_only_root,
        log_path: launch.directory.make_log(&container.name, instance).map_err(machine("make the log"))?,
        memory_limit_bytes,
        cpu_limit_millis,
    })
}

/// What the runtime itself puts into a container, unless the manifest does.
fn own_mounts(
    launch: &Launch<'_>,
    container: &Container,
    all: &mut Vec<Mount>,
    home: &Path,
    words: PathBuf,
) -> Result<(), LaunchError> {
    let hosts = hosts_file(&launch.assigned.pod, launch.names, launch.pod_ip, launch.others);
    let hosts = launch.directory.write_hosts(&hosts).map_err(machine("write the hosts file"))?;
    let resolver = launch.directory.write_resolv_conf(launch.resolv_conf).map_err(machine("write resolv.conf"))?;
    let words_inside = container.termination_message_path.as_deref().unwrap_or(DEFAULT_LAST_WORDS);
    for (target, path) in
        [("/etc/hosts", hosts), ("/etc/resolv.conf", resolver), (HOME_INSIDE, home.to_owned()), (words_inside, words)]
    {
        let target = PathBuf::from(target);
        if !all.iter().any(|mount| mount.target == target) {
            all.push(Mount { target, source: MountSource::Path(path), read_only: false });
        }
    }
    Ok(())
}

type NamedMount = (Mount, (String, String));

/// The mounts of the manifest, each with its volume's name and the path as written.
fn volume_mounts(
    launch: &Launch<'_>,
    container: &Container,
    env: &Environment,
) -> Result<Vec<NamedMount>, LaunchError> {
    let mut mounts: Vec<NamedMount> = Vec::new();
    for mount in &container.volume_mounts {
        let target = PathBuf::from(&mount.mount_path);
        if !target.is_absolute() {
            return Err(config(format!("mountPath {:?} is not absolute", mount.mount_path)));
        }
        if mounts.iter().any(|(known, _)| known.target == target) {
            return Err(config(format!("mountPath {:?} is used twice", mount.mount_path)));
        }
        let volume = launch.ready.get(&mount.name);
        let volume = volume.ok_or_else(|| config(format!("volume {:?} is not in the pod's volumes", mount.name)))?;
        let source = MountSource::Path(inside(volume, mount, env)?);
        let read_only = mount.read_only || volume.read_only;
        mounts.push((Mount { target, source, read_only }, (mount.name.clone(), mount.mount_path.clone())));
    }
    Ok(mounts)
}

fn inside(volume: &Ready, mount: &VolumeMount, env: &Environment) -> Result<PathBuf, LaunchError> {
    let mut path = mount.sub_path.clone();
    if !mount.sub_path_expr.is_empty() {
        path = expand(&mount.sub_path_expr, |name| env.get(name).map(str::to_owned));
        let unset = |rest: &str| rest.split_once(')').is_some_and(|(name, _)| env.get(name).is_none());
        if mount.sub_path_expr.split("$(").skip(1).any(unset) {
            return Err(config(format!("subPathExpr {:?} names a variable that is not set", mount.sub_path_expr)));
        }
    }
    if path.is_empty() {
        return Ok(volume.path.clone());
    }
    resolve_sub_path(&volume.path, &path).map_err(config)
}

fn source_text(mount: &Mount) -> String {
    match &mount.source {
        MountSource::Path(path) => path.display().to_string(),
        MountSource::Memory { .. } => String::new(),
    }
}

fn variable_name(volume: &str) -> String {
    volume.to_uppercase().replace(['-', '.'], "_")
}

/// The program and its arguments.
fn command(
    launch: &Launch<'_>,
    container: &Container,
    env: &Environment,
    home: &Path,
    home_inside: &Path,
    mounts: &[NamedMount],
) -> Result<Vec<String>, LaunchError> {
    let expanded = |list: &[String]| -> Vec<String> {
        list.iter().map(|argument| expand(argument, |name| env.get(name).map(str::to_owned))).collect()
    };
    let args = expanded(&container.args);
    if !container.command.is_empty() {
        let mut command = expanded(&container.command);
        command.extend(args);
        return Ok(command);
    }
    let found = launch.catalogue.find(&container.image);
    let (entry, program) =
        found.map_err(|error| LaunchError { reason: "ErrImageNeverPull", message: error.to_string() })?;
    // An image's entrypoint runs a first argument that is no option as a program.
    if args
        .first()
        .is_some_and(|first| !first.starts_with('-') && entry.script.is_none() && entry.programs.contains(first))
    {
        return Ok(args);
    }
    let mounted =
        entry.data.as_ref().filter(|data| mounts.iter().any(|(mount, _)| Path::new(data).starts_with(&mount.target)));
    let data = mounted.map_or_else(|| home_inside.join("data").display().to_string(), Clone::clone);
    let bind = if launch.capabilities.tier == "namespaced" { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { launch.pod_ip };
    let fill = |text: &str| {
        text.replace("{home}", &home_inside.display().to_string())
            .replace("{data}", &data)
            .replace("{bind}", &bind.to_string())
            .replace("{ip}", &launch.pod_ip.to_string())
            .replace("{hostname}", &launch.names.kernel)
    };
    super::volumes::open_to_all(&home.join("data")).map_err(machine("make the data directory"))?;
    for (name, text) in &entry.files {
        std::fs::write(home.join(name), fill(text)).map_err(machine("write a file of the catalogue"))?;
    }
    let mut command = match &entry.script {
        Some(script) => vec!["/bin/sh".to_owned(), "-c".to_owned(), fill(script), program],
        None => vec![program],
    };
    if args.is_empty() {
        command.extend(entry.args.iter().map(|argument| fill(argument)));
    } else {
        command.extend(args);
    }
    Ok(command)
}

/// Where mounts do not work, the paths of the manifest are replaced by the real ones.
struct Substitution {
    /// Path as written and real path, the longest first.
    pairs: Vec<(String, String)>,
}

impl Substitution {
    fn new(mounts_work: bool, mounts: &[NamedMount]) -> Self {
        if mounts_work {
            return Self { pairs: Vec::new() };
        }
        let pair = |(mount, (_, written)): &NamedMount| (written.trim_end_matches('/').to_owned(), source_text(mount));
        let mut pairs: Vec<_> = mounts.iter().map(pair).filter(|(written, _)| !written.is_empty()).collect();
        pairs.sort_by_key(|(written, _)| std::cmp::Reverse(written.len()));
        Self { pairs }
    }

    /// Replaces each path that stands alone: not as a part of a longer name.
    fn apply(&self, text: &str) -> String {
        let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        'outer: while let Some(next) = rest.chars().next() {
            let before = result.chars().next_back();
            if next == '/' && !before.is_some_and(|c| part_of_name(c) || c == '/') {
                for (written, real) in &self.pairs {
                    if let Some(after) = rest.strip_prefix(written.as_str())
                        && !after.starts_with(part_of_name)
                    {
                        result.push_str(real);
                        rest = after;
                        continue 'outer;
                    }
                }
            }
            result.push(next);
            rest = &rest[next.len_utf8()..];
        }
        result
    }
}

#[cfg(test)]
mod tests;
