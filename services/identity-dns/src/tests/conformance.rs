use super::fixture::{Bench, facts, options};

/// Sections in brackets of the table: answers; `/` the SOA's owner in authority; `+` additional.
const TABLE: &[(&str, &str, &str)] = &[
    ("D-01", "dns-version.cluster.local. TXT", "NOERROR 1.1.0"),
    ("D-02", "dns-version.cluster.local. A", "NOERROR / SOA"),
    (
        "D-03",
        "cluster.local. SOA",
        "NOERROR ns.dns.cluster.local. hostmaster.cluster.local. 1700000001 7200 1800 86400 0",
    ),
    ("D-04", "cluster.local. NS", "NOERROR ns.dns.cluster.local. + A 10.96.0.10"),
    ("D-05", "ns.dns.cluster.local. A", "NOERROR 10.96.0.10"),
    ("D-06", "dns.cluster.local. A", "NOERROR / SOA"),
    ("D-07", "cluster.local. A", "NOERROR / SOA"),
    ("D-08", "cluster.local. TXT", "NOERROR / SOA"),
    ("D-09", "api.default~ A", "NOERROR 10.96.0.20"),
    ("D-10", "api.default~ AAAA", "NOERROR / SOA"),
    ("D-11", "dual.default~ A", "NOERROR 10.96.0.22"),
    ("D-11", "dual.default~ AAAA", "NOERROR fd00:10:96::22"),
    ("D-12", "_http._tcp.api.default~ SRV", "NOERROR 0 100 80 api.default~ + A 10.96.0.20"),
    ("D-13", "_dns._udp.api.default~ SRV", "NOERROR 0 100 53 api.default~ + A 10.96.0.20"),
    ("D-14", "_http._udp.api.default~ SRV", "NXDOMAIN / SOA"),
    ("D-15", "_udp.api.default~ A", "NOERROR / SOA"),
    ("D-16", "_sctp.api.default~ A", "NXDOMAIN / SOA"),
    ("D-17", "plain.default~ SRV", "NOERROR 0 100 80 plain.default~ + A 10.96.0.21"),
    ("D-18", "_http._tcp.plain.default~ SRV", "NXDOMAIN / SOA"),
    ("D-19", "_https._tcp.dual.default~ SRV", "NOERROR 0 50 443 dual.default~ + A 10.96.0.22; AAAA fd00:10:96::22"),
    ("D-20", "20.0.96.10.in-addr.arpa. PTR", "NOERROR api.default~"),
    ("D-21", "2.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa. PTR", "NOERROR dual.default~"),
    ("D-22", "nginx.default~ A", "NOERROR 10.244.0.10; 10.244.0.11"),
    ("D-23", "nginx.default~ AAAA", "NOERROR / SOA"),
    ("D-24", "web-0.nginx.default~ A", "NOERROR 10.244.0.10"),
    ("D-25", "web-0.nginx.default~ AAAA", "NOERROR / SOA"),
    ("D-26", "web-2.nginx.default~ A", "NXDOMAIN / SOA"),
    ("D-27", "web-3.nginx.default~ A", "NXDOMAIN / SOA"),
    (
        "D-28",
        "_web._tcp.nginx.default~ SRV",
        "NOERROR 0 50 80 web-0.nginx.default~; 0 50 80 web-1.nginx.default~ + A 10.244.0.10; A 10.244.0.11",
    ),
    (
        "D-29",
        "nginx.default~ SRV",
        "NOERROR 0 50 80 web-0.nginx.default~; 0 50 80 web-1.nginx.default~ + A 10.244.0.10; A 10.244.0.11",
    ),
    ("D-30", "_tcp.nginx.default~ SRV", "NOERROR / SOA"),
    ("D-31", "_web._tcp.web-0.nginx.default~ SRV", "NXDOMAIN / SOA"),
    ("D-32", "x.web-0.nginx.default~ A", "NXDOMAIN / SOA"),
    ("D-33", "web-0.nginx.foo~ A", "NOERROR 10.244.1.10"),
    ("D-34", "10-244-0-10.peek.default~ A", "NOERROR 10.244.0.10"),
    ("D-35", "web-0.peek.default~ A", "NXDOMAIN / SOA"),
    ("D-36", "10-244-0-10.nginx.default~ A", "NXDOMAIN / SOA"),
    (
        "D-37",
        "10.0.244.10.in-addr.arpa. PTR",
        "NOERROR 10-244-0-10.peek.default~; 10-244-0-10.plain.default~; web-0.nginx.default~",
    ),
    ("D-38", "12.0.244.10.in-addr.arpa. PTR", "NXDOMAIN / 244.10.in-addr.arpa."),
    ("D-39", "db-0.db.default~ A", "NOERROR 10.244.0.20"),
    ("D-40", "db.default~ A", "NOERROR 10.244.0.20; 10.244.0.21"),
    (
        "D-41",
        "db.default~ SRV",
        "NOERROR 0 25 3306 db-0.db.default~; 0 25 3306 db-1.db.default~; 0 25 9104 db-0.db.default~; \
         0 25 9104 db-1.db.default~ + A 10.244.0.20; A 10.244.0.21",
    ),
    (
        "D-42",
        "_metrics._tcp.db.default~ SRV",
        "NOERROR 0 50 9104 db-0.db.default~; 0 50 9104 db-1.db.default~ + A 10.244.0.20; A 10.244.0.21",
    ),
    ("D-43", "void.default~ A", "NXDOMAIN / SOA"),
    ("D-44", "_x._tcp.void.default~ SRV", "NXDOMAIN / SOA"),
    ("D-45", "portless.default~ A", "NOERROR 10.244.0.30"),
    ("D-46", "solo.portless.default~ A", "NOERROR 10.244.0.30"),
    ("D-47", "portless.default~ SRV", "NOERROR / SOA"),
    ("D-48", "a.manual.default~ A", "NOERROR 10.244.9.1; 10.244.9.2"),
    ("D-49", "fd00-10-244--9.manual.default~ AAAA", "NOERROR fd00:10:244::9"),
    ("D-50", "manual.default~ A", "NOERROR 10.244.9.1; 10.244.9.2"),
    ("D-50", "manual.default~ AAAA", "NOERROR fd00:10:244::9"),
    (
        "D-51",
        "_web._tcp.manual.default~ SRV",
        "NOERROR 0 33 8080 a.manual.default~; 0 33 8080 fd00-10-244--9.manual.default~ \
         + A 10.244.9.1; A 10.244.9.2; AAAA fd00:10:244::9",
    ),
    ("D-52", "ext.default~ CNAME", "NOERROR www.example.com."),
    ("D-53", "ext.default~ A", "NOERROR CNAME www.example.com."),
    ("D-55", "alias.default~ A", "NOERROR 10.96.0.20; CNAME api.default~"),
    ("D-56", "alias.default~ AAAA", "NOERROR CNAME api.default~ / SOA"),
    ("D-57", "broken.default~ A", "NXDOMAIN CNAME nope.default~ / SOA"),
    ("D-58", "x.ext.default~ A", "NXDOMAIN / SOA"),
    ("D-59", "ext.default~ SRV", "NOERROR CNAME www.example.com."),
    ("D-60", "svc.cluster.local. A", "NOERROR / SOA"),
    ("D-60", "default~ A", "NOERROR / SOA"),
    ("D-60", "empty~ A", "NOERROR / SOA"),
    ("D-61", "nosuchns~ A", "NXDOMAIN / SOA"),
    ("D-61", "nginx.nosuchns~ A", "NXDOMAIN / SOA"),
    ("D-62", "foo.cluster.local. A", "NXDOMAIN / SOA"),
    ("D-63", "nginx.default.svc.cluster.local.default~ A", "NXDOMAIN / SOA"),
    ("D-64", "NGINX.Default.SVC.Cluster.LOCAL. A", "NOERROR 10.244.0.10; 10.244.0.11"),
    ("D-65", "*.default~ A", "NXDOMAIN / SOA"),
    ("D-65", "any.default~ A", "NXDOMAIN / SOA"),
    ("D-66", "10-244-0-40.default.pod.cluster.local. A", "NOERROR 10.244.0.40"),
    ("D-67", "10-244-0-99.default.pod.cluster.local. A", "NXDOMAIN / SOA"),
    ("D-68", "lone.default~ A", "NXDOMAIN / SOA"),
    ("D-69", "nginx.default~ MX", "NOERROR / SOA"),
    ("D-69", "nginx.default~ HTTPS", "NOERROR / SOA"),
    ("D-69", "nginx.default~ CAA", "NOERROR / SOA"),
    ("D-69", "nginx.default~ TYPE65280", "NOERROR / SOA"),
    ("D-70", "nosuch.default~ HTTPS", "NXDOMAIN / SOA"),
    ("D-71", "nosuch.default~ SOA", "NXDOMAIN / SOA"),
    ("D-84", "11.0.244.10.in-addr.arpa. A", "NOERROR / 244.10.in-addr.arpa."),
    (
        "D-85",
        "244.10.in-addr.arpa. SOA",
        "NOERROR ns.dns.cluster.local. hostmaster.cluster.local. 1700000001 7200 1800 86400 0",
    ),
    ("3.2", "0.244.10.in-addr.arpa. PTR", "NOERROR / 244.10.in-addr.arpa."),
    ("3.2", "3.244.10.in-addr.arpa. PTR", "NXDOMAIN / 244.10.in-addr.arpa."),
    ("3.2", "http.tcp.api.default~ SRV", "NXDOMAIN / SOA"),
    ("3.2", "pod.cluster.local. A", "NOERROR / SOA"),
    ("3.2", "default.pod.cluster.local. A", "NOERROR / SOA"),
    ("3.1", "alias.default~ ANY", "NOERROR CNAME api.default~"),
];

#[test]
fn every_row_of_the_table_is_answered() {
    let bench = Bench::new();
    for (id, question, expected) in TABLE {
        assert_eq!(bench.line(question), *expected, "{id}: {question}");
        let answer = bench.ask(question);
        assert!(answer.metadata.authoritative && !answer.metadata.truncation, "{id}");
        assert!(answer.metadata.recursion_desired && !answer.metadata.recursion_available, "{id}");
        for record in &answer.answers {
            let ttl = match record.record_type().to_string().as_str() {
                "TXT" => 28_800,
                "SOA" => 0,
                _ => 5,
            };
            assert_eq!(record.ttl, ttl, "{id}");
        }
    }
}

#[test]
fn d73_d86_names_outside_are_refused_without_a_forwarder() {
    let bench = Bench::new();
    for question in ["www.example.com. A", "8.8.8.8.in-addr.arpa. PTR", ". NS", "local. A"] {
        assert_eq!(bench.line(question), "REFUSED", "{question}");
        assert!(!bench.ask(question).metadata.authoritative);
    }
}

#[test]
fn d37_the_governing_service_comes_first() {
    let answer = Bench::new().ask("10.0.244.10.in-addr.arpa. PTR");
    assert_eq!(answer.answers[0].data.to_string(), "web-0.nginx.default.svc.cluster.local.");
}

#[test]
fn d64_the_question_keeps_its_spelling() {
    let answer = Bench::new().ask("NGINX.Default.SVC.Cluster.LOCAL. A");
    assert_eq!(answer.queries[0].name().to_string(), "NGINX.Default.SVC.Cluster.LOCAL.");
    assert_eq!(answer.answers[0].name.to_string(), "NGINX.Default.SVC.Cluster.LOCAL.");
}

#[test]
fn d55_each_record_is_owned_by_the_name_before() {
    let answer = Bench::new().ask("alias.default~ A");
    let owners: Vec<_> = answer.answers.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(owners, ["alias.default.svc.cluster.local.", "api.default.svc.cluster.local."]);
}

#[test]
fn d28_additional_addresses_belong_to_their_targets() {
    let answer = Bench::new().ask("db.default~ SRV");
    let owners = answer.additionals.iter().map(|record| record.name.to_string() + &record.data.to_string());
    let owners: Vec<_> = owners.collect();
    let expected = ["db-0.db.default.svc.cluster.local.10.244.0.20", "db-1.db.default.svc.cluster.local.10.244.0.21"];
    assert_eq!(owners, expected);
}

#[test]
fn d103_another_zone_holds_the_same() {
    let bench = Bench::empty("kube.local");
    let mut change = facts();
    change.services.retain(|service| service.name.name != "alias" && service.name.name != "broken");
    bench.publish(change);
    let skipped = ["D-03", "D-55", "D-56", "D-57", "D-63", "D-64", "D-85", "3.1"];
    for (id, question, expected) in TABLE.iter().filter(|(id, ..)| !skipped.contains(id)) {
        let renamed = |text: &str| text.replace('~', ".svc.kube.local.").replace("cluster.local.", "kube.local.");
        let line = bench.line(&renamed(question)).replace("/ kube.local.", "/ SOA");
        assert_eq!(line, renamed(expected), "{id}: {question}");
    }
    assert_eq!(bench.line("nginx.default~ A"), "REFUSED");
}

#[test]
fn pod_addresses_follow_the_mode() {
    use crate::zone::PodRecords;
    let with = |pod_records| {
        let bench = Bench::with(crate::zone::ZoneOptions { pod_records, ..options("cluster.local") }, Vec::new());
        bench.publish(facts());
        bench
    };
    for (mode, known, unknown) in [
        (PodRecords::Disabled, "NXDOMAIN / SOA", "NXDOMAIN / SOA"),
        (PodRecords::Insecure, "NOERROR 10.244.0.40", "NOERROR 10.244.0.99"),
        (PodRecords::Verified, "NOERROR 10.244.0.40", "NXDOMAIN / SOA"),
    ] {
        let bench = with(mode);
        assert_eq!(bench.line("10-244-0-40.default.pod.cluster.local. A"), known, "{mode:?}");
        assert_eq!(bench.line("10-244-0-99.default.pod.cluster.local. A"), unknown, "{mode:?}");
        assert_eq!(bench.line("10-244-0-40.nosuchns.pod.cluster.local. A"), "NXDOMAIN / SOA", "{mode:?}");
        assert_eq!(bench.line("pod.cluster.local. A"), "NOERROR / SOA", "{mode:?}");
    }
    let bench = with(PodRecords::Insecure);
    assert_eq!(bench.line("fd00--1.default.pod.cluster.local. AAAA"), "NOERROR fd00::1");
    assert_eq!(bench.line("fd00--1.default.pod.cluster.local. A"), "NOERROR / SOA");
}

#[test]
fn loops_of_names_end() {
    let bench = Bench::new();
    let services = vec![
        super::fixture::external("one", "two.default.svc.cluster.local"),
        super::fixture::external("two", "one.default.svc.cluster.local"),
    ];
    bench.publish(domain::zone::ZoneChange { services, ..Default::default() });
    assert_eq!(bench.line("one.default~ A"), "NOERROR CNAME one.default~; CNAME two.default~");
}
