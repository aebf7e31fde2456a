use domain::volume::{
    AccessMode, Claim, ClaimRef, LabelSelector, MachineNode, NodeTerm, ObjectVersion, Operator, Requirement,
    StorageClass, Volume, VolumeAction, VolumeSource, VolumesPlan, VolumesRequest,
};
use domain::{ObjectRef, Quantity, Timestamp, Uid};

use super::*;

fn requirement() -> Requirement {
    Requirement { key: "disk".into(), operator: Operator::NotIn, values: vec!["hdd".into()] }
}

fn claim() -> Claim {
    Claim {
        namespace: "default".into(),
        name: "www-web-0".into(),
        uid: Uid("u".into()),
        version: 7,
        class: Some(String::new()),
        access_modes: vec![AccessMode::ReadWriteOnce],
        request: Quantity(1 << 30),
        selector: Some(LabelSelector { labels: BTreeMap::new(), expressions: vec![requirement()] }),
        ..Claim::default()
    }
}

fn volume() -> Volume {
    Volume {
        name: "pv001".into(),
        uid: Uid("v".into()),
        claim_ref: Some(ClaimRef { namespace: "default".into(), name: "data".into(), uid: Uid::default() }),
        node_affinity: Some(vec![NodeTerm { labels: vec![requirement()], fields: vec![] }]),
        source: VolumeSource::HostPath,
        ..Volume::default()
    }
}

#[test]
fn a_request_survives_the_wire() {
    let request = VolumesRequest {
        claims: vec![claim(), Claim { class: None, name: "b".into(), ..claim() }],
        volumes: vec![volume(), Volume { node_affinity: None, ..volume() }],
        classes: vec![StorageClass { name: "standard".into(), is_default: true, ..StorageClass::default() }],
        users: Vec::new(),
        node: MachineNode { name: "here".into(), labels: BTreeMap::new() },
        now: Timestamp(5),
        ..VolumesRequest::default()
    };
    let wire = proto::PlanVolumesRequest::from(request.clone());
    assert_eq!(VolumesRequest::try_from(wire), Ok(request));
}

#[test]
fn a_plan_survives_the_wire() {
    let object = ObjectRef { kind: "PersistentVolume".into(), name: "pv001".into(), ..ObjectRef::default() };
    let version = ObjectVersion { object, version: 9 };
    let plan = VolumesPlan {
        actions: vec![
            VolumeAction::DeleteVolume { volume: version.clone() },
            VolumeAction::Deprovision { volume: version.clone(), claim_uid: Uid("u".into()) },
            VolumeAction::Expand { claim: version.clone(), volume: version, capacity: Quantity(3) },
        ],
        ..VolumesPlan::default()
    };
    let wire = proto::PlanVolumesResponse::from(plan.clone());
    assert_eq!(VolumesPlan::try_from(wire), Ok(plan));
}

#[test]
fn every_violation_is_named() {
    let mut wire = proto::PlanVolumesRequest::from(VolumesRequest { claims: vec![claim()], ..Default::default() });
    wire.claims[0].uid.clear();
    wire.claims[0].access_modes = vec![1, 0, 99];
    wire.now = None;
    let violations = VolumesRequest::try_from(wire).unwrap_err();
    let fields: Vec<_> = violations.0.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["claims[0].uid", "claims[0].access_modes[1]", "claims[0].access_modes[2]", "now"]);
}
