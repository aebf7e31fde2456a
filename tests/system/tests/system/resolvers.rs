//! Two replicas of identity-dns: whichever is asked, the names are right; one that dies holds up nothing and comes back
//! right.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::system_service_client::SystemServiceClient;
use api::proto::coordinator::v1::{ApplyRequest, GetSystemRequest, ListRequest};
use api::proto::identity_dns::v1::GetZoneRequest;
use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use serde_json::Value;
use support::until;
use tokio::net::UdpSocket;

use super::fleet::{Fleet, PROCESSES};
use super::{mark, sleepers};

/// Pods of the set.
const REPLICAS: u32 = 3;

/// How the replicas are, by the coordinator's metrics.
const ANSWERS: &str = "setkeeper_coordinator_names_replica_answers";

/// Places of the two replicas among the processes.
fn places() -> [usize; 2] {
    let all: Vec<_> = (0..PROCESSES.len()).filter(|place| PROCESSES[*place].0 == "identity-dns").collect();
    all.try_into().expect("there are two")
}

async fn apply(fleet: &Fleet, mark: &str) {
    let manifest = sleepers(mark, REPLICAS, "OrderedReady");
    until("it is applied", || async {
        let request = ApplyRequest { manifest: manifest.clone(), ..ApplyRequest::default() };
        let applied = ObjectServiceClient::new(fleet.channel()).apply(request).await;
        applied.map(drop).map_err(|status| status.to_string())
    })
    .await;
}

/// Address of each pod that is ready and stays, and whether its process is that of `mark`.
async fn ready(fleet: &Fleet, mark: &str) -> BTreeMap<String, (Ipv4Addr, bool)> {
    let request = ListRequest { kind: "pods".to_owned(), ..ListRequest::default() };
    let listed = ObjectServiceClient::new(fleet.channel()).list(request).await.expect("it answers").into_inner();
    let one = |pod: Value| {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let mut ready = conditions.filter(|one| one["type"] == "Ready" && one["status"] == "True");
        let stays = pod.pointer("/metadata/deletionTimestamp").is_none();
        (stays && ready.next().is_some()).then(|| {
            let new = text("/spec/containers/0/env/0/value") == mark;
            (text("/metadata/name"), (text("/status/podIP").parse().expect("an address"), new))
        })
    };
    listed.objects.into_iter().map(api::object::from_struct).filter_map(one).collect()
}

/// The address that one replica answers for a pod; none where it says that there is none.
async fn asked(server: SocketAddr, pod: &str) -> Option<Ipv4Addr> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [pod, "sleepers", "default", "svc", "cluster", "local"] {
        question.push(u8::try_from(label.len()).expect("short"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&question, server).await.expect("it is sent");
    let mut answer = [0; 512];
    let received = tokio::time::timeout(support::WAIT_MAX, socket.recv(&mut answer)).await;
    let answer = &answer[..received.expect("DNS answers").expect("it is there")];
    assert!([0, 3].contains(&(answer[3] & 0x0f)), "code {}", answer[3] & 0x0f);
    // The question again, then per answer a pointer, fields, and an address at the end.
    let found = answer[7] > 0;
    found.then(|| Ipv4Addr::from(<[u8; 4]>::try_from(&answer[question.len() + 12..][..4]).expect("four bytes")))
}

/// Where a replica answers DNS.
async fn dns(fleet: &Fleet, place: usize) -> SocketAddr {
    let zone = IdentityDnsServiceClient::new(fleet.replica(place)).get_zone(GetZoneRequest {}).await;
    zone.expect("it answers").into_inner().address.parse().expect("an address")
}

/// What a replica says of every pod that is ready, where that is wrong.
async fn wrong(fleet: &Fleet, server: SocketAddr, mark: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (pod, (address, _)) in ready(fleet, mark).await {
        let said = asked(server, &pod).await;
        // A pod may have gone in between: then it is not ready now.
        if said != Some(address) && ready(fleet, mark).await.get(&pod).is_some_and(|(now, _)| *now == address) {
            wrong.push(format!("{pod} is at {address}, not {said:?}"));
        }
    }
    wrong
}

/// Returns when this many pods are updated. A replica says where every ready one is all the while.
async fn updated(fleet: &Fleet, server: SocketAddr, mark: &str, least: usize) {
    until("pods are updated", || async {
        assert_eq!(wrong(fleet, server, mark).await, Vec::<String>::new());
        let ready = ready(fleet, mark).await;
        let updated = ready.values().filter(|(_, new)| *new).count();
        if updated >= least { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
}

/// What the coordinator says of a replica to people, and whether its metrics say that it answers.
async fn told(fleet: &Fleet, place: usize) -> (String, bool) {
    let system = SystemServiceClient::new(fleet.channel()).get_system(GetSystemRequest {}).await;
    let services = system.expect("it answers").into_inner().services;
    let address = fleet.address(place);
    let state = services.into_iter().find(|service| service.address == address).expect("each replica is shown").state;
    (state, fleet.scrape().await.sum(ANSWERS, &[&format!("replica=\"{address}\"")]) > 0.5)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_dies_in_the_middle_of_an_update_and_names_stay_right() {
    let mut fleet = Fleet::start();
    let [stays, dies] = places();
    let (old, new) = (mark("resolvers-old"), mark("resolvers-new"));
    apply(&fleet, &old).await;
    until("every pod is ready", || async {
        let ready = ready(&fleet, &old).await;
        if ready.len() == REPLICAS as usize { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
    for place in [stays, dies] {
        // Readiness was readable, so every replica serves the names: no second look.
        assert_eq!(wrong(&fleet, dns(&fleet, place).await, &old).await, Vec::<String>::new(), "replica {place}");
        assert_eq!(told(&fleet, place).await, ("SERVING".to_owned(), true));
    }

    let server = dns(&fleet, stays).await;
    apply(&fleet, &new).await;
    updated(&fleet, server, &new, 1).await;
    fleet.kill(dies);
    updated(&fleet, server, &new, REPLICAS as usize).await;
    assert_eq!(told(&fleet, dies).await, ("UNREACHABLE".to_owned(), false));
    assert_eq!(told(&fleet, stays).await, ("SERVING".to_owned(), true));

    // It comes back with the names of before.
    fleet.start_again(dies).await;
    let server = dns(&fleet, dies).await;
    until("it is right again", || async {
        let wrong = wrong(&fleet, server, &new).await;
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?}")) }
    })
    .await;
    until("changes wait for it again", || async {
        let told = told(&fleet, dies).await;
        if told == ("SERVING".to_owned(), true) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}
