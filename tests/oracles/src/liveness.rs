//! L1, S19: once faults and edits end, everything becomes as it should be, and then nothing happens any more.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Quantity, RetentionRule};
use serde_json::Value;

use crate::claims::leftovers;
use crate::objects::{State, all, controller, deleting, ready, text, uid};
use crate::order::REVISION_LABEL;
use crate::processes::{Process, claim_names};
use crate::{Violation, hold, holds, kind_and_name};

/// What people want of a set.
#[derive(Debug, Clone, PartialEq)]
pub enum Desired {
    /// It should be as this manifest says.
    There(Value),
    /// It should be gone.
    Gone {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}

/// L1: pods in range are there at the right revision, ready, and run; nothing else does; claims are as the policy says;
/// names lead to the ready pods; the status says so. `live` are processes, `names` the addresses that DNS gives for each
/// pod that was asked about, `addresses` whose each address is.
///
/// # Errors
/// What is not as it should be, one thing.
pub fn l1_everything_matches(
    desired: &[Desired],
    state: &State,
    live: &[Process],
    names: &BTreeMap<String, BTreeSet<String>>,
) -> Result<(), Violation> {
    let mut expected = BTreeMap::new();
    for one in desired {
        match one {
            Desired::There(manifest) => set_matches(manifest, state, names, &mut expected)?,
            Desired::Gone { namespace, name } => {
                let key = format!("/objects/statefulsets/{namespace}/{name}");
                hold("L1", !state.contains_key(&key), || format!("set {name} is still there"))?;
            }
        }
    }
    claims_have_grown(state)?;
    let stored: BTreeSet<&str> = all(state, "pods").map(|(key, _)| key).collect();
    let extra = stored.iter().find(|key| !expected.contains_key(**key));
    hold("L1", extra.is_none(), || format!("{extra:?} is there, and no set wants it"))?;
    let stale = names.iter().find(|(identity, addresses)| {
        !addresses.is_empty() && !expected.contains_key(&format!("/objects/pods/{identity}"))
    });
    hold("L1", stale.is_none(), || format!("DNS still answers for {stale:?}"))?;
    let running: BTreeSet<&str> = live.iter().map(|process| process.uid.as_str()).collect();
    let wanted: BTreeSet<&str> = expected.values().map(String::as_str).collect();
    hold("L1", running == wanted, || format!("{running:?} run, {wanted:?} should"))
}

fn set_matches(
    manifest: &Value,
    state: &State,
    names: &BTreeMap<String, BTreeSet<String>>,
    expected: &mut BTreeMap<String, String>,
) -> Result<(), Violation> {
    let (namespace, name) = (text(manifest, "/metadata/namespace"), text(manifest, "/metadata/name"));
    let wrong = |how: String| Violation { rule: "L1", how: format!("set {name}: {how}") };
    let key = format!("/objects/statefulsets/{namespace}/{name}");
    let set = &*state.get(&key).ok_or_else(|| wrong("it is not there".into()))?.value;
    if deleting(set) {
        return Err(wrong("it is going".into()));
    }
    for field in ["replicas", "updateStrategy", "podManagementPolicy", "persistentVolumeClaimRetentionPolicy"] {
        let (asked, stored) = (&manifest["spec"][field], &set["spec"][field]);
        if !holds(asked, stored) {
            return Err(wrong(format!("{field} is {stored}, {asked} was asked for")));
        }
    }
    let image = "/spec/template/spec/containers/0/image";
    if text(manifest, image) != text(set, image) {
        return Err(wrong(format!("its image is {}", text(set, image))));
    }
    let spec = api::manifest::set_spec(set).map_err(|_| wrong("its spec makes no sense".into()))?;
    let update = text(set, "/status/updateRevision");
    for ordinal in spec.ordinals() {
        let pod_name = domain::pod_name(name, ordinal);
        let pod_key = format!("/objects/pods/{namespace}/{pod_name}");
        let pod = state.get(&pod_key).ok_or_else(|| wrong(format!("{pod_name} is not there")))?;
        let pod = &*pod.value;
        if controller(pod) != Some(uid(set)) || deleting(pod) || !ready(pod) {
            return Err(wrong(format!("{pod_name} is not ready, not its own, or going")));
        }
        let revision = text(pod, REVISION_LABEL);
        let rolls = matches!(spec.strategy, domain::UpdateStrategy::RollingUpdate(_));
        let updated = spec.index(ordinal) >= spec.partition();
        // What the partition holds back is left at whatever revision it had reached.
        if rolls && updated && revision != update {
            return Err(wrong(format!("{pod_name} is at {revision}, the update is {update}")));
        }
        for claim in claim_names(pod) {
            let stored = state.get(&format!("/objects/persistentvolumeclaims/{namespace}/{claim}"));
            if stored.is_none_or(|stored| text(&stored.value, "/status/phase") != "Bound") {
                return Err(wrong(format!("claim {claim} is not bound")));
            }
        }
        let address = text(pod, "/status/podIP");
        let told = names.get(&format!("{namespace}/{pod_name}"));
        if told.is_none_or(|told| told.len() != 1 || !told.contains(address)) {
            return Err(wrong(format!("{pod_name} has address {address}, and DNS says {told:?}")));
        }
        expected.insert(pod_key, uid(pod).to_owned());
    }
    if spec.retention.when_scaled == RetentionRule::Delete
        && let Some(left) = leftovers(state, set).next()
    {
        return Err(wrong(format!("claim {left} is left over")));
    }
    status_matches(set, u64::from(spec.size())).map_err(wrong)
}

/// Every bound claim has the size that it asks for, and so has its volume.
fn claims_have_grown(state: &State) -> Result<(), Violation> {
    let size = |value: &Value, pointer: &str| text(value, pointer).parse::<Quantity>().map_or(0, |size| size.0);
    for (key, claim) in all(state, "persistentvolumeclaims") {
        let Some((_, _, name)) = kind_and_name(key).filter(|_| text(claim, "/status/phase") == "Bound") else {
            continue;
        };
        let asked = size(claim, "/spec/resources/requests/storage");
        let volume = state.get(&format!("/objects/persistentvolumes/-/{}", text(claim, "/spec/volumeName")));
        let volume = volume.map_or(0, |volume| size(&volume.value, "/spec/capacity/storage"));
        let told = size(claim, "/status/capacity/storage");
        hold("L1", asked <= told && told <= volume, || {
            format!("claim {name} asks for {asked} bytes, is said to have {told}, and its volume has {volume}")
        })?;
    }
    Ok(())
}

fn status_matches(set: &Value, size: u64) -> Result<(), String> {
    let status = &set["status"];
    for field in ["replicas", "readyReplicas", "availableReplicas"] {
        let found = status.get(field).and_then(Value::as_u64).unwrap_or(0);
        if found != size {
            return Err(format!("{field} is {found}, not {size}"));
        }
    }
    if status["observedGeneration"] != set["metadata"]["generation"] {
        return Err("its generation is not observed".into());
    }
    Ok(())
}

/// S19: what matches is left alone.
///
/// # Errors
/// Where something was written.
pub fn s19_quiet(before: u64, after: u64, last: &[String]) -> Result<(), Violation> {
    hold("S19", before == after, || {
        format!("{} commits after everything matched, the last of {last:?}", after - before)
    })
}
