//! What people do by hand that no set does for them.

use api::proto::coordinator::v1::GetRequest;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{NAMESPACE, User, object_of};
use crate::people::REPLICAS_MAX;

impl User {
    /// Applies a set whose selector may be another than that of a set of its name, which an earlier request that came late
    /// may have brought back: that one goes first.
    pub(super) async fn insist(&self, set: &str, objects: &[Value]) -> Result<(), Status> {
        match self.apply(objects, None).await {
            Err(status) if status.code() == Code::FailedPrecondition => {
                self.delete_set(set, "").await?;
                Err(Status::aborted("what was in the way is gone"))
            }
            done => done,
        }
    }

    /// Deletes the pods of a set's names that nobody controls: the set waits for that.
    pub(super) async fn delete_orphans(&self, set: &str) -> Result<(), Status> {
        for ordinal in 0..REPLICAS_MAX {
            let name = format!("{set}-{ordinal}");
            let Some(pod) = self.find("pod", &name).await? else { continue };
            if pod["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty()) {
                continue;
            }
            let uid = oracles::text(&pod, "/metadata/uid").to_owned();
            match self.delete_incarnation(&name, uid).await {
                Err(status) if status.code() != Code::NotFound => return Err(status),
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks for a larger claim.
    pub(super) async fn grow_claim(&self, name: &str, mebibytes: u64) -> Result<(), Status> {
        let Some(stored) = self.find("pvc", name).await? else { return Ok(()) };
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            // With its version, so that none is made where this one has gone meanwhile.
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "resourceVersion": stored["metadata"]["resourceVersion"],
            },
            "spec": {
                "accessModes": stored["spec"]["accessModes"],
                "resources": { "requests": { "storage": format!("{mebibytes}Mi") } },
            },
        });
        self.apply(&[claim], None).await
    }

    /// An object, if it is there.
    async fn find(&self, kind: &str, name: &str) -> Result<Option<Value>, Status> {
        let get = GetRequest { kind: kind.to_owned(), name: name.to_owned(), ..GetRequest::default() };
        match self.objects.clone().get(get).await {
            Err(status) if status.code() == Code::NotFound => Ok(None),
            found => Ok(Some(object_of(found?.get_ref()))),
        }
    }
}
