//! Decides whether a trace is recorded, and to which service a span belongs.

use std::sync::Arc;

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// The key under which the name of a span's service is in its trace state.
pub(super) const SERVICE_KEY: &str = "setkeeper";

/// Samples by ratio and parent, and writes the service of the span into its trace state.
#[derive(Debug, Clone)]
pub(super) struct ByService {
    decide: Sampler,
    services: Arc<[&'static str]>,
}

impl ByService {
    pub(super) fn new(services: &[&'static str], ratio: f64) -> Self {
        Self { decide: Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))), services: services.into() }
    }

    /// The service that a span says it belongs to, or whose crate opened it.
    fn service(&self, attributes: &[KeyValue]) -> Option<&'static str> {
        let text = |key: &str| {
            let attribute = attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
            if let Value::String(text) = &attribute.value { Some(text.as_str()) } else { None }
        };
        let known = |name: &str| self.services.iter().copied().find(|service| is_named(service, name));
        text("service").and_then(known).or_else(|| text("target")?.split("::").next().and_then(known))
    }
}

/// Crates write `ordinal_scheduler` where services write `ordinal-scheduler`.
fn is_named(service: &str, name: &str) -> bool {
    let same = |(left, right): (u8, u8)| left == right || (left == b'-' && right == b'_');
    service.len() == name.len() && service.bytes().zip(name.bytes()).all(same)
}

impl ShouldSample for ByService {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.decide.should_sample(parent, trace_id, name, kind, attributes, links);
        if result.decision != SamplingDecision::RecordAndSample {
            return result;
        }
        let inherited = parent.map(|parent| parent.span().span_context().trace_state().clone()).unwrap_or_default();
        result.trace_state = match self.service(attributes) {
            Some(service) if inherited.get(SERVICE_KEY) != Some(service) => with_service(&inherited, service),
            _ => inherited,
        };
        result
    }
}

fn with_service(state: &TraceState, service: &'static str) -> TraceState {
    state.insert(SERVICE_KEY, service).unwrap_or_else(|_| state.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&'static str, &'static str)]) -> Vec<KeyValue> {
        pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect()
    }

    #[test]
    fn a_span_belongs_to_the_service_it_names_or_whose_crate_opened_it() {
        let sampler = ByService::new(&["coordinator", "ordinal-scheduler"], 1.0);
        let service = |pairs| sampler.service(&attributes(pairs));
        assert_eq!(service(&[("target", "ordinal_scheduler::server")]), Some("ordinal-scheduler"));
        assert_eq!(
            service(&[("target", "coordinator::driver"), ("service", "ordinal-scheduler")]),
            Some("ordinal-scheduler")
        );
        assert_eq!(service(&[("target", "service_kit::client")]), None);
        assert_eq!(service(&[]), None);
    }

    #[test]
    fn what_belongs_to_no_service_belongs_to_its_parent() {
        use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};
        let sampler = ByService::new(&["coordinator"], 1.0);
        let state = TraceState::from_key_value([(SERVICE_KEY, "coordinator")]).expect("valid");
        let parent = SpanContext::new(TraceId::from(1), SpanId::from(1), TraceFlags::SAMPLED, false, state);
        let parent = Context::new().with_remote_span_context(parent);
        let result = sampler.should_sample(
            Some(&parent),
            TraceId::from(1),
            "call",
            &SpanKind::Client,
            &attributes(&[("target", "x")]),
            &[],
        );
        assert_eq!(result.trace_state.get(SERVICE_KEY), Some("coordinator"));
    }
}
