//! Volumes, as far as they are interpreted.

use serde::Deserialize;
use serde_json::Value;

use super::{FieldRef, ResourceFieldRef};

fields! {
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
