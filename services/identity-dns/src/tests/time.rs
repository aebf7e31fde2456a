//! Behaviour over time (section 7.1), and facts as they change.

use domain::zone::{NamedPort, ObjectName, PodFacts, Protocol, ZoneChange, ZoneFacts};
use proptest::prelude::*;

use super::fixture::{Bench, facts, options, pod, service};
use crate::wire::Name;
use crate::zone::Zone;

fn web(ordinal: u32) -> PodFacts {
    pod(&format!("web-{ordinal}"), &format!("10.244.0.{}", 10 + ordinal), "app=nginx", "nginx")
}

#[test]
fn d90_a_name_answers_the_moment_its_pod_is_ready() {
    let bench = Bench::new();
    let serial = |bench: &Bench| bench.publisher.snapshot().serial;
    let before = serial(&bench);
    assert_eq!(bench.line("web-2.nginx.default~ A"), "NXDOMAIN / SOA");
    bench.put_pod(web(2));
    assert_eq!(bench.line("web-2.nginx.default~ A"), "NOERROR 10.244.0.12");
    assert_eq!(serial(&bench), before + 1);
}

#[test]
fn d92_d93_deletion_withdraws_at_once_unless_published_anyway() {
    let bench = Bench::new();
    bench.put_pod(PodFacts { terminating: true, ..web(1) });
    assert_eq!(bench.line("web-1.nginx.default~ A"), "NXDOMAIN / SOA");
    assert_eq!(bench.line("nginx.default~ A"), "NOERROR 10.244.0.10");
    assert_eq!(bench.line("11.0.244.10.in-addr.arpa. PTR"), "NXDOMAIN / 244.10.in-addr.arpa.");
    let db = PodFacts { terminating: true, ..pod("db-1", "10.244.0.21", "app=db", "db") };
    bench.put_pod(db.clone());
    assert_eq!(bench.line("db-1.db.default~ A"), "NOERROR 10.244.0.21");
    bench.put_pod(PodFacts { terminal: true, ..db });
    assert_eq!(bench.line("db-1.db.default~ A"), "NXDOMAIN / SOA", "D-105");
}

#[test]
fn d94_a_name_never_has_both_addresses() {
    let bench = Bench::new();
    bench.publish(ZoneChange { removed_pods: vec![ObjectName::new("default", "web-0")], ..ZoneChange::default() });
    assert_eq!(bench.line("web-0.nginx.default~ A"), "NXDOMAIN / SOA");
    bench.put_pod(pod("web-0", "10.244.0.77", "app=nginx", "nginx"));
    assert_eq!(bench.line("web-0.nginx.default~ A"), "NOERROR 10.244.0.77");
    assert_eq!(bench.line("10.0.244.10.in-addr.arpa. PTR"), "NXDOMAIN / 244.10.in-addr.arpa.");
}

#[test]
fn d96_d102_names_come_and_go_with_their_service() {
    let bench = Bench::new();
    let nginx = ObjectName::new("default", "nginx");
    bench.publish(ZoneChange { removed_services: vec![nginx], ..ZoneChange::default() });
    for question in
        ["nginx.default~ A", "web-0.nginx.default~ A", "_web._tcp.nginx.default~ SRV", "_tcp.nginx.default~ A"]
    {
        assert_eq!(bench.line(question), "NXDOMAIN / SOA", "{question}");
    }
    let rest = "NOERROR 10-244-0-10.peek.default~; 10-244-0-10.plain.default~";
    assert_eq!(bench.line("10.0.244.10.in-addr.arpa. PTR"), rest);
    bench.publish(ZoneChange {
        services: vec![service("nginx", "app=nginx", &["web:80/TCP"])],
        ..ZoneChange::default()
    });
    assert_eq!(bench.line("web-0.nginx.default~ A"), "NOERROR 10.244.0.10");
}

#[test]
fn d97_d100_the_serial_rises_with_what_is_visible_and_only_then() {
    let bench = Bench::new();
    let first = bench.put_pod(web(1));
    assert_eq!(bench.put_pod(web(1)), first);
    assert_eq!(bench.put_pod(PodFacts { ready: false, ..web(2) }), first, "it was not ready before either");
    let second = bench.put_pod(web(2));
    let third = bench.put_pod(PodFacts { ready: false, ..web(2) });
    assert_eq!([second, third], [first + 1, first + 2]);
}

#[test]
fn d97_an_endpoint_that_moves_to_the_address_of_another_may_change_nothing() {
    let bench = Bench::new();
    let at = |name: &str, address: &str| pod(name, address, "app=nginx", "");
    let pods = ["10.244.9.1", "10.244.9.1", "10.244.9.2"].into_iter().zip(["a", "b", "c"]);
    let first = bench.publish(ZoneChange { pods: pods.map(|(ip, name)| at(name, ip)).collect(), ..Default::default() });
    let question = "_web._tcp.nginx.default~ SRV";
    let answer = bench.line(question);
    assert_eq!(bench.put_pod(at("b", "10.244.9.2")), first, "both addresses stay, and so do the weights");
    assert_eq!(bench.line(question), answer);
    assert_eq!(bench.put_pod(at("b", "10.244.9.3")), first + 1);
    let weights = bench.line(question);
    assert_eq!(bench.put_pod(at("d", "10.244.9.3")), first + 2, "one more has the port");
    assert_ne!(bench.line(question), weights);
}

#[test]
fn d98_without_ready_endpoints_nothing_of_a_headless_service_exists() {
    let bench = Bench::new();
    for ordinal in 0..2 {
        bench.put_pod(PodFacts { ready: false, ..web(ordinal) });
    }
    for question in ["nginx.default~ A", "nginx.default~ AAAA", "nginx.default~ SRV", "_tcp.nginx.default~ A"] {
        assert_eq!(bench.line(question), "NXDOMAIN / SOA", "{question}");
    }
}

#[test]
fn d99_before_facts_are_known_nothing_is_denied() {
    let bench = Bench::empty("cluster.local");
    for question in ["web-0.nginx.default~ A", "cluster.local. SOA", "cluster.local. AXFR"] {
        assert_eq!(bench.line(question), "SERVFAIL", "{question}");
    }
}

#[test]
fn d101_a_port_that_a_pod_does_not_have_is_left_out() {
    let bench = Bench::new();
    let named = |name: &str| NamedPort { name: name.to_owned(), protocol: Protocol::Tcp, port: 8080 };
    let with = |ordinal: u32, port: &str| PodFacts {
        ports: vec![named(port)],
        ..pod(&format!("n-{ordinal}"), &format!("10.244.5.{ordinal}"), "app=named", "named")
    };
    let services = vec![service("named", "app=named", &["web:80>web/TCP"])];
    bench.publish(ZoneChange { services, pods: vec![with(0, "web"), with(1, "http")], ..ZoneChange::default() });
    assert_eq!(bench.line("n-1.named.default~ A"), "NOERROR 10.244.5.1");
    let expected = "NOERROR 0 100 8080 n-0.named.default~ + A 10.244.5.0";
    assert_eq!(bench.line("_web._tcp.named.default~ SRV"), expected);
}

#[test]
fn d104_the_name_appears_with_the_address() {
    let bench = Bench::new();
    let bare = PodFacts { ips: Vec::new(), ready: false, ..pod("db-2", "10.244.0.22", "app=db", "db") };
    bench.put_pod(bare.clone());
    assert_eq!(bench.line("db-2.db.default~ A"), "NXDOMAIN / SOA");
    bench.put_pod(PodFacts { ips: vec!["10.244.0.22".parse().unwrap()], ..bare });
    assert_eq!(bench.line("db-2.db.default~ A"), "NOERROR 10.244.0.22");
}

#[test]
fn d106_d107_d108_port_names() {
    let bench = Bench::new();
    let long = "x".repeat(63);
    let services = vec![
        service("emqx-ee-headless", "app=emqx", &["http-management-8081:8081/TCP"]),
        service("long", "app=emqx", &[&format!("{long}:1/TCP")]),
        service("other", "app=emqx", &["http:80/TCP"]),
    ];
    let emqx = pod("emqx-ee-0", "10.244.6.1", "app=emqx", "emqx-ee-headless");
    bench.publish(ZoneChange { services, pods: vec![emqx], ..ZoneChange::default() });
    assert_eq!(
        bench.line("_http-management-8081._tcp.emqx-ee-headless.default~ SRV"),
        "NOERROR 0 100 8081 emqx-ee-0.emqx-ee-headless.default~ + A 10.244.6.1"
    );
    assert_eq!(bench.line("10-244-6-1.long.default~ A"), "NOERROR 10.244.6.1");
    assert_eq!(bench.line("_tcp.long.default~ A"), "NXDOMAIN / SOA");
    assert_eq!(bench.line("_web._tcp.other.default~ SRV"), "NXDOMAIN / SOA");
}

/// Every name with its records, and every name that exists without any.
fn contents(zone: &Zone) -> Vec<String> {
    let snapshot = zone.snapshot(1, true);
    let mut lines: Vec<_> = snapshot
        .tree
        .iter()
        .flat_map(|(name, sets)| sets.iter().map(move |set| format!("{name} {} {:?}", set.rtype(), set.bytes())))
        .collect();
    let empty = ["svc", "_tcp.s0.default.svc", "s1.default.svc", "default.svc", "default.pod", "other.svc"];
    lines.extend(empty.iter().map(|text| {
        let name = Name::from_text(&format!("{text}.cluster.local")).unwrap();
        format!("{text} exists: {}", snapshot.tree.get(name.wire()).is_some())
    }));
    lines.sort();
    lines
}

/// One step in the life of a few Services and pods.
fn step() -> impl Strategy<Value = ZoneChange> {
    let app = |n: u8| format!("app=a{}", n % 3);
    let of = |n: u8| ObjectName::new("default", format!("p{}", n % 5));
    prop_oneof![
        4 => (any::<u8>(), any::<u8>(), any::<(bool, bool, bool)>()).prop_map(move |(n, m, (ready, terminating, governed))| {
            let subdomain = if governed { format!("s{}", m % 3) } else { String::new() };
            let pod = pod(&format!("p{}", n % 5), &format!("10.244.0.{}", m % 4), &app(m), &subdomain);
            ZoneChange { pods: vec![PodFacts { ready, terminating, ..pod }], ..ZoneChange::default() }
        }),
        2 => any::<u8>().prop_map(move |n| ZoneChange { removed_pods: vec![of(n)], ..ZoneChange::default() }),
        2 => any::<(u8, u8, bool)>().prop_map(move |(n, m, anyway)| {
            let mut service = service(&format!("s{}", n % 3), &app(m), &["web:80/TCP", "x:1/UDP"]);
            service.publish_not_ready_addresses = anyway;
            if m % 7 == 0 {
                service = super::fixture::cluster(service, &["10.244.0.1"]);
            }
            ZoneChange { services: vec![service], ..ZoneChange::default() }
        }),
        1 => any::<u8>().prop_map(|n| {
            let removed_services = vec![ObjectName::new("default", format!("s{}", n % 3))];
            ZoneChange { removed_services, ..ZoneChange::default() }
        }),
        1 => any::<bool>().prop_map(|exists| {
            let names = vec!["default".to_owned()];
            if exists {
                ZoneChange { namespaces: names, ..ZoneChange::default() }
            } else {
                ZoneChange { removed_namespaces: names, ..ZoneChange::default() }
            }
        }),
    ]
}

#[test]
fn small_changes_lead_to_the_same_zone_as_all_facts_at_once() {
    proptest!(|(steps in prop::collection::vec(step(), 1..40))| {
        let mut zone = Zone::new(options("cluster.local")).unwrap();
        let mut before = contents(&zone);
        for change in steps {
            let changed = zone.apply(change);
            let mut fresh = Zone::new(options("cluster.local")).unwrap();
            fresh.apply(ZoneFacts::default().change_to(zone.facts()));
            let now = contents(&zone);
            prop_assert_eq!(&now, &contents(&fresh));
            prop_assert_eq!(changed, now != before);
            before = now;
        }
    });
}

#[test]
fn restored_facts_answer_without_the_coordinator() {
    use crate::journal::UNFORCED_MAX;
    use crate::publisher::{PublishError, Publisher, Served};
    use domain::Timestamp;
    use domain::zone::Publication;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names");
    let open = |now| {
        Publisher::open(Zone::new(options("cluster.local")).unwrap(), Some(path.clone()), Timestamp(now)).unwrap()
    };
    let publication = |epoch, generation, base_generation, change| Publication {
        operation_id: format!("op-{epoch}-{generation}"),
        store: String::new(),
        epoch,
        generation,
        base_generation,
        change,
    };
    let publisher = open(1_700_000_000_000);
    let first = publisher.publish(publication(5, 10, None, facts())).unwrap();
    let second = publisher
        .publish(publication(5, 11, Some(10), ZoneChange { pods: vec![web(2)], ..Default::default() }))
        .unwrap();
    assert_eq!(second.serial, first.serial + 1);
    drop(publisher);
    for now in [1_600_000_000_000, 1_700_000_000_000] {
        let publisher = open(now);
        // Nor with what the disk may have missed.
        let beyond = Served { serial: second.serial + UNFORCED_MAX, ..second };
        assert_eq!(publisher.served(), (beyond, true), "the serial does not go back with the clock");
        let name = Name::from_text("web-2.nginx.default.svc.cluster.local").unwrap();
        assert!(publisher.snapshot().tree.get(name.wire()).is_some());
        let stale = Publication { operation_id: "late".into(), ..publication(5, 10, None, ZoneChange::default()) };
        let stale = publisher.publish(stale);
        assert!(matches!(stale, Err(PublishError::Fenced { .. })), "{stale:?}");
        let older = publisher.publish(publication(4, 99, None, ZoneChange::default()));
        assert!(matches!(older, Err(PublishError::Fenced { .. })));
        assert_eq!(publisher.publish(publication(5, 11, Some(10), ZoneChange::default())), Ok(second), "again");
        let gap = publisher.publish(publication(5, 13, Some(12), ZoneChange::default()));
        assert!(matches!(gap, Err(PublishError::BaseMismatch { generation: 11, .. })));
        let other = publisher.publish(publication(6, 12, Some(11), ZoneChange::default()));
        assert!(matches!(other, Err(PublishError::BaseMismatch { .. })), "a change belongs to one epoch");
    }
    assert!(open(1_800_000_000_000).served().0.serial > second.serial);
}
