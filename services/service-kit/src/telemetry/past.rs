//! Spans that are told after the fact.
//!
//! What takes longer than any task, such as a rollout that outlives its coordinator, is no span that somebody holds open:
//! its times and its place in a trace are stored with what it is about, and whoever sees it end records it whole.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use domain::Timestamp;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::sampler::SERVICE_KEY;

/// Annotation of an object: the place in a trace of what is done about it, such as the start of a pod in the trace of its
/// set's rollout.
pub const TRACEPARENT_ANNOTATION: &str = "setkeeper.dev/traceparent";

/// Where spans of this process go, once telemetry is set up with an endpoint.
static RECORDER: OnceLock<Shared> = OnceLock::new();

/// Place of a span: its trace, and itself. Written as a `traceparent` of W3C.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanAddress {
    trace: TraceId,
    span: SpanId,
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct PastSpan {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its place.
    pub address: SpanAddress,
    /// The span that it is part of, of the same trace.
    pub parent: Option<SpanAddress>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended. An end before the beginning counts as the beginning.
    pub end: Timestamp,
    /// What else there is to say.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it did not end well, if it did not.
    pub error: Option<String>,
}

/// Whether spans of this process go anywhere.
#[must_use]
pub fn is_recording() -> bool {
    RECORDER.get().is_some()
}

impl SpanAddress {
    /// The place of the current span; none where it is not recorded.
    #[must_use]
    pub fn current() -> Option<Self> {
        let context = tracing::Span::current().context();
        let span = context.span();
        let span = span.span_context();
        (span.is_valid() && span.is_sampled()).then(|| Self { trace: span.trace_id(), span: span.span_id() })
    }

    /// Another place in the same trace, the same for the same name: whoever names it again, in another process or after a
    /// restart, means the same span.
    #[must_use]
    pub fn below(self, name: &str) -> Self {
        // FNV-1a: stable across builds, which the hashers of the standard library do not promise.
        let seed = self.span.to_bytes().into_iter().chain(name.bytes());
        let hash = seed
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        // Zero is no span.
        Self { trace: self.trace, span: SpanId::from(hash.max(1)) }
    }

    /// Its trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(self) -> String {
        self.trace.to_string()
    }
}

impl fmt::Display for SpanAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{}-01", self.trace, self.span)
    }
}

impl fmt::Debug for SpanAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no `traceparent` of a recorded span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent of a recorded span")]
pub struct NoSpanAddress;

impl FromStr for SpanAddress {
    type Err = NoSpanAddress;

    fn from_str(text: &str) -> Result<Self, NoSpanAddress> {
        let parts: Vec<&str> = text.split('-').collect();
        let ["00", trace, span, "01"] = parts[..] else { return Err(NoSpanAddress) };
        let trace = TraceId::from_hex(trace).map_err(|_| NoSpanAddress)?;
        let span = SpanId::from_hex(span).map_err(|_| NoSpanAddress)?;
        let valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        valid.then_some(Self { trace, span }).ok_or(NoSpanAddress)
    }
}

impl PastSpan {
    /// Records it as a span of `service`. Does nothing where nothing is recorded.
    pub fn record(self, service: &'static str) {
        let Some(recorder) = RECORDER.get() else { return };
        let state = TraceState::from_key_value([(SERVICE_KEY, service)]).unwrap_or_default();
        let Self { name, address, parent, start, end, attributes, error } = self;
        recorder.on_end(SpanData {
            span_context: SpanContext::new(address.trace, address.span, TraceFlags::SAMPLED, false, state),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: system_time(start),
            end_time: system_time(end.max(start)),
            attributes: attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("setkeeper").build(),
        });
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
}

/// A processor that several hold: the tracer, and whoever tells of the past.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<BatchSpanProcessor>);

impl Shared {
    /// Makes it the recorder of this process; the first one stays.
    pub(super) fn install(processor: BatchSpanProcessor) -> Self {
        let shared = Self(Arc::new(processor));
        let _first_stays = RECORDER.set(shared.clone());
        shared
    }
}

impl SpanProcessor for Shared {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let address: SpanAddress = text.parse().expect(text);
        assert_eq!((address.to_string().as_str(), address.trace_id().as_str()), (text, &text[3..35]));
        for bad in [
            "",
            "00-0-0-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(bad.parse::<SpanAddress>(), Err(NoSpanAddress), "{bad}");
        }
    }

    #[test]
    fn a_name_means_the_same_span_again_and_no_other() {
        let root: SpanAddress = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("valid");
        // Pinned: a later version has to mean the same span.
        assert_eq!(root.below("web-0").to_string(), root.below("web-0").to_string());
        let places = [root, root.below("web-0"), root.below("web-1"), root.below("web-0").below("start")];
        let distinct: std::collections::HashSet<_> = places.iter().collect();
        assert_eq!(distinct.len(), places.len());
        assert!(places.iter().all(|place| place.trace_id() == root.trace_id()));
    }
}
