//! Sizes, codes and transfers.

use hickory_proto::op::Message;

use super::fixture::{Bench, query, render};
use crate::reply::Transport;
use crate::server::Handled;

fn udp(bench: &Bench, question: &str, edns: Option<(u8, u16)>) -> (Message, usize) {
    let bytes = bench.raw(&query(question, edns), Transport::Udp).unwrap();
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

#[test]
fn d72_other_classes_are_refused() {
    let mut message = query("nginx.default~ A", None);
    let end = message.len();
    message[end - 1] = 3;
    let answer = Message::from_vec(&Bench::new().raw(&message, Transport::Udp).unwrap()).unwrap();
    assert_eq!((render(&answer).as_str(), answer.metadata.authoritative), ("REFUSED", false));
}

#[test]
fn d74_other_versions_of_edns_are_refused() {
    let (answer, _) = udp(&Bench::new(), "nginx.default~ A", Some((1, 1232)));
    assert_eq!(render(&answer), "BADVERS");
    assert_eq!(answer.edns.as_ref().map(|edns| edns.version()), Some(0));
}

#[test]
fn d75_d76_what_does_not_fit_is_left_out_whole() {
    let bench = Bench::new();
    for (edns, limit) in [(None, 512), (Some((0, 4096)), 1232), (Some((0, 100)), 512), (Some((0, 700)), 700)] {
        let (answer, bytes) = udp(&bench, "big.default~ A", edns);
        assert!(bytes <= limit && answer.metadata.truncation && answer.answers.is_empty(), "{edns:?}: {bytes}");
        assert_eq!(answer.edns.is_some(), edns.is_some());
    }
    let (answer, bytes) = udp(&bench, "nginx.default~ A", Some((0, 4096)));
    assert!(!answer.metadata.truncation && bytes < 512);
    assert_eq!(answer.edns.as_ref().map(|edns| edns.max_payload()), Some(1232));
}

#[test]
fn d77_d78_over_tcp_everything_fits() {
    let bench = Bench::new();
    let answer = bench.ask("big.default~ A");
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (100, false));
    let raw = bench.raw(&query("big.default~ SRV", None), Transport::Tcp).unwrap();
    let answer = Message::from_vec(&raw).unwrap();
    assert_eq!((answer.answers.len(), answer.additionals.len(), answer.metadata.truncation), (100, 100, false));
    assert!(answer.answers.iter().all(|record| record.data.to_string().starts_with("0 1 80 ")));
    let whole = b"\x07bulk-42\x03big\x07default\x03svc\x07cluster\x05local\x00";
    assert!(raw.windows(whole.len()).any(|window| window == whole), "targets are not compressed");
}

#[test]
fn d79_additional_records_go_first() {
    let (answer, bytes) = udp(&Bench::new(), "nginx.default~ SRV", None);
    assert!(answer.answers.len() == 2 && !answer.metadata.truncation && bytes <= 512);
    let (answer, bytes) = udp(&Bench::new(), "db.default~ SRV", Some((0, 512)));
    assert!(answer.answers.len() == 4 && !answer.metadata.truncation && bytes <= 512);
}

#[test]
fn a_set_larger_than_any_message_is_cut_over_tcp() {
    let bench = Bench::new();
    let pods = (0..5000u32).map(|n| {
        let ip = format!("10.244.{}.{}", 16 + n / 250, n % 250);
        super::fixture::pod(&format!("huge-{n}"), &ip, "app=huge", "huge")
    });
    let services = vec![super::fixture::service("huge", "app=huge", &["web:80/TCP"])];
    bench.publish(domain::zone::ZoneChange { services, pods: pods.collect(), ..Default::default() });
    for question in ["huge.default~ A", "huge.default~ SRV"] {
        let answer = bench.ask(question);
        assert!(answer.metadata.truncation && answer.answers.len() > 1000, "{question}");
    }
    let (answer, bytes) = udp(&bench, "huge.default~ A", None);
    assert!(answer.answers.is_empty() && answer.metadata.truncation && bytes <= 512);
}

#[test]
fn addresses_take_turns() {
    let bench = Bench::new();
    let first = |_| bench.ask("nginx.default~ A").answers[0].data.to_string();
    let seen: std::collections::BTreeSet<_> = (0..4).map(first).collect();
    assert_eq!(seen.len(), 2);
}

#[test]
fn d80_to_d83_transfers() {
    let bench = Bench::new();
    let refused = |bench: &Bench, question: &str, transport| {
        let answer = bench.raw(&query(question, None), transport).unwrap();
        render(&Message::from_vec(&answer).unwrap())
    };
    assert_eq!(refused(&bench, "cluster.local. AXFR", Transport::Udp), "REFUSED");
    assert_eq!(refused(&bench, "default~ AXFR", Transport::Tcp), "REFUSED");
    let closed = Bench::with(super::fixture::options("cluster.local"), Vec::new());
    closed.publish(super::fixture::facts());
    assert_eq!(refused(&closed, "cluster.local. AXFR", Transport::Tcp), "REFUSED");
    assert_eq!(refused(&closed, "cluster.local. IXFR", Transport::Udp), "REFUSED");

    let Handled::Stream(messages) =
        bench.handler.handle(&query("cluster.local. AXFR", None), super::fixture::LOCAL, Transport::Tcp, Vec::new())
    else {
        panic!("a transfer")
    };
    let records: Vec<_> = messages.iter().flat_map(|message| Message::from_vec(message).unwrap().answers).collect();
    let texts: Vec<String> = records
        .iter()
        .map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data))
        .collect();
    assert_eq!(texts.first(), texts.last());
    assert!(texts[0].contains(" SOA "), "{}", texts[0]);
    let middle: std::collections::BTreeSet<_> = texts[1..texts.len() - 1].iter().collect();
    assert_eq!(middle.len(), texts.len() - 2, "no record twice");
    for expected in [
        "cluster.local. 5 NS ns.dns.cluster.local.",
        "ns.dns.cluster.local. 5 A 10.96.0.10",
        "web-0.nginx.default.svc.cluster.local. 5 A 10.244.0.10",
        "plain.default.svc.cluster.local. 5 SRV 0 100 80 plain.default.svc.cluster.local.",
        "ext.default.svc.cluster.local. 5 CNAME www.example.com.",
        "10-244-0-40.default.pod.cluster.local. 5 A 10.244.0.40",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}");
    }
    assert!(!texts.iter().any(|text| text.contains("in-addr.arpa")), "another zone");

    let mut ixfr = query("cluster.local. IXFR", None);
    ixfr[9] = 1;
    ixfr.extend_from_slice(&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
    let current = ixfr.clone().into_iter().chain(1_700_000_001u32.to_be_bytes()).chain([0; 16]).collect::<Vec<_>>();
    let answer = Message::from_vec(&bench.raw(&current, Transport::Tcp).unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 1, "D-83");
    let old = ixfr.into_iter().chain(1_600_000_000u32.to_be_bytes()).chain([0; 16]).collect::<Vec<_>>();
    let answer = Message::from_vec(&bench.raw(&old, Transport::Tcp).unwrap()).unwrap();
    assert!(answer.answers.len() > 100);
    let answer = Message::from_vec(&bench.raw(&old, Transport::Udp).unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 1, "over UDP our SOA says: use TCP");
}

#[test]
fn d87_d88_messages_that_make_no_sense_get_a_code() {
    let bench = Bench::new();
    let code = |message: &[u8]| bench.raw(message, Transport::Udp).map(|answer| answer[3] & 0x0f);
    let good = query("nginx.default~ A", None);
    let changed = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        message
    };
    assert_eq!(code(&changed(5, 2)), Some(1), "D-87: two questions");
    assert_eq!(code(&changed(5, 0)), Some(1), "no question");
    assert_eq!(code(&changed(2, 0x28)), Some(4), "D-88: UPDATE");
    assert_eq!(code(&changed(2, 0x81)), None, "an answer is not answered");
    assert_eq!(code(&good[..11]), None, "no header");
    assert_eq!(code(&good[..20]), Some(1), "cut");
    assert_eq!(code(&changed(12, 0xc0)), Some(1), "a compressed question");
    let mut twice = query("nginx.default~ A", Some((0, 1232)));
    twice.extend_from_slice(&[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
    twice[11] = 2;
    assert_eq!(code(&twice), Some(1), "two OPT records");
    let answer = bench.raw(&changed(3, 0x70), Transport::Udp).unwrap();
    assert_eq!(answer[3] & 0x70, 0, "bits that mean nothing here are not sent back");
}

#[test]
fn unknown_options_are_ignored() {
    let mut message = query("web-0.nginx.default~ A", Some((0, 1232)));
    let end = message.len();
    message[end - 1] = 8;
    message.extend_from_slice(&[0xff, 0xfe, 0, 4, 1, 2, 3, 4]);
    let answer = Message::from_vec(&Bench::new().raw(&message, Transport::Udp).unwrap()).unwrap();
    assert_eq!(render(&answer), "NOERROR 10.244.0.10");
}
