//! The gRPC service: decode, call, encode.

use std::sync::Arc;

use api::convert::Violations;
use api::proto::identity_dns::v1::identity_dns_service_server::IdentityDnsService;
use api::proto::identity_dns::v1::{
    AssignRequest, AssignResponse, GetZoneRequest, GetZoneResponse, PublishRequest, PublishResponse,
};
use domain::zone::Publication;
use domain::{Ordinal, RevisionName, SetRef};
use service_kit::status::StatusBuilder;
use tonic::{Code, Request, Response, Status};

use crate::NAME;
use crate::assign::assign;
use crate::publisher::{PublishError, Publisher};
use crate::server::Listeners;

/// Ordinals in one request. A pass creates far fewer.
const ORDINALS_MAX: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) listeners: Listeners,
    pub(crate) domain: String,
}

#[tonic::async_trait]
impl IdentityDnsService for Service {
    async fn assign(&self, request: Request<AssignRequest>) -> Result<Response<AssignResponse>, Status> {
        let request = request.into_inner();
        let invalid = |violations: Violations| StatusBuilder::invalid(NAME, "INVALID_IDENTITY", &violations);
        let mut violations = Violations::default();
        let set: Option<SetRef> = violations.required("set", request.set);
        if !request.service_name.is_empty()
            && let Err(error) = domain::is_dns_label(&request.service_name)
        {
            violations.add("service_name", error.to_string());
        }
        violations.require(request.ordinals.len() <= ORDINALS_MAX, "ordinals", "must be at most 100000");
        let set = violations.finish(set).map_err(invalid)?;
        let mut violations = Violations::default();
        let mut identities = Vec::with_capacity(request.ordinals.len());
        for (place, asked) in request.ordinals.into_iter().enumerate() {
            let (ordinal, revision) = (Ordinal(asked.ordinal), RevisionName(asked.revision.into()));
            let field = format!("ordinals[{place}]");
            violations.require(ordinal <= Ordinal::MAX, &field, "must be at most 2147483647");
            match assign(&set, &request.service_name, ordinal, &revision, &self.domain) {
                Ok(identity) => identities.push(identity.into()),
                Err(error) => violations.add(field, error.to_string()),
            }
        }
        let identities = violations.finish(Some(identities)).map_err(invalid)?;
        Ok(Response::new(AssignResponse { identities }))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let invalid = |violations: Violations| StatusBuilder::invalid(NAME, "INVALID_FACTS", &violations);
        let publication = Publication::try_from(request.into_inner()).map_err(invalid)?;
        let publisher = self.publisher.clone();
        // Not cut short when the caller leaves: blocking work runs to its end.
        let published = service_kit::process::blocking(move || publisher.publish(publication)).await;
        let served = published.map_err(|_| Status::internal("publishing was interrupted"))?.map_err(refusal)?;
        Ok(Response::new(PublishResponse { generation: served.generation, serial: served.serial }))
    }

    async fn get_zone(&self, _request: Request<GetZoneRequest>) -> Result<Response<GetZoneResponse>, Status> {
        let (served, loaded) = self.publisher.served();
        let store_id = self.publisher.store();
        let addresses: Vec<String> = self.listeners.addresses().iter().map(ToString::to_string).collect();
        Ok(Response::new(GetZoneResponse {
            zone: self.domain.clone(),
            serial: served.serial,
            epoch: served.epoch,
            generation: served.generation,
            address: addresses.first().cloned().unwrap_or_default(),
            names: self.publisher.snapshot().tree.owners() as u64,
            addresses,
            loaded,
            store_id,
        }))
    }
}

fn refusal(error: PublishError) -> Status {
    let build = |code, reason| StatusBuilder::new(NAME, code, reason, error.to_string());
    match &error {
        PublishError::Fenced { served: (epoch, generation), .. } => build(Code::Aborted, "FENCED")
            .fact("epoch", epoch.to_string())
            .fact("generation", generation.to_string())
            .build(),
        PublishError::Replaced { current, .. } => build(Code::Aborted, "FENCED").fact("store", current).build(),
        PublishError::BaseMismatch { epoch, generation, .. } => build(Code::FailedPrecondition, "BASE_MISMATCH")
            .precondition("GENERATION", "base_generation", "send all facts, with full set")
            .fact("epoch", epoch.to_string())
            .fact("generation", generation.to_string())
            .build(),
        PublishError::TooMany { .. } => {
            build(Code::InvalidArgument, "INVALID_FACTS").violation("pods", error.to_string()).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use service_kit::status::reason;

    use super::*;

    #[test]
    fn every_reason_is_documented() {
        let proto = include_str!("../../../proto/setkeeper/identity_dns/v1/identity_dns.proto");
        for error in [
            PublishError::Fenced { refused: (1, 1), served: (1, 2), remedy: String::new() },
            PublishError::Replaced { refused: "a".into(), current: "b".into(), remedy: String::new() },
            PublishError::BaseMismatch { base: 1, epoch: 1, generation: 2 },
            PublishError::TooMany { count: 1 },
        ] {
            let reason = reason(&refusal(error));
            assert!(!reason.is_empty() && proto.contains(&reason), "{reason:?}");
        }
    }
}
