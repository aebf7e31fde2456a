//! Whatever arrives: no panic, no answer that is too large, none that another codec cannot read.

use hickory_proto::op::Message;
use proptest::prelude::*;

use super::fixture::{Bench, query};
use crate::reply::Transport;

fn holds(bench: &Bench, message: &[u8]) -> Result<(), TestCaseError> {
    for transport in [Transport::Udp, Transport::Tcp] {
        let Some(answer) = bench.raw(message, transport) else { continue };
        let limit = if transport == Transport::Udp { 1232 } else { 65_535 };
        prop_assert!(answer.len() <= limit);
        prop_assert!(Message::from_vec(&answer).is_ok(), "{message:?} -> {answer:?}");
        prop_assert_eq!(&answer[..2], &message[..2]);
        prop_assert!(answer[2] & 0x80 != 0);
    }
    Ok(())
}

const QUESTIONS: [&str; 10] = [
    "nginx.default~ A",
    "big.default~ SRV",
    "big.default~ ANY",
    "alias.default~ AAAA",
    "cluster.local. IXFR",
    "cluster.local. AXFR",
    "10.0.244.10.in-addr.arpa. PTR",
    "10-244-0-40.default.pod.cluster.local. A",
    "--.default.pod.cluster.local. AAAA",
    "www.example.com. A",
];

#[test]
fn any_bytes_are_survived() {
    let bench = Bench::new();
    proptest!(|(message in prop::collection::vec(any::<u8>(), 0..600))| holds(&bench, &message)?);
}

#[test]
fn damaged_questions_are_survived() {
    let bench = Bench::new();
    let strategy = (
        0..QUESTIONS.len(),
        any::<bool>(),
        any::<u16>(),
        prop::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        any::<u16>(),
    );
    proptest!(|((question, edns, size, damage, cut) in strategy)| {
        let mut message = query(QUESTIONS[question], edns.then_some((0, size)));
        for (at, value) in damage {
            let at = usize::from(at) % message.len();
            message[at] = value;
        }
        if cut % 4 == 0 {
            message.truncate(usize::from(cut) % (message.len() + 1));
        }
        holds(&bench, &message)?;
    });
}

#[test]
fn whole_questions_are_answered_within_what_the_client_takes() {
    let bench = Bench::new();
    for question in QUESTIONS {
        for size in [0, 511, 512, 513, 560, 700, 1000, 1231, 1232, 4096, 65_535] {
            let answer = bench.raw(&query(question, Some((0, size))), Transport::Udp).unwrap();
            assert!(answer.len() <= usize::from(size.clamp(512, 1232)), "{question} {size}");
            let answer = Message::from_vec(&answer).unwrap();
            assert!(answer.edns.is_some(), "{question} {size}: the OPT is never dropped");
        }
    }
}
