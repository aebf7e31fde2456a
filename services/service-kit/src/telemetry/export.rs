//! Sends spans, each under the name of its service.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use uuid::Uuid;

use super::TelemetryError;
use super::sampler::SERVICE_KEY;
use crate::client;

/// How long one request to the collector may take.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);

/// One exporter per service, over one connection.
#[derive(Debug)]
pub(super) struct PerService {
    process: &'static str,
    exporters: BTreeMap<&'static str, opentelemetry_otlp::SpanExporter>,
    endpoint: String,
    /// Whether the last spans could not be sent.
    failing: AtomicBool,
}

impl PerService {
    pub(super) fn new(
        process: &'static str,
        services: &[&'static str],
        endpoint: &str,
    ) -> Result<Self, TelemetryError> {
        let invalid = || TelemetryError::Endpoint { endpoint: endpoint.to_owned() };
        if !endpoint.starts_with("http://") {
            return Err(invalid());
        }
        let uri: Uri = endpoint.parse().map_err(|_| invalid())?;
        // The exporter's own time does not hold for a channel that it is given.
        let channel = client::endpoint(uri).timeout(EXPORT_DEADLINE).connect_lazy();
        let instance = Uuid::new_v4();
        let mut exporters = BTreeMap::new();
        for name in services.iter().copied().chain([process]) {
            let mut exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_channel(channel.clone())
                .with_timeout(EXPORT_DEADLINE)
                .build()?;
            exporter.set_resource(&resource(name, instance));
            exporters.insert(name, exporter);
        }
        Ok(Self { process, exporters, endpoint: endpoint.to_owned(), failing: AtomicBool::new(false) })
    }

    fn service(&self, span: &SpanData) -> &'static str {
        let name = span.span_context.trace_state().get(SERVICE_KEY).unwrap_or_default();
        self.exporters.get_key_value(name).map_or(self.process, |(name, _)| *name)
    }
}

/// Receivers tell processes apart by their instance; several services of one process are several to them.
fn resource(service: &'static str, instance: Uuid) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.namespace", "setkeeper"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", format!("{service}-{}", instance.simple())),
        ])
        .build()
}

impl PerService {
    /// Says that the collector is lost, and that it is back.
    fn tell(&self, error: Option<&OTelSdkError>) {
        let endpoint = &self.endpoint;
        match (error, self.failing.swap(error.is_some(), Ordering::Relaxed)) {
            (Some(error), false) => tracing::warn!(endpoint, %error, "spans cannot be sent and are lost"),
            (None, true) => tracing::info!(endpoint, "spans are sent again"),
            _ => {}
        }
    }
}

impl SpanExporter for PerService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut by_service: BTreeMap<&'static str, Vec<SpanData>> = BTreeMap::new();
        for span in batch {
            by_service.entry(self.service(&span)).or_default().push(span);
        }
        // At once: what one waits for, all wait for.
        let exports = by_service.into_iter().map(|(service, spans)| self.exporters[service].export(spans));
        let result = join_all(exports).await.into_iter().fold(Ok(()), Result::and);
        self.tell(result.as_ref().err());
        // Told above, once; the SDK would repeat it for each batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporters.values().map(|exporter| exporter.shutdown_with_timeout(timeout)).fold(Ok(()), Result::and)
    }

    /// Each exporter has its own.
    fn set_resource(&mut self, _: &Resource) {}
}
