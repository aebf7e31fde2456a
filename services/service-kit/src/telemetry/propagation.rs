//! The trace context of W3C, in and out of headers.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Makes `span` a child of the span that the headers tell of, if they do.
pub(crate) fn adopt(span: &Span, headers: &HeaderMap) {
    if span.is_none() || !headers.contains_key(TRACEPARENT) {
        return;
    }
    // Fails where no traces are recorded, and then there is nothing to do.
    let _unrecorded = span.set_parent(TraceContextPropagator::new().extract(&Incoming(headers)));
}

/// Tells of `span` in the headers.
pub(crate) fn inject(span: &Span, headers: &mut HeaderMap) {
    if span.is_none() {
        return;
    }
    let context = span.context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Outgoing(headers));
    }
}

/// The current span as a `traceparent`, to be kept where a trace has to go on later, such as with a rollout; none where
/// nothing is recorded.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&Span::current(), &mut headers);
    headers.get(TRACEPARENT)?.to_str().ok().map(ToOwned::to_owned)
}

/// Makes `span` a child of the span that a kept `traceparent` tells of. Text that is none changes nothing.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Ok(value) = HeaderValue::from_str(traceparent) {
        adopt(span, &HeaderMap::from_iter([(HeaderName::from_static(TRACEPARENT), value)]));
    }
}
