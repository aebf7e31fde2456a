//! S1, S10, S11: what really runs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::objects::{State, deleting, text, uid};
use crate::{Violation, hold};

/// A process that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Namespace and name of its pod: the identity.
    pub identity: String,
    /// Incarnation of the pod.
    pub uid: String,
    /// Incarnations of the claims that it has mounted.
    pub claims: Vec<String>,
}

/// S1: of every identity at most one incarnation lives.
///
/// # Errors
/// Where two live.
pub fn s1_at_most_one<'a>(live: impl Iterator<Item = &'a Process>) -> Result<(), Violation> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for process in live {
        let other = seen.insert(&process.identity, &process.uid);
        hold("S1", other.is_none_or(|other| other == process.uid), || {
            format!("of {} both {} and {} live", process.identity, other.unwrap_or_default(), process.uid)
        })?;
    }
    Ok(())
}

/// S1: a machine ends what runs only because its pod is going or gone, never because it could not learn what should run:
/// whoever takes not knowing for an end starts a second one somewhere, or none. `uid` is the incarnation that is ended.
///
/// # Errors
/// Where its pod is stored, and stays.
pub fn s1_ends_only_on_evidence(identity: &str, uid: &str, state: &State) -> Result<(), Violation> {
    let stored = state.get(&format!("/objects/pods/{identity}"));
    let stays = stored.is_some_and(|stored| crate::objects::uid(&stored.value) == uid && !deleting(&stored.value));
    hold("S1", !stays, || format!("{identity} with uid {uid} is ended, and its pod is stored and not going"))
}

/// S10: a pod starts only when each of its claims exists, is bound, and is not going. A machine that has not heard yet that
/// the pod itself is to go may start it with claims that go with it: nothing is lost that anybody wanted.
///
/// # Errors
/// Where one does not.
pub fn s10_claims_are_bound(pod: &Value, state: &State) -> Result<(), Violation> {
    let namespace = text(pod, "/metadata/namespace");
    let stored = state.get(&format!("/objects/pods/{namespace}/{}", text(pod, "/metadata/name")));
    let goes = stored.is_none_or(|stored| uid(&stored.value) != uid(pod) || deleting(&stored.value));
    for name in claim_names(pod) {
        let claim = state.get(&format!("/objects/persistentvolumeclaims/{namespace}/{name}"));
        let state = claim.map_or("missing", |claim| match text(&claim.value, "/status/phase") {
            _ if deleting(&claim.value) && !goes => "deleting",
            "Bound" => "bound",
            _ => "not bound",
        });
        hold("S10", state == "bound", || {
            format!(
                "pod {} with uid {} starts on claim {name}, which is {state}",
                text(pod, "/metadata/name"),
                uid(pod)
            )
        })?;
    }
    Ok(())
}

/// S11: two incarnations that live never hold one claim.
///
/// # Errors
/// Where two do.
pub fn s11_claims_are_exclusive<'a>(live: impl Iterator<Item = &'a Process>) -> Result<(), Violation> {
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    for process in live {
        for claim in &process.claims {
            let other = held.insert(claim, &process.uid);
            hold("S11", other.is_none_or(|other| other == process.uid), || {
                format!("claim {claim} is held by {} and {}", other.unwrap_or_default(), process.uid)
            })?;
        }
    }
    Ok(())
}

/// S11: every path that a pod gets for a claim is a directory of its own beneath the volumes of this machine.
///
/// # Errors
/// Where one leads elsewhere, or nowhere.
pub fn s11_paths_stay_beneath(pod: &Value, state: &State, root: &str) -> Result<(), Violation> {
    let namespace = text(pod, "/metadata/namespace");
    for name in claim_names(pod) {
        let Some(claim) = state.get(&format!("/objects/persistentvolumeclaims/{namespace}/{name}")) else { continue };
        let volume = text(&claim.value, "/spec/volumeName");
        let Some(stored) = state.get(&format!("/objects/persistentvolumes/-/{volume}")) else { continue };
        let path = text(&stored.value, "/spec/hostPath/path");
        let below = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        let own = !below.is_empty() && !below.split('/').any(|part| part == "..");
        hold("S11", own, || format!("volume {volume} of claim {name} is at {path:?}, which is not beneath {root}"))?;
    }
    Ok(())
}

pub(crate) fn claim_names(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
}
