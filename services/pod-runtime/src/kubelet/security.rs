//! What a manifest demands in matters of security, and what this machine makes of it (pod rules, 12.2). Pure.
//!
//! Each demand is honoured, not enforced (a condition and an event tell so), or refused. None is dropped in silence.

use crate::backend::Capabilities;
use crate::spec::{Container, Pod, Role, SecurityContext};

use super::environment::ConfigError;

/// As whom a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User id; none means the tier's own.
    pub user: Option<u32>,
    /// Group id; none means the tier's own.
    pub group: Option<u32>,
    /// Further group ids.
    pub groups: Vec<u32>,
    /// Whether the root file system must not be written.
    pub read_only_root: bool,
}

/// As whom the container runs.
///
/// # Errors
/// A demand that cannot be met and must not be dropped; the container waits with `CreateContainerConfigError`.
pub fn identity(pod: &Pod, container: &Container, machine: &Capabilities) -> Result<Identity, ConfigError> {
    let (own, all) = (&container.security_context, &pod.spec.security_context);
    let user = own.run_as_user.or(all.run_as_user);
    let group = own.run_as_group.or(all.run_as_group);
    if own.run_as_non_root.or(all.run_as_non_root) == Some(true) {
        match user {
            None => refuse("runAsNonRoot is set and no runAsUser says which user that would be")?,
            Some(0) => refuse("runAsNonRoot is set and runAsUser is 0")?,
            Some(_) => {}
        }
    }
    if let (Some(user), Some(only)) = (user, machine.only_uid)
        && user != only
    {
        let message = format!(
            "runAsUser {user} needs the ability to change user ids; without it this machine can only run as {only}"
        );
        refuse(&message)?;
    }
    let mut groups: Vec<u32> = all.supplemental_groups.iter().copied().chain(all.fs_group).collect();
    groups.sort_unstable();
    groups.dedup();
    if let Some(only) = machine.only_uid {
        // Groups are grants, not restrictions: without them the container has less, and the volumes belong to the one
        // user there is.
        groups.clear();
        if group.is_some_and(|group| group != only) {
            refuse("runAsGroup needs the ability to change group ids, which this machine does not have")?;
        }
    }
    refused(own)?;
    refused(all)?;
    refused_in_pod(pod)?;
    if !container.restart_policy_rules.is_empty() {
        refuse("restartPolicyRules are not supported; use restartPolicy alone")?;
    }
    if !container.volume_devices.is_empty() {
        refuse("volumeDevices are not supported; use a claim of mode Filesystem")?;
    }
    let read_only_root = own.read_only_root_filesystem == Some(true) && machine.mounts;
    Ok(Identity { user, group, groups, read_only_root })
}

fn refuse(message: &str) -> Result<(), ConfigError> {
    Err(ConfigError(message.to_owned()))
}

fn refused(context: &SecurityContext) -> Result<(), ConfigError> {
    if context.privileged == Some(true) {
        refuse("privileged containers are refused")?;
    }
    if !context.capabilities.add.is_empty() {
        refuse(&format!("capabilities cannot be added: {}", context.capabilities.add.join(", ")))?;
    }
    if context.seccomp_profile.as_ref().is_some_and(|profile| profile["type"] == "Localhost") {
        refuse("seccompProfile Localhost is not supported")?;
    }
    if context.proc_mount.as_deref() == Some("Unmasked") {
        refuse("procMount Unmasked is refused")?;
    }
    if !context.sysctls.is_empty() {
        refuse("sysctls are not supported")?;
    }
    Ok(())
}

fn refused_in_pod(pod: &Pod) -> Result<(), ConfigError> {
    for (set, field) in
        [(pod.spec.host_p_i_d, "hostPID"), (pod.spec.host_i_p_c, "hostIPC"), (pod.spec.host_network, "hostNetwork")]
    {
        if set {
            refuse(&format!("{field} is refused: pods here have their own"))?;
        }
    }
    Ok(())
}

/// Demands of the pod that are accepted and not enforced here, in words.
#[must_use]
pub fn not_enforced(pod: &Pod, machine: &Capabilities) -> Vec<String> {
    let mut list = Vec::new();
    let mut note = |text: String| {
        if !list.contains(&text) {
            list.push(text);
        }
    };
    let all = &pod.spec.security_context;
    if let Some(only) = machine.only_uid {
        let unheld = all.supplemental_groups.iter().chain(&all.fs_group).any(|group| *group != only);
        if unheld {
            note("fsGroup and supplementalGroups (volumes belong to the one user that pods run as)".to_owned());
        }
    }
    for (role, container) in pod.containers() {
        let own = &container.security_context;
        let name = &container.name;
        if own.read_only_root_filesystem == Some(true) && !machine.mounts {
            note(format!("readOnlyRootFilesystem of container {name}"));
        }
        // Another user than 0 has no capabilities to begin with; user 0 keeps a fixed, harmless set.
        let root = own.run_as_user.or(all.run_as_user).unwrap_or(0) == 0;
        if root && !own.capabilities.drop.is_empty() {
            note(format!("capabilities.drop of container {name} (set runAsUser to another user than 0 to have none)"));
        }
        let profile = own.seccomp_profile.as_ref().or(all.seccomp_profile.as_ref());
        if profile.is_some_and(|profile| profile["type"] == "RuntimeDefault") {
            note("seccompProfile RuntimeDefault".to_owned());
        }
        if own.se_linux_options.is_some() || all.se_linux_options.is_some() {
            note("seLinuxOptions".to_owned());
        }
        if own.app_armor_profile.is_some() || all.app_armor_profile.is_some() {
            note("appArmorProfile".to_owned());
        }
        if role != Role::Init && !machine.mounts && !container.volume_mounts.is_empty() {
            note(format!(
                "volumeMounts of container {name} (their real places are in SETKEEPER_MOUNT_<VOLUME>, and replace the \
                 mount paths in command, args and env)"
            ));
        }
    }
    for word in &machine.degraded {
        let limits = pod.containers().any(|(_, container)| !container.resources.limits.is_empty());
        if limits && word.contains("limit") {
            note(word.clone());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pod_context: &str, context: &str, only_uid: Option<u32>) -> Result<Identity, ConfigError> {
        let json = format!(
            r#"{{"spec":{{"securityContext":{pod_context},"containers":[{{"name":"c","securityContext":{context}}}]}}}}"#
        );
        let pod = Pod::from_json(json.as_bytes()).unwrap();
        identity(&pod, &pod.spec.containers[0], &machine(only_uid))
    }

    fn machine(only_uid: Option<u32>) -> Capabilities {
        Capabilities {
            tier: "process",
            tier_reason: String::new(),
            degraded: vec!["memory limits are not enforced".to_owned()],
            mounts: false,
            nameserver: None,
            host_ip: "127.0.0.1".parse().unwrap(),
            only_uid,
        }
    }

    #[test]
    fn p66_non_root_needs_a_user() {
        assert!(check("{}", r#"{"runAsNonRoot":true}"#, None).is_err());
        assert!(check("{}", r#"{"runAsNonRoot":true,"runAsUser":0}"#, None).is_err());
        assert_eq!(check(r#"{"runAsUser":999}"#, r#"{"runAsNonRoot":true}"#, None).unwrap().user, Some(999));
    }

    #[test]
    fn p67_a_user_that_cannot_be_is_refused_by_name() {
        let refusal = check(r#"{"runAsUser":999}"#, "{}", Some(1000)).unwrap_err();
        assert!(refusal.0.contains("runAsUser 999") && refusal.0.contains("1000"), "{refusal}");
        assert!(check(r#"{"runAsUser":1000}"#, "{}", Some(1000)).is_ok());
        assert!(check("{}", r#"{"capabilities":{"add":["NET_ADMIN"]}}"#, None).is_err());
        assert!(check("{}", r#"{"capabilities":{"drop":["ALL"]}}"#, None).is_ok());
    }

    #[test]
    fn p68_what_is_not_enforced_is_said() {
        let json = br#"{"spec":{"containers":[{"name":"c","resources":{"limits":{"memory":"1Gi"}},
            "securityContext":{"readOnlyRootFilesystem":true}}]}}"#;
        let list = not_enforced(&Pod::from_json(json).unwrap(), &machine(Some(1)));
        assert_eq!(list, ["readOnlyRootFilesystem of container c", "memory limits are not enforced"]);
        let json = br#"{"spec":{"containers":[{"name":"c","securityContext":{"capabilities":{"drop":["ALL"]}}}]}}"#;
        let list = not_enforced(&Pod::from_json(json).unwrap(), &machine(None));
        assert!(list.len() == 1 && list[0].starts_with("capabilities.drop of container c"), "{list:?}");
        let json = br#"{"spec":{"containers":[{"name":"c","securityContext":{"runAsUser":9,"capabilities":{"drop":["ALL"]}}}]}}"#;
        assert!(not_enforced(&Pod::from_json(json).unwrap(), &machine(None)).is_empty());
    }
}
