//! The trace context in and out of headers: that of W3C; B3 too where the caller speaks it (`b3`).
//!
//! What a caller sent is handed on to whoever is called while it is answered, also where nothing is recorded here: a mesh
//! traces by these headers alone.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::b3;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

tokio::task_local! {
    /// Headers with which the call that this task answers came.
    static INCOMING: Arc<HeaderMap>;
}

/// The part of the headers that carries a trace context; none where there is none.
pub(crate) fn incoming(headers: &HeaderMap) -> Option<Arc<HeaderMap>> {
    if !headers.contains_key(TRACEPARENT) && b3::style(headers).is_none() {
        return None;
    }
    let names = [TRACEPARENT, TRACESTATE].into_iter().chain(b3::ALL);
    let carried = names.filter_map(|name| Some((HeaderName::from_static(name), headers.get(name)?.clone())));
    Some(Arc::new(carried.collect()))
}

/// Runs `work` as part of a call that came with these headers.
pub(crate) async fn within<F: Future>(incoming: Option<Arc<HeaderMap>>, work: F) -> F::Output {
    match incoming {
        Some(incoming) => INCOMING.scope(incoming, work).await,
        None => work.await,
    }
}

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
        if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            // Each call has its own: what a connection remembers is kept for headers that come again.
            value.set_sensitive(key == TRACEPARENT);
            self.0.insert(name, value);
        }
    }
}

/// Makes `span` a child of the span that the headers tell of, if they do.
pub(crate) fn adopt(span: &Span, headers: &HeaderMap) {
    if span.is_none() {
        return;
    }
    let context = if headers.contains_key(TRACEPARENT) {
        TraceContextPropagator::new().extract(&Incoming(headers))
    } else {
        let Some(parent) = b3::extract(headers) else { return };
        Context::new().with_remote_span_context(parent)
    };
    // Fails where no traces are recorded, and then there is nothing to do.
    let _unrecorded = span.set_parent(context);
}

/// Tells of `span` in the headers; where it is not recorded, of what the call that is answered came with.
pub(crate) fn inject(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    let recorded = !span.is_none() && context.span().span_context().is_valid();
    let incoming = INCOMING.try_with(Arc::clone).ok();
    if !recorded {
        if let Some(incoming) = incoming {
            headers.extend((*incoming).clone());
        }
        return;
    }
    TraceContextPropagator::new().inject_context(&context, &mut Outgoing(headers));
    if let Some(style) = incoming.and_then(|incoming| b3::style(&incoming)) {
        b3::inject(context.span().span_context(), style, headers);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_recorded_here_is_handed_on_as_it_came() {
        let mut came = HeaderMap::new();
        for (name, value) in [(TRACEPARENT, "00-a-b-01"), (TRACESTATE, "x=y"), ("b3", "0"), ("authorization", "secret")]
        {
            came.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut sent = HeaderMap::new();
        within(incoming(&came), async { inject(&Span::none(), &mut sent) }).await;
        came.remove("authorization");
        assert_eq!(sent, came);
        let mut alone = HeaderMap::new();
        inject(&Span::none(), &mut alone);
        assert!(alone.is_empty(), "it ends with the call");
    }
}
