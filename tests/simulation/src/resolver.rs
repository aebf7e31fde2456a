//! Whoever asks for names: a client of the real DNS server, over simulated packets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::proto::identity_dns::v1::GetZoneRequest;
use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use api::proto::volume_claim::v1::DeprovisionRequest;
use api::proto::volume_claim::v1::volume_claim_service_client::VolumeClaimServiceClient;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use oracles::{Answer, Violation};
use service_kit::{Channel, Context, Role, Target};
use turmoil::net::UdpSocket;

use crate::hosts::DNS_PORT;
use crate::lab::Ghost;
use crate::place::Place;

/// How often every name is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long an answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_millis(200);

/// Asks for every pod that there is or was, for ever.
pub async fn run(place: Arc<Place>, context: Context) {
    let channel = context.connect(Role::IdentityDns, &Target::Tcp("identity-dns:7704".to_owned()), None);
    let mut zones = IdentityDnsServiceClient::new(channel);
    let channel = context.connect(Role::VolumeClaim, &Target::Tcp("volume-claim:7702".to_owned()), None);
    let mut volumes = VolumeClaimServiceClient::new(channel);
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let server = SocketAddr::new(turmoil::lookup("identity-dns"), DNS_PORT);
        let Ok(socket) = UdpSocket::bind("0.0.0.0:0").await else { continue };
        for (number, (identity, name)) in place.lab.names_to_ask().into_iter().enumerate() {
            let id = u16::try_from(number).unwrap_or_default();
            if let Some(answer) = ask(&socket, server, id, &identity, &name).await {
                place.lab.answered(answer);
            }
        }
        let asked = tokio::time::timeout(ANSWER_WAIT, zones.get_zone(GetZoneRequest {})).await;
        if let Ok(Ok(zone)) = asked {
            let zone = zone.into_inner();
            place.lab.zone(zone.epoch, zone.generation);
        }
        if let Some(ghost) = place.lab.ghost() {
            haunt(&place, &mut volumes, ghost).await;
        }
    }
}

/// F11: a coordinator of an earlier epoch, that was paused and not told, orders a volume to be removed.
async fn haunt(place: &Place, volumes: &mut VolumeClaimServiceClient<Channel>, ghost: Ghost) {
    let Ghost { store, epoch, volume, claim_uid } = ghost;
    let request = DeprovisionRequest {
        operation_id: format!("ghost/{}", service_kit::random::uid()),
        store_id: store,
        epoch,
        generation: u64::MAX / 2,
        volume: volume.clone(),
        claim_uid,
    };
    let asked = tokio::time::timeout(ANSWER_WAIT, volumes.deprovision(request)).await;
    if matches!(asked, Ok(Ok(_))) {
        let how = format!("volume {volume} is removed on the word of epoch {epoch}, which is over");
        place.lab.violated(Violation { rule: "S18", how });
    }
    if let Ok(Err(status)) = asked
        && status.code() == tonic::Code::Aborted
    {
        place.lab.fault("F11 an earlier coordinator speaks");
    }
}

async fn ask(socket: &UdpSocket, server: SocketAddr, id: u16, identity: &str, name: &str) -> Option<Answer> {
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::A));
    socket.send_to(&question.to_vec().ok()?, server).await.ok()?;
    let deadline = tokio::time::Instant::now() + ANSWER_WAIT;
    let mut packet = [0; 4096];
    loop {
        let received = tokio::time::timeout_at(deadline, socket.recv_from(&mut packet)).await;
        let (length, _) = received.ok()?.ok()?;
        let Ok(message) = Message::from_vec(&packet[..length]) else { continue };
        if message.metadata.id == id {
            return answer(identity, &message);
        }
    }
}

fn answer(identity: &str, message: &Message) -> Option<Answer> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.to_string()),
        _ => None,
    });
    let serial = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    Some(Answer {
        identity: identity.to_owned(),
        addresses: addresses.collect(),
        no_such_name: code == ResponseCode::NXDomain,
        serial,
    })
}
