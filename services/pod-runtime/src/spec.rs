//! The fields of a pod that this crate interprets.
//!
//! Lenient on purpose: the pod's JSON was validated by whoever stored it and is kept whole elsewhere; fields that are
//! unknown here are none of our business. Defaults are those of the Kubernetes API (pod rules, section 1).

use std::collections::BTreeMap;

use domain::Timestamp;
use serde::Deserialize;
use serde_json::Value;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    )*};
}

mod container;
mod volume;

pub use container::*;
pub use volume::*;

/// Grace period where the pod names none, in seconds.
pub const DEFAULT_GRACE_SECONDS: i64 = 30;

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
    use std::time::Duration;

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
