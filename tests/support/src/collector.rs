//! A collector of traces, as an OTLP exporter sees one.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Largest export, in bytes: a full batch of long spans.
const EXPORT_BYTES_MAX: usize = 64 << 20;

/// A span, and whose it is.
#[derive(Debug, Clone)]
pub struct Exported {
    /// `service.name` of its resource.
    pub service: String,
    /// `service.instance.id` of its resource.
    pub instance: String,
    /// The span.
    pub span: Span,
}

/// A running collector. It ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    received: Received,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<Vec<Exported>>>);

impl Collector {
    /// Starts one on a port that is free.
    ///
    /// # Panics
    /// Where there is no port, and outside a tokio runtime.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let received = Received::default();
        let service = TraceServiceServer::new(received.clone()).max_decoding_message_size(EXPORT_BYTES_MAX);
        let server = tonic::transport::Server::builder().add_service(service);
        Self { endpoint, received, serving: tokio::spawn(server.serve_with_incoming(listener)) }
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it has received so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Exported> {
        self.received.0.lock().expect("no holder of this lock panics").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Exported {
    /// An attribute, whatever it is, as text; empty where the span has none.
    #[must_use]
    pub fn attribute(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }

    /// Its trace, in hexadecimal digits.
    #[must_use]
    pub fn trace(&self) -> String {
        self.span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(yes)) => yes.to_string(),
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().expect("no holder of this lock panics");
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let (service, instance) = (text(&attributes, "service.name"), text(&attributes, "service.instance.id"));
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let exported = |span| Exported { service: service.clone(), instance: instance.clone(), span };
            received.extend(spans.map(exported));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
