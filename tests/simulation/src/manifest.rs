//! Sets as people write them.

use serde_json::{Value, json};

use crate::user::NAMESPACE;

/// A set as people write it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// How many pods.
    pub replicas: u32,
    /// What they run.
    pub image: String,
    /// Whether its pods come together.
    pub parallel: bool,
    /// Whether they are updated only when somebody deletes them.
    pub on_delete: bool,
    /// How many of the lowest are not updated.
    pub partition: u32,
    /// Whether claims go after a scale-down.
    pub scaled_delete: bool,
    /// Whether claims go with the set.
    pub deleted_delete: bool,
    /// Whether pods have a claim.
    pub claims: bool,
    /// The label that finds its pods.
    pub app: String,
    /// Whether pods have a volume of their own, which is another in every template.
    pub scratch: bool,
}

impl Manifest {
    /// The objects: a headless Service, and the set.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let name = &self.name;
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": { "clusterIP": "None", "selector": { "app": self.app }, "ports": [{ "port": 80, "name": "web" }] },
        });
        vec![service, self.set()]
    }

    /// The set.
    #[must_use]
    pub fn set(&self) -> Value {
        let name = &self.name;
        let rule = |delete: bool| if delete { "Delete" } else { "Retain" };
        let strategy = match self.on_delete {
            true => json!({ "type": "OnDelete" }),
            false => json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": self.partition } }),
        };
        let templates = json!([{
            "metadata": { "name": "data" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
        }]);
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": {
                "serviceName": name,
                "replicas": self.replicas,
                "podManagementPolicy": if self.parallel { "Parallel" } else { "OrderedReady" },
                "updateStrategy": strategy,
                "persistentVolumeClaimRetentionPolicy": {
                    "whenScaled": rule(self.scaled_delete), "whenDeleted": rule(self.deleted_delete),
                },
                "selector": { "matchLabels": { "app": self.app } },
                "template": { "metadata": { "labels": { "app": self.app } }, "spec": self.pod() },
                "volumeClaimTemplates": if self.claims { templates } else { json!([]) },
            },
        })
    }

    /// What the template says of its pods.
    fn pod(&self) -> Value {
        let mut pod = json!({
            "terminationGracePeriodSeconds": 5,
            "containers": [{ "name": "main", "image": self.image }],
        });
        if self.scratch {
            let volume = format!("scratch-{}", self.image);
            pod["containers"][0]["volumeMounts"] = json!([{ "name": volume, "mountPath": "/scratch" }]);
            pod["volumes"] = json!([{ "name": volume, "emptyDir": {} }]);
        }
        pod
    }
}
