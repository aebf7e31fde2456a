//! The fields of a pod that this crate interprets.
//!
//! Lenient on purpose: the pod's JSON was validated by whoever stored it and is kept whole elsewhere; fields that are
//! unknown here are none of our business. Defaults are those of the Kubernetes API (pod rules, section 1).

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Grace period where the pod names none, in seconds.
pub const DEFAULT_GRACE_SECONDS: i64 = 30;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    )*};
}

fields! {
    /// A pod.
    Pod {
        /// Who it is.
        metadata: Metadata,
        /// What it should be.
        spec: PodSpec,
        /// What others have said about it; only conditions of readiness gates matter here.
        status: KnownStatus,
    }
    /// Identity, labels, deletion.
    Metadata {
        /// Name.
        name: String,
        /// Namespace.
        namespace: String,
        /// Incarnation.
        uid: String,
        /// Version of the spec.
        generation: Option<i64>,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// Annotations.
        annotations: BTreeMap<String, String>,
        /// Deadline of a requested deletion, RFC 3339.
        deletion_timestamp: Option<String>,
        /// Grace of a requested deletion, in seconds.
        deletion_grace_period_seconds: Option<i64>,
    }
    /// Status as stored.
    KnownStatus {
        /// Conditions.
        conditions: Vec<KnownCondition>,
    }
    /// A condition as stored.
    KnownCondition {
        /// Type.
        r#type: String,
        /// True, False or Unknown.
        status: String,
    }
    /// What the pod should be.
    PodSpec {
        /// Init containers and sidecars, in order.
        init_containers: Vec<Container>,
        /// Regular containers, in order.
        containers: Vec<Container>,
        /// Volumes.
        volumes: Vec<Volume>,
        /// Always, OnFailure or Never; Always where empty.
        restart_policy: String,
        /// Seconds to stop in; 30 where absent.
        termination_grace_period_seconds: Option<i64>,
        /// Seconds after which the pod fails.
        active_deadline_seconds: Option<i64>,
        /// Short hostname.
        hostname: String,
        /// Governing service.
        subdomain: String,
        /// Whether the kernel hostname is the full name.
        set_hostname_as_f_q_d_n: bool,
        /// Kernel hostname, whatever the rest says.
        hostname_override: Option<String>,
        /// Further lines of the hosts file.
        host_aliases: Vec<HostAlias>,
        /// Whether the pod uses the machine's network.
        host_network: bool,
        /// Whether it sees the machine's processes.
        host_p_i_d: bool,
        /// Whether it sees the machine's IPC.
        host_i_p_c: bool,
        /// ClusterFirst, ClusterFirstWithHostNet, Default or None; ClusterFirst where empty.
        dns_policy: String,
        /// Additions to the resolver configuration.
        dns_config: DnsConfig,
        /// Condition types that must be True besides ContainersReady.
        readiness_gates: Vec<ReadinessGate>,
        /// Identity towards the API; only a name here.
        service_account_name: String,
        /// Security for all containers.
        security_context: SecurityContext,
    }
    /// A line of the hosts file.
    HostAlias {
        /// Address.
        ip: String,
        /// Names.
        hostnames: Vec<String>,
    }
    /// Additions to the resolver configuration.
    DnsConfig {
        /// Addresses.
        nameservers: Vec<String>,
        /// Suffixes.
        searches: Vec<String>,
        /// Options.
        options: Vec<DnsOption>,
    }
    /// An option of the resolver.
    DnsOption {
        /// Name.
        name: String,
        /// Value; written bare where absent.
        value: Option<String>,
    }
    /// A condition that readiness needs.
    ReadinessGate {
        /// Its type.
        condition_type: String,
    }
    /// A container.
    Container {
        /// Name.
        name: String,
        /// Image; a key of the catalogue.
        image: String,
        /// Program; the catalogue's where empty.
        command: Vec<String>,
        /// Arguments.
        args: Vec<String>,
        /// Directory to start in.
        working_dir: Option<String>,
        /// Overrides the pod's; Always makes an init container a sidecar.
        restart_policy: Option<String>,
        /// Unsupported; refused clearly.
        restart_policy_rules: Vec<Value>,
        /// Sources of whole sets of variables.
        env_from: Vec<EnvFrom>,
        /// Variables.
        env: Vec<EnvVar>,
        /// Ports by name, for probes.
        ports: Vec<ContainerPort>,
        /// Where volumes appear.
        volume_mounts: Vec<VolumeMount>,
        /// Block devices; refused clearly.
        volume_devices: Vec<Value>,
        /// Restarts the container when it fails.
        liveness_probe: Option<Probe>,
        /// Withdraws the pod's names when it fails.
        readiness_probe: Option<Probe>,
        /// Holds the other two back until it passes.
        startup_probe: Option<Probe>,
        /// Hooks.
        lifecycle: Lifecycle,
        /// File with a last word.
        termination_message_path: Option<String>,
        /// File or FallbackToLogsOnError.
        termination_message_policy: String,
        /// Requests and limits.
        resources: Resources,
        /// Security of this container.
        security_context: SecurityContext,
    }
    /// A named port.
    ContainerPort {
        /// Name.
        name: String,
        /// Number.
        container_port: u16,
    }
    /// A whole ConfigMap or Secret as variables.
    EnvFrom {
        /// Put before each name.
        prefix: String,
        /// Source.
        config_map_ref: Option<LocalRef>,
        /// Source.
        secret_ref: Option<LocalRef>,
    }
    /// A ConfigMap or Secret of the namespace.
    LocalRef {
        /// Name.
        name: String,
        /// Whether it may be absent.
        optional: bool,
    }
    /// A variable.
    EnvVar {
        /// Name.
        name: String,
        /// Value, with `$(NAME)` expanded.
        value: Option<String>,
        /// Source of the value.
        value_from: Option<ValueFrom>,
    }
    /// Source of a value.
    ValueFrom {
        /// A field of the pod.
        field_ref: Option<FieldRef>,
        /// A resource of a container.
        resource_field_ref: Option<ResourceFieldRef>,
        /// A key of a ConfigMap.
        config_map_key_ref: Option<KeyRef>,
        /// A key of a Secret.
        secret_key_ref: Option<KeyRef>,
    }
    /// A field of the pod.
    FieldRef {
        /// Path, such as `status.podIP`.
        field_path: String,
    }
    /// A resource of a container.
    ResourceFieldRef {
        /// Container; this one where empty.
        container_name: String,
        /// Such as `limits.cpu`.
        resource: String,
        /// Unit; 1 where absent.
        divisor: Option<Value>,
    }
    /// A key of a ConfigMap or Secret.
    KeyRef {
        /// Object.
        name: String,
        /// Key.
        key: String,
        /// Whether it may be absent.
        optional: bool,
    }
    /// Where a volume appears.
    VolumeMount {
        /// Volume.
        name: String,
        /// Path inside.
        mount_path: String,
        /// Whether it must not be written.
        read_only: bool,
        /// Directory or file inside the volume.
        sub_path: String,
        /// The same with `$(NAME)` expanded.
        sub_path_expr: String,
    }
    /// A check.
    Probe {
        /// Run a command.
        exec: Option<ExecHandler>,
        /// Ask over HTTP.
        http_get: Option<HttpHandler>,
        /// Connect.
        tcp_socket: Option<TcpHandler>,
        /// Ask the gRPC health service.
        grpc: Option<GrpcHandler>,
        /// Seconds after the container's start.
        initial_delay_seconds: u32,
        /// Seconds; 1 where absent or 0.
        timeout_seconds: u32,
        /// Seconds; 10 where absent or 0.
        period_seconds: u32,
        /// 1 where absent or 0.
        success_threshold: u32,
        /// 3 where absent or 0.
        failure_threshold: u32,
        /// Replaces the pod's for kills by this probe.
        termination_grace_period_seconds: Option<i64>,
    }
    /// Run a command.
    ExecHandler {
        /// Program and arguments; no shell.
        command: Vec<String>,
    }
    /// Ask over HTTP.
    HttpHandler {
        /// Path; `/` where empty.
        path: String,
        /// Number or name.
        port: Option<Port>,
        /// Address; the pod's where empty.
        host: String,
        /// HTTP or HTTPS.
        scheme: String,
        /// Headers.
        http_headers: Vec<HttpHeader>,
    }
    /// A header.
    HttpHeader {
        /// Name.
        name: String,
        /// Value.
        value: String,
    }
    /// Connect.
    TcpHandler {
        /// Number or name.
        port: Option<Port>,
        /// Address; the pod's where empty.
        host: String,
    }
    /// Ask the gRPC health service.
    GrpcHandler {
        /// Number.
        port: u16,
        /// Service name; empty means the server.
        service: String,
    }
    /// Wait.
    SleepHandler {
        /// Seconds.
        seconds: u64,
    }
    /// What to do at a turn of the container's life; exactly one field is set.
    Hook {
        /// Run a command.
        exec: Option<ExecHandler>,
        /// Ask over HTTP; any answer is fine.
        http_get: Option<HttpHandler>,
        /// Connect.
        tcp_socket: Option<TcpHandler>,
        /// Wait.
        sleep: Option<SleepHandler>,
    }
    /// Hooks.
    Lifecycle {
        /// After the process is created.
        post_start: Option<Hook>,
        /// Before it is told to stop.
        pre_stop: Option<Hook>,
        /// Signal to stop with, such as `SIGQUIT`; SIGTERM where absent.
        stop_signal: Option<String>,
    }
    /// Requests and limits, by resource.
    Resources {
        /// At most.
        limits: BTreeMap<String, Value>,
        /// At least.
        requests: BTreeMap<String, Value>,
    }
    /// Security.
    SecurityContext {
        /// User id.
        run_as_user: Option<u32>,
        /// Group id.
        run_as_group: Option<u32>,
        /// Whether user id 0 is refused.
        run_as_non_root: Option<bool>,
        /// Further group ids (pod only).
        supplemental_groups: Vec<u32>,
        /// Group that owns the volumes (pod only).
        fs_group: Option<u32>,
        /// Always or OnRootMismatch (pod only).
        fs_group_change_policy: String,
        /// Whether set-uid programs gain rights.
        allow_privilege_escalation: Option<bool>,
        /// Whether the root file system must not be written.
        read_only_root_filesystem: Option<bool>,
        /// Whether everything is allowed.
        privileged: Option<bool>,
        /// Capabilities.
        capabilities: CapabilityChanges,
        /// System call filter.
        seccomp_profile: Option<Value>,
        /// SELinux.
        se_linux_options: Option<Value>,
        /// AppArmor.
        app_armor_profile: Option<Value>,
        /// How /proc looks.
        proc_mount: Option<String>,
        /// Kernel parameters (pod only).
        sysctls: Vec<Value>,
    }
    /// Capabilities.
    CapabilityChanges {
        /// Gained.
        add: Vec<String>,
        /// Lost.
        drop: Vec<String>,
    }
    /// A volume; one source is set.
    Volume {
        /// Name.
        name: String,
        /// A claim of the namespace.
        persistent_volume_claim: Option<ClaimSource>,
        /// Space as long as the pod lives.
        empty_dir: Option<EmptyDir>,
        /// Files from a ConfigMap.
        config_map: Option<ConfigMapSource>,
        /// Files from a Secret.
        secret: Option<SecretSource>,
        /// Files from several sources.
        projected: Option<Projected>,
        /// Files from fields of the pod.
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardSource>,
        /// A path of the machine.
        host_path: Option<HostPath>,
    }
    /// A claim of the namespace.
    ClaimSource {
        /// Name.
        claim_name: String,
        /// Whether it must not be written.
        read_only: bool,
    }
    /// Space as long as the pod lives.
    EmptyDir {
        /// Empty for disk, or Memory.
        medium: String,
        /// Bound.
        size_limit: Option<Value>,
    }
    /// Files from a ConfigMap.
    ConfigMapSource {
        /// Object.
        name: String,
        /// Selection; all keys where absent.
        items: Option<Vec<KeyToPath>>,
        /// Mode of files.
        default_mode: Option<u32>,
        /// Whether it may be absent.
        optional: bool,
    }
    /// Files from a Secret.
    SecretSource {
        /// Object (volumes).
        secret_name: String,
        /// Object (projected sources).
        name: String,
        /// Selection; all keys where absent.
        items: Option<Vec<KeyToPath>>,
        /// Mode of files.
        default_mode: Option<u32>,
        /// Whether it may be absent.
        optional: bool,
    }
    /// One selected key.
    KeyToPath {
        /// Key.
        key: String,
        /// File, relative.
        path: String,
        /// Mode of this file.
        mode: Option<u32>,
    }
    /// Files from several sources.
    Projected {
        /// Sources.
        sources: Vec<ProjectedSource>,
        /// Mode of files.
        default_mode: Option<u32>,
    }
    /// One source; one field is set.
    ProjectedSource {
        /// Files from a ConfigMap.
        config_map: Option<ConfigMapSource>,
        /// Files from a Secret.
        secret: Option<SecretSource>,
        /// Files from fields of the pod.
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardSource>,
        /// A token of the API; there is none here.
        service_account_token: Option<Value>,
    }
    /// Files from fields of the pod.
    DownwardSource {
        /// Files.
        items: Vec<DownwardItem>,
        /// Mode of files.
        default_mode: Option<u32>,
    }
    /// A file from a field of the pod.
    DownwardItem {
        /// File, relative.
        path: String,
        /// A field.
        field_ref: Option<FieldRef>,
        /// A resource.
        resource_field_ref: Option<ResourceFieldRef>,
        /// Mode of this file.
        mode: Option<u32>,
    }
    /// A path of the machine.
    HostPath {
        /// Path.
        path: String,
        /// Check, such as Directory; none where empty.
        r#type: String,
    }
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// A number.
    Number(u16),
    /// A name of a container port, or a number in quotes.
    Name(String),
}

/// Why a JSON text is no pod.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the pod")]
pub struct InvalidPod(#[from] serde_json::Error);

impl Pod {
    /// Reads a pod's JSON.
    ///
    /// # Errors
    /// The text is no JSON, or a field that we interpret has a wrong type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidPod> {
        let mut value: Value = serde_json::from_slice(bytes)?;
        drop_nulls(&mut value);
        Ok(serde_json::from_value(value)?)
    }

    /// Every container with its role, in start order.
    pub fn containers(&self) -> impl Iterator<Item = (Role, &Container)> {
        let init = self.spec.init_containers.iter().map(|container| (container.init_role(), container));
        init.chain(self.spec.containers.iter().map(|container| (Role::Regular, container)))
    }

    /// The container called `name`.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<(Role, &Container)> {
        self.containers().find(|(_, container)| container.name == name)
    }

    /// Seconds that the pod has to stop in.
    #[must_use]
    pub fn grace_seconds(&self) -> u64 {
        positive_grace(self.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS))
    }

    /// Deadline of a requested deletion.
    #[must_use]
    pub fn deletion_deadline(&self) -> Option<Timestamp> {
        let text = self.metadata.deletion_timestamp.as_deref()?;
        text.parse::<jiff::Timestamp>().ok().map(|moment| Timestamp(moment.as_millisecond()))
    }
}

/// A grace period in seconds; a negative one means 1.
#[must_use]
pub fn positive_grace(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(1)
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// Started before, runs beside, stopped after the regular ones.
    Sidecar,
    /// What the pod is for.
    Regular,
}

impl Container {
    fn init_role(&self) -> Role {
        if self.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
    }

    /// Number of a port by number or name.
    #[must_use]
    pub fn port(&self, port: Option<&Port>) -> Option<u16> {
        match port? {
            Port::Number(number) => Some(*number),
            Port::Name(name) => {
                let named = self.ports.iter().find(|port| port.name == *name).map(|port| port.container_port);
                named.or_else(|| name.parse().ok())
            }
        }
    }
}

impl Probe {
    /// How long one run may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(or(self.timeout_seconds, 1).into())
    }

    /// From one run to the next.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_secs(or(self.period_seconds, 10).into())
    }

    /// From the container's start to the first run.
    #[must_use]
    pub fn initial_delay(&self) -> Duration {
        Duration::from_secs(self.initial_delay_seconds.into())
    }

    /// Equal results in a row that make it pass.
    #[must_use]
    pub fn successes_needed(&self) -> u32 {
        or(self.success_threshold, 1)
    }

    /// Equal results in a row that make it fail.
    #[must_use]
    pub fn failures_needed(&self) -> u32 {
        or(self.failure_threshold, 3)
    }
}

fn or(value: u32, default: u32) -> u32 {
    if value == 0 { default } else { value }
}

/// An explicit null means the same as an absent field.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_nulls_are_kubernetes() {
        let pod = Pod::from_json(
            br#"{"metadata":{"name":"web-0","labels":null},"spec":{"setHostnameAsFQDN":true,"containers":[{"name":"c",
            "readinessProbe":{"httpGet":{"port":"web"},"periodSeconds":0},"ports":[{"name":"web","containerPort":80}],
            "unknown":1}]}}"#,
        )
        .unwrap();
        let container = &pod.spec.containers[0];
        let probe = container.readiness_probe.as_ref().unwrap();
        assert_eq!((probe.period(), probe.timeout()), (Duration::from_secs(10), Duration::from_secs(1)));
        assert_eq!(container.port(probe.http_get.as_ref().unwrap().port.as_ref()), Some(80));
        assert_eq!((pod.grace_seconds(), positive_grace(-5)), (30, 1));
        assert!(pod.spec.set_hostname_as_f_q_d_n);
    }
}
