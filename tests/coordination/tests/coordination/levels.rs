//! Levels that tests wait for, and what they look at, under both profiles.

use serde_json::{Value, json};
use support::until;

use crate::Plane;
use crate::plane::text;

impl Plane {
    /// The counters of a set: replicas/ready/available/current/updated.
    pub(crate) async fn counts(&self, set: &str) -> String {
        let set = self.get("sts", set).await.unwrap_or_default();
        let names = ["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"];
        let counts = names.map(|name| set["status"][name].as_u64().unwrap_or(0).to_string());
        let observed = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        if observed { counts.join("/") } else { "not observed".to_owned() }
    }

    /// Returns when the counters of a set, of its present generation, are these.
    pub(crate) async fn has_counts(&self, set: &str, expected: &str) {
        until(&format!("{set} has {expected}"), || async {
            let counts = self.counts(set).await;
            if counts == expected { Ok(()) } else { Err(counts) }
        })
        .await;
    }

    /// Who owns a claim, as `Kind/name`, separated by blanks.
    pub(crate) async fn owners(&self, claim: &str) -> String {
        let claim = self.get("pvc", claim).await.unwrap_or_else(|| panic!("claim {claim} is there"));
        owners(&claim)
    }

    /// Returns when a claim has these owners.
    pub(crate) async fn has_owners(&self, claim: &str, expected: &str) {
        until(&format!("{claim} is owned by {expected:?}"), || async {
            let owners = self.owners(claim).await;
            if owners == expected { Ok(()) } else { Err(owners) }
        })
        .await;
    }

    /// Returns when an object is gone.
    pub(crate) async fn lacks(&self, kind: &str, name: &str) {
        until(&format!("{kind} {name} is gone"), || async {
            match self.get(kind, name).await {
                None => Ok(()),
                Some(object) => Err(object.to_string()),
            }
        })
        .await;
    }

    /// Returns when there is another incarnation of a pod than `old`, with its uid.
    pub(crate) async fn successor(&self, pod: &str, old: &str) -> String {
        until(&format!("{pod} has come back"), || async {
            let now = self.get("pod", pod).await.ok_or("there is none")?;
            let uid = text(&now, "/metadata/uid").to_owned();
            if uid == old { Err(now["status"].to_string()) } else { Ok(uid) }
        })
        .await
    }

    /// How often each thing was said of a set, as `count reason: message`.
    pub(crate) async fn said_of(&self, set: &str) -> Vec<String> {
        let events = self.list("events").await;
        let of_set = events.iter().filter(|event| {
            text(event, "/involvedObject/kind") == "StatefulSet" && text(event, "/involvedObject/name") == set
        });
        of_set
            .map(|event| format!("{} {}: {}", event["count"], text(event, "/reason"), text(event, "/message")))
            .collect()
    }

    /// Returns when something was said of a set that contains `words`; how often it was.
    pub(crate) async fn has_said(&self, set: &str, words: &str) -> u64 {
        until(&format!("an event says {words:?}"), || async {
            let said = self.said_of(set).await;
            let found = said.iter().find(|one| one.contains(words));
            let count = found.and_then(|one| one.split(' ').next()?.parse().ok());
            count.ok_or_else(|| format!("{said:?}"))
        })
        .await
    }

    /// Changes an object that is there, whatever its version.
    pub(crate) async fn edit(&self, kind: &str, name: &str, change: impl Fn(&mut Value)) {
        let mut object = self.get(kind, name).await.unwrap_or_else(|| panic!("{kind} {name} is there"));
        change(&mut object);
        object["metadata"].as_object_mut().map(|metadata| metadata.remove("resourceVersion"));
        self.apply(&[object]).await;
    }
}

fn owners(object: &Value) -> String {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    owners.map(|owner| format!("{}/{}", text(owner, "/kind"), text(owner, "/name"))).collect::<Vec<_>>().join(" ")
}

/// Claims for every pod, and a retention policy.
pub(crate) fn retaining(when_deleted: &str, when_scaled: &str, more: &Value) -> Value {
    let mut fields = crate::with_claims();
    fields["persistentVolumeClaimRetentionPolicy"] = json!({ "whenDeleted": when_deleted, "whenScaled": when_scaled });
    for (name, value) in more.as_object().into_iter().flatten() {
        fields[name.as_str()] = value.clone();
    }
    fields
}

/// A pod that somebody makes by hand, with these labels.
pub(crate) fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": labels },
        "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
    })
}

/// A pod that uses a claim, so that the claim cannot go.
pub(crate) fn user_of(claim: &str) -> Value {
    let mut user = pod("user", &json!({ "app": "user" }));
    user["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": claim } }]);
    user
}
