//! Containers, their environment, probes, hooks and security, as far as they are interpreted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

fields! {
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
    pub(super) fn init_role(&self) -> Role {
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
