//! The trace context of Zipkin, B3, which some meshes speak beside that of W3C or instead of it: in one header, or in one
//! per field.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(super) const SINGLE: &str = "b3";
const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// Which headers a caller sent, and is answered in kind by who is called next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Single,
    Multiple,
}

/// The style of the headers, if they have any.
pub(super) fn style(headers: &HeaderMap) -> Option<Style> {
    if headers.contains_key(SINGLE) {
        Some(Style::Single)
    } else if headers.contains_key(TRACE_ID) {
        Some(Style::Multiple)
    } else {
        None
    }
}

/// The span that the headers tell of. Text that is none of it counts as none.
pub(super) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    match style(headers)? {
        Style::Single => {
            let mut parts = text(SINGLE)?.split('-');
            let (trace, span) = (parts.next()?, parts.next()?);
            context(trace, span, parts.next())
        }
        Style::Multiple => {
            let debug = text(FLAGS) == Some("1");
            context(text(TRACE_ID)?, text(SPAN_ID)?, if debug { Some("d") } else { text(SAMPLED) })
        }
    }
}

/// Who sends no decision leaves it to us: what is recorded by one is recorded by all, so the answer is yes.
fn context(trace: &str, span: &str, sampled: Option<&str>) -> Option<SpanContext> {
    // Older senders have trace ids of half the length.
    let known_length = matches!(trace.len(), 16 | 32) && span.len() == 16;
    let known_digits = [trace, span].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !known_length || !known_digits {
        return None;
    }
    let flags = match sampled {
        None | Some("1" | "d" | "true") => TraceFlags::SAMPLED,
        Some(_) => TraceFlags::NOT_SAMPLED,
    };
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Tells of a span in the headers.
pub(super) fn inject(span: &SpanContext, style: Style, headers: &mut HeaderMap) {
    let sampled = if span.is_sampled() { "1" } else { "0" };
    let mut set = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).expect("hexadecimal digits");
        headers.insert(HeaderName::from_static(name), value);
    };
    match style {
        Style::Single => set(SINGLE, format!("{}-{}-{sampled}", span.trace_id(), span.span_id())),
        Style::Multiple => {
            set(TRACE_ID, span.trace_id().to_string());
            set(SPAN_ID, span.span_id().to_string());
            set(SAMPLED, sampled.to_owned());
        }
    }
}

/// Every header that carries a context of this kind, to be handed on as it came.
pub(super) const ALL: [&str; 6] = [SINGLE, TRACE_ID, SPAN_ID, "x-b3-parentspanid", SAMPLED, FLAGS];

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn both_forms_are_read_and_written() {
        let single = headers(&[(SINGLE, &format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"))]);
        let multiple = headers(&[(TRACE_ID, TRACE), (SPAN_ID, SPAN), (SAMPLED, "1")]);
        for (given, style) in [(single, Style::Single), (multiple, Style::Multiple)] {
            let context = extract(&given).expect("a context");
            assert_eq!((context.trace_id().to_string(), context.span_id().to_string()), (TRACE.into(), SPAN.into()));
            assert!(context.is_sampled() && context.is_remote());
            let mut written = HeaderMap::new();
            inject(&context, style, &mut written);
            assert_eq!(super::style(&written), Some(style));
            assert_eq!(extract(&written).expect("a context"), context);
        }
    }

    #[test]
    fn short_ids_and_every_decision_are_understood() {
        for (decision, sampled) in [("-1", true), ("-d", true), ("", true), ("-0", false)] {
            let given = headers(&[(SINGLE, &format!("64fe8b2a57d3eff7-{SPAN}{decision}"))]);
            let context = extract(&given).expect("a context");
            assert_eq!(context.trace_id().to_string(), "000000000000000064fe8b2a57d3eff7");
            assert_eq!(context.is_sampled(), sampled, "{decision}");
        }
    }

    #[test]
    fn what_is_no_context_counts_as_none() {
        let zeros = "0".repeat(32);
        for text in ["0", "", "x-y-1", TRACE, &format!("{zeros}-{SPAN}-1"), &format!("{TRACE}-{SPAN}0-1")] {
            assert_eq!(extract(&headers(&[(SINGLE, text)])), None, "{text:?}");
        }
    }
}
