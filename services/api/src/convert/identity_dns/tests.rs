use std::collections::BTreeMap;

use domain::zone::{
    EndpointSliceFacts, IpFamily, ManualEndpoint, NamedPort, ObjectName, PodFacts, Protocol, Publication,
    ServiceAddress, ServiceFacts, ServicePort, TargetPort, ZoneChange,
};
use domain::{Ordinal, PodIdentity, Uid};

use crate::convert::Violations;
use crate::proto::identity_dns::v1 as proto;

fn publication() -> Publication {
    let labels = BTreeMap::from([("app".to_owned(), "nginx".to_owned())]);
    let port = |name: &str, target| ServicePort { name: name.into(), protocol: Protocol::Udp, port: 53, target };
    let service = |name: &str, address| ServiceFacts {
        name: ObjectName::new("default", name),
        address,
        selector: labels.clone(),
        ports: vec![port("a", TargetPort::Number(5353)), port("b", TargetPort::Name("dns".into()))],
        publish_not_ready_addresses: true,
        ip_families: vec![IpFamily::V4, IpFamily::V6],
    };
    let named = NamedPort { name: "dns".into(), protocol: Protocol::Sctp, port: 1 };
    let pod = PodFacts {
        name: ObjectName::new("default", "web-0"),
        uid: Uid("u".into()),
        ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        labels: labels.clone(),
        hostname: "web-0".into(),
        subdomain: "nginx".into(),
        ready: true,
        terminating: true,
        terminal: true,
        ports: vec![named.clone()],
    };
    let slice = EndpointSliceFacts {
        name: ObjectName::new("default", "manual-1"),
        service: "manual".into(),
        ports: vec![named],
        endpoints: vec![ManualEndpoint { ips: pod.ips.clone(), hostname: "a".into(), ready: true }],
    };
    Publication {
        operation_id: "op".into(),
        store: "s".into(),
        epoch: 3,
        generation: 7,
        base_generation: Some(6),
        change: ZoneChange {
            namespaces: vec!["default".into()],
            removed_namespaces: vec!["old".into()],
            services: vec![
                service("nginx", ServiceAddress::Headless),
                service("api", ServiceAddress::ClusterIps(pod.ips.clone())),
                service("ext", ServiceAddress::ExternalName("www.example.com".into())),
            ],
            removed_services: vec![ObjectName::new("default", "gone")],
            pods: vec![pod],
            removed_pods: vec![ObjectName::new("default", "a.b")],
            slices: vec![slice],
            removed_slices: vec![ObjectName::new("default", "gone-1")],
        },
    }
}

#[test]
fn publications_survive_the_wire() {
    for base_generation in [Some(6), Some(0), None] {
        let publication = Publication { base_generation, ..publication() };
        assert_eq!(Publication::try_from(proto::PublishRequest::from(publication.clone())), Ok(publication));
    }
}

#[test]
fn identities_survive_the_wire() {
    let identity = PodIdentity {
        ordinal: Ordinal(3),
        name: "web-3".into(),
        hostname: "web-3".into(),
        subdomain: "nginx".into(),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        dns_names: vec!["web-3.nginx.default.svc.cluster.local".into()],
    };
    assert_eq!(PodIdentity::try_from(proto::PodIdentity::from(identity.clone())), Ok(identity));
}

#[test]
fn every_violation_is_named() {
    let mut request = proto::PublishRequest::from(publication());
    request.operation_id.clear();
    request.store_id = "s".repeat(513);
    request.base_generation = 7;
    request.namespaces[0] = "Default".into();
    request.services[0].ports[1].port = 65536;
    request.services[1].cluster_ips[0] = "10.0.0".into();
    request.services[2].external_name = "10.0.0.1".into();
    request.pods[0].hostname = "a.b".into();
    request.pods[0].ports[0].protocol = "ICMP".into();
    let Violations(violations) = Publication::try_from(request).unwrap_err();
    let fields: Vec<_> = violations.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "operation_id",
        "store_id",
        "base_generation",
        "namespaces[0]",
        "services[0].ports[1].port",
        "services[1].cluster_ips[0]",
        "services[2].external_name",
        "pods[0].hostname",
        "pods[0].ports[0].protocol",
    ];
    assert_eq!(fields, expected);
    assert!(violations[6].1.contains("headless"), "{violations:?}");
}
