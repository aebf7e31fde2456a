//! Ids of the trace behind every log line that has one, so that a person gets from a line to its trace and back.

use std::fmt;

use opentelemetry::trace::TraceContextExt as _;
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

/// A format of lines, with the ids of the current span added where it is part of a trace.
pub(super) struct WithIds<F> {
    pub(super) inner: F,
    pub(super) format: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let current = Span::current().context();
        let span = current.span().span_context().clone();
        if !span.is_valid() {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&with_ids(&line, self.format, &span.trace_id().to_string(), &span.span_id().to_string()))
    }
}

fn with_ids(line: &str, format: LogFormat, trace: &str, span: &str) -> String {
    let line = line.trim_end_matches('\n');
    match format {
        LogFormat::Text => format!("{line} trace_id={trace} span_id={span}\n"),
        LogFormat::Json => {
            let object = line.strip_suffix('}').unwrap_or(line);
            format!("{object},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_stay_what_they_are() {
        assert_eq!(with_ids("INFO done\n", LogFormat::Text, "7", "8"), "INFO done trace_id=7 span_id=8\n");
        let line = with_ids("{\"level\":\"INFO\",\"message\":\"done\"}\n", LogFormat::Json, "7", "8");
        let value: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!((value["trace_id"].as_str(), value["span_id"].as_str()), (Some("7"), Some("8")));
        assert_eq!(value["message"], "done");
    }
}
