//! Fields of a log line as people want to read them.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Fields that a trace needs and that only lengthen a line: the method says enough of a call.
const UNREAD: [&str; 6] =
    ["otel.kind", "otel.name", "otel.status_code", "rpc.grpc.status_code", "rpc.service", "rpc.system"];

/// Writes the message, then `name=value` of every field that people read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadableFields;

impl<'writer> FormatFields<'writer> for ReadableFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Readable { writer, begun: false, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Readable<'writer> {
    writer: Writer<'writer>,
    begun: bool,
    result: fmt::Result,
}

impl Visit for Readable<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() || UNREAD.contains(&field.name()) {
            return;
        }
        let gap = if std::mem::replace(&mut self.begun, true) { " " } else { "" };
        self.result = match field.name() {
            "message" => write!(self.writer, "{gap}{value:?}"),
            name => write!(self.writer, "{gap}{}={value:?}", name.trim_start_matches("r#")),
        };
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{}", crate::status::chain(value)));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_says_what_people_read() {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(ReadableFields)
            .with_writer(written.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("call", otel.kind = "server", rpc.method = "Drain", set = "web");
            span.in_scope(|| tracing::info!(pod = "web-0", count = 3, "pod created"));
        });
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(text, " INFO call{rpc.method=\"Drain\" set=\"web\"}: pod created pod=\"web-0\" count=3\n");
    }
}
