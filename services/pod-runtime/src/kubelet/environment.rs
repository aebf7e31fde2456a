//! A container's environment, and `$(NAME)` (pod rules, section 9). Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::Quantity;
use serde_json::Value;

use super::assigned::{Assigned, Keys, text};
use crate::spec::{Container, EnvVar, FieldRef, KeyRef, Pod, ResourceFieldRef, Resources};

/// Where programs are looked up if nobody says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an environment depends on besides the assignment.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The pod and all it refers to.
    pub assigned: &'a Assigned,
    /// The container.
    pub container: &'a Container,
    /// Address of the pod.
    pub pod_ip: IpAddr,
    /// Address of the machine.
    pub host_ip: IpAddr,
    /// Name of the machine.
    pub node_name: &'a str,
    /// Kernel hostname of the pod.
    pub hostname: &'a str,
    /// Directory that the container may write.
    pub home: &'a str,
    /// What limits mean where there are none.
    pub machine: Machine,
}

/// What a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// The environment cannot be made; the container waits with `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Variables in order, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets a variable; the last word counts, in the first place.
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// All variables.
    #[must_use]
    pub fn into_inner(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Makes the whole environment.
///
/// # Errors
/// Something that is not optional is missing, or a value cannot be a variable.
pub fn environment(facts: &Facts<'_>) -> Result<Environment, ConfigError> {
    let mut from = Environment::default();
    for source in &facts.container.env_from {
        if let Some(reference) = &source.config_map_ref {
            let keys = find("configmap", &facts.assigned.config_maps, &reference.name, reference.optional)?;
            add_all(&mut from, &source.prefix, keys)?;
        }
        if let Some(reference) = &source.secret_ref {
            let keys = find("secret", &facts.assigned.secrets, &reference.name, reference.optional)?;
            add_all(&mut from, &source.prefix, keys)?;
        }
    }
    let mut all = Environment::default();
    all.set("PATH", DEFAULT_PATH.to_owned());
    all.set("HOSTNAME", facts.hostname.to_owned());
    all.set("HOME", facts.home.to_owned());
    // `$(NAME)` sees envFrom and the entries before, not what an image or this runtime adds.
    for variable in &facts.container.env {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or(""), |name| from.get(name).map(str::to_owned))),
            Some(_) => value_from(facts, variable)?,
        };
        if let Some(value) = value {
            if value.contains('\0') {
                return Err(ConfigError(format!("variable {:?} has a NUL byte", variable.name)));
            }
            from.set(&variable.name, value);
        }
    }
    for (name, value) in from.0 {
        all.set(&name, value);
    }
    Ok(all)
}

fn find<'a>(
    kind: &str,
    objects: &'a BTreeMap<String, Keys>,
    name: &str,
    optional: bool,
) -> Result<Option<&'a Keys>, ConfigError> {
    match objects.get(name) {
        None if !optional => Err(ConfigError(format!("{kind} {name:?} not found"))),
        found => Ok(found),
    }
}

fn add_all(environment: &mut Environment, prefix: &str, keys: Option<&Keys>) -> Result<(), ConfigError> {
    for (key, value) in keys.into_iter().flatten() {
        let value = text(value).ok_or_else(|| ConfigError(format!("the value of key {key:?} is no text")))?;
        environment.set(&format!("{prefix}{key}"), value.to_owned());
    }
    Ok(())
}

fn value_from(facts: &Facts<'_>, variable: &EnvVar) -> Result<Option<String>, ConfigError> {
    let Some(source) = &variable.value_from else { return Ok(None) };
    if let Some(field) = &source.field_ref {
        return field_value(facts, field).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(&facts.assigned.pod, Some(facts.container), resource, facts.machine).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        return key_value("configmap", &facts.assigned.config_maps, key);
    }
    if let Some(key) = &source.secret_key_ref {
        return key_value("secret", &facts.assigned.secrets, key);
    }
    Err(ConfigError(format!("variable {:?} has a valueFrom without a source", variable.name)))
}

fn key_value(kind: &str, objects: &BTreeMap<String, Keys>, reference: &KeyRef) -> Result<Option<String>, ConfigError> {
    let Some(keys) = find(kind, objects, &reference.name, reference.optional)? else { return Ok(None) };
    match keys.get(&reference.key) {
        Some(value) => {
            let value = text(value).ok_or_else(|| {
                ConfigError(format!("the value of key {:?} in {kind} {:?} is no text", reference.key, reference.name))
            })?;
            Ok(Some(value.to_owned()))
        }
        None if reference.optional => Ok(None),
        None => Err(ConfigError(format!("couldn't find key {} in {kind} {:?}", reference.key, reference.name))),
    }
}

fn field_value(facts: &Facts<'_>, field: &FieldRef) -> Result<String, ConfigError> {
    let spec = &facts.assigned.pod.spec;
    Ok(match field.field_path.as_str() {
        "spec.nodeName" => facts.node_name.to_owned(),
        "spec.serviceAccountName" if spec.service_account_name.is_empty() => "default".to_owned(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.to_string(),
        _ => metadata_value(&facts.assigned.pod, field)?,
    })
}

/// The value of a field of the metadata, as a variable or as a file.
///
/// # Errors
/// There is no such field.
pub fn metadata_value(pod: &Pod, field: &FieldRef) -> Result<String, ConfigError> {
    let meta = &pod.metadata;
    let path = field.field_path.as_str();
    let entry = |prefix: &str, map: &BTreeMap<String, String>| {
        let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    let found = match path {
        "metadata.name" => Some(meta.name.clone()),
        "metadata.namespace" => Some(meta.namespace.clone()),
        "metadata.uid" => Some(meta.uid.clone()),
        "metadata.labels" => Some(map_file(&meta.labels)),
        "metadata.annotations" => Some(map_file(&meta.annotations)),
        _ => entry("metadata.labels['", &meta.labels).or_else(|| entry("metadata.annotations['", &meta.annotations)),
    };
    found.ok_or_else(|| ConfigError(format!("fieldPath {path:?} is not supported")))
}

/// A whole map as a file: sorted lines `k="escaped v"`.
fn map_file(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

/// The value of a resource of a container, in units of the divisor, rounded up.
///
/// # Errors
/// No such container or resource, or a quantity that cannot be read.
pub fn resource_value(
    pod: &Pod,
    own: Option<&Container>,
    reference: &ResourceFieldRef,
    machine: Machine,
) -> Result<String, ConfigError> {
    let named = pod.container(&reference.container_name).map(|(_, container)| container);
    let container = if reference.container_name.is_empty() { own } else { named };
    let container = container.ok_or_else(|| ConfigError(format!("no container {:?}", reference.container_name)))?;
    let unsupported = || ConfigError(format!("resource {:?} is not supported", reference.resource));
    let (list, name) = reference.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = &container.resources;
    let limit = resources.limits.get(name);
    let given = match list {
        "limits" => limit,
        "requests" => resources.requests.get(name).or(limit),
        _ => return Err(unsupported()),
    };
    let unreadable = || ConfigError(format!("resource {:?} is no quantity", reference.resource));
    let read = |value: &Value| if name == "cpu" { millis(value) } else { bytes(value) };
    let amount = match (given, list, name) {
        (Some(value), ..) => read(value).ok_or_else(unreadable)?,
        (None, "requests", _) => 0,
        (None, _, "cpu") => machine.cpu_millis,
        (None, _, "memory") => machine.memory_bytes,
        _ => return Err(unsupported()),
    };
    let divisor = match &reference.divisor {
        Some(divisor) => read(divisor).ok_or_else(unreadable)?,
        None => 0,
    };
    let one = if name == "cpu" { 1000 } else { 1 };
    Ok(amount.div_ceil(if divisor == 0 { one } else { divisor }).to_string())
}

/// An amount of CPU in thousandths of a core, rounded up.
#[must_use]
pub fn millis(value: &Value) -> Option<u64> {
    let text = as_text(value)?;
    if let Some(number) = text.strip_suffix('m') {
        return number.parse().ok();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let thousandths: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let more = u64::from(fraction.len() > 3 && fraction[3..].bytes().any(|byte| byte != b'0'));
    whole.checked_mul(1000)?.checked_add(thousandths + more)
}

/// An amount in bytes.
#[must_use]
pub fn bytes(value: &Value) -> Option<u64> {
    as_text(value)?.parse::<Quantity>().ok().map(|quantity| quantity.0)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Limits of a container: memory in bytes, CPU in thousandths of a core.
#[must_use]
pub fn limits(resources: &Resources) -> (Option<u64>, Option<u64>) {
    (resources.limits.get("memory").and_then(bytes), resources.limits.get("cpu").and_then(millis))
}

/// Replaces `$(NAME)` by what `lookup` knows; `$$` is a `$`; unknown names and open brackets stay as they are.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        result.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|open| open.split_once(')')) {
            match lookup(name) {
                Some(value) => result.push_str(&value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// The command of an exec probe: `$(NAME)` only from entries with a literal value (pod rules, 7.2).
#[must_use]
pub fn probe_command(container: &Container, command: &[String]) -> Vec<String> {
    let literal = |name: &str| {
        let variable = container.env.iter().rev().find(|variable| variable.name == name)?;
        variable.value_from.is_none().then(|| variable.value.clone().unwrap_or_default())
    };
    command.iter().map(|argument| expand(argument, literal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(container: &str) -> Assigned {
        let json = format!(
            r#"{{"metadata":{{"name":"web-2","namespace":"default","uid":"u","labels":{{"apps.kubernetes.io/pod-index":"2"}}}},
            "spec":{{"containers":[{container}]}}}}"#
        );
        let keys = |key: &str, value: &str| Keys::from([(key.to_owned(), value.as_bytes().to_vec())]);
        Assigned {
            pod: Pod::from_json(json.as_bytes()).unwrap(),
            config_maps: [("cm".to_owned(), keys("K", "a"))].into(),
            secrets: [("s".to_owned(), keys("p", "pw"))].into(),
            ..Assigned::default()
        }
    }

    fn check(container: &str) -> Result<Environment, ConfigError> {
        let assigned = assigned(container);
        environment(&Facts {
            assigned: &assigned,
            container: &assigned.pod.spec.containers[0],
            pod_ip: "10.77.0.9".parse().unwrap(),
            host_ip: "10.77.0.1".parse().unwrap(),
            node_name: "here",
            hostname: "web-2",
            home: "/home",
            machine: Machine { cpu_millis: 2000, memory_bytes: 1 << 30 },
        })
    }

    #[test]
    fn p54_expansion_sees_only_what_came_before() {
        let env = check(
            r#"{"env":[{"name":"A","value":"1"},{"name":"B","value":"x$(A)"},{"name":"C","value":"$(D)"},
            {"name":"D","value":"2"},{"name":"E","value":"$$(A)"},{"name":"F","value":"$(A$"}]}"#,
        )
        .unwrap();
        for (name, value) in [("B", "x1"), ("C", "$(D)"), ("E", "$(A)"), ("F", "$(A$"), ("HOSTNAME", "web-2")] {
            assert_eq!(env.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn p55_env_overwrites_env_from() {
        let env = check(
            r#"{"envFrom":[{"configMapRef":{"name":"cm"}},{"prefix":"P_","configMapRef":{"name":"cm"}}],
            "env":[{"name":"K","value":"b"}]}"#,
        )
        .unwrap();
        assert_eq!((env.get("K"), env.get("P_K")), (Some("b"), Some("a")));
    }

    #[test]
    fn p56_a_missing_key_is_an_error_unless_optional() {
        let key = |key: &str, optional: bool| {
            format!(
                r#"{{"env":[{{"name":"X","valueFrom":{{"secretKeyRef":{{"name":"s","key":"{key}","optional":{optional}}}}}}}]}}"#
            )
        };
        assert_eq!(check(&key("p", false)).unwrap().get("X"), Some("pw"));
        assert!(check(&key("q", false)).unwrap_err().0.contains("couldn't find key q"));
        assert_eq!(check(&key("q", true)).unwrap().get("X"), None);
    }

    #[test]
    fn p57_p58_fields_of_the_pod() {
        let env = check(
            r#"{"resources":{"limits":{"memory":"64Mi"},"requests":{"cpu":"250m"}},"env":[
            {"name":"I","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['apps.kubernetes.io/pod-index']"}}},
            {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
            {"name":"M","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
            {"name":"C","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
            {"name":"R","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu","divisor":"1m"}}},
            {"name":"H","value":"--host=$(IP)"}]}"#,
        )
        .unwrap();
        let expected =
            [("I", "2"), ("IP", "10.77.0.9"), ("M", "64"), ("C", "2"), ("R", "250"), ("H", "--host=10.77.0.9")];
        for (name, value) in expected {
            assert_eq!(env.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn p35_probe_commands_expand_literals_only() {
        let assigned = assigned(
            r#"{"env":[{"name":"A","value":"1"},{"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]}"#,
        );
        let command = ["check".to_owned(), "$(POD_IP)".to_owned(), "$(A)".to_owned()];
        assert_eq!(probe_command(&assigned.pod.spec.containers[0], &command), ["check", "$(POD_IP)", "1"]);
    }
}
