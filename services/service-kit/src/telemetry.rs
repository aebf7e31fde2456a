//! Logs, and traces over OTLP.
//!
//! Logs go to stderr, and to a file where one is named. Spans go to the collector at [`Options::otlp_endpoint`]; without one nothing is recorded at all.
//!
//! Several services may live in one process, yet each has its spans under its own `service.name`. A span belongs to the
//! service whose server span it is below (the field `service` that the server sets), or whose crate opened it; else to
//! its parent's. The name travels in the trace state of the span (`sampler`), where children inherit it, and the exporter
//! splits each batch by it (`export`), one OTLP resource per service.

mod b3;
mod export;
mod fields;
pub(crate) mod file;
mod ids;
mod past;
pub(crate) mod propagation;
mod sampler;

use std::fmt;
use std::panic;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::status::panic_text;

use self::export::PerService;
use self::fields::ReadableFields;
use self::file::LogFile;
use self::ids::WithIds;
use self::past::Shared;
use self::sampler::ByService;

pub use self::past::{NoSpanAddress, PastSpan, SpanAddress, TRACEPARENT_ANNOTATION, is_recording};
pub use self::propagation::{current_traceparent, set_parent};

/// Spans that wait to be sent, at most: four seconds of a busy coordinator. More are dropped, and counted by the SDK.
const QUEUED_SPANS_MAX: usize = 16_384;

/// Spans sent at once.
const BATCH_SPANS_MAX: usize = 512;

/// How long a span waits for company: what a killed process takes with it. A rollout that someone watches appears within
/// this.
const BATCH_DELAY: Duration = Duration::from_millis(200);

/// How long the last spans may take to be sent.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);

/// Libraries below a call. Exporting their spans would export the exporting.
const NEVER_EXPORTED: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

/// The finest spans and events that are exported.
const EXPORTED_LEVEL: LevelFilter = LevelFilter::DEBUG;

/// What is logged where nobody says otherwise.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,hyper_util=warn,opentelemetry=warn,opentelemetry_sdk=warn,\
                              tonic=warn,tower=warn,netlink_proto=warn";

/// The exporter complains of every attempt, several times a second. [`PerService`] says it once.
const REPEATS_ITSELF: &str = "opentelemetry-otlp";

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What to record, and where it goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of this process: `service.name` of spans that belong to none of the services.
    pub process: &'static str,
    /// Services that live in this process, such as `ordinal-scheduler`.
    pub services: Vec<&'static str>,
    /// `http://host:port` of an OTLP collector over gRPC. None: no traces.
    pub otlp_endpoint: Option<String>,
    /// Part of the traces that begin here which are recorded, 0 to 1. Traces that came from elsewhere are recorded if
    /// they are recorded there.
    pub sample_ratio: f64,
    /// How logs look.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`. None: INFO, and warnings of libraries.
    pub filter: Option<String>,
    /// A file that gets INFO and above, and warnings of libraries, whatever the filter says. It and the one before it,
    /// with `.1` at the end, are kept, at most 8 MiB each.
    pub log_file: Option<PathBuf>,
}

impl Options {
    /// Logs as text, no traces.
    #[must_use]
    pub fn new(process: &'static str) -> Self {
        Self {
            process,
            services: Vec::new(),
            otlp_endpoint: None,
            sample_ratio: 1.0,
            log_format: LogFormat::Text,
            filter: None,
            log_file: None,
        }
    }
}

/// Telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The endpoint cannot be used.
    #[error("{endpoint:?} is no OTLP endpoint: write http://host:port, such as http://127.0.0.1:4317")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The filter cannot be read.
    #[error("{filter:?} is no log filter: write a level, or levels per part, such as info,coordinator=debug")]
    Filter {
        /// What was given.
        filter: String,
    },
    /// The exporter cannot be made.
    #[error("the OTLP exporter cannot be made")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The log file cannot be opened.
    #[error("the log file {path:?} cannot be opened: {why}")]
    LogFile {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Telemetry was set up before.
    #[error("logging is set up already")]
    Twice,
}

/// Keeps what is needed to send the last spans.
#[must_use = "without shutdown the last spans are lost"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is recorded but not sent, in bounded time.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        // The SDK blocks; it has its own thread, but waits for it on ours.
        let shut_down = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_DEADLINE));
        if let Ok(Err(error)) = shut_down.await {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }

    /// Sends what is recorded so far.
    pub async fn flush(&self) {
        let Some(provider) = self.provider.clone() else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || provider.force_flush()).await {
            tracing::warn!(%error, "spans could not be sent");
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guard").field("exporting", &self.provider.is_some()).finish()
    }
}

/// Sets up logs and traces for the whole process, and logs panics.
///
/// # Errors
/// An option cannot be used, or telemetry was set up before.
///
/// # Panics
/// With an endpoint, outside a tokio runtime.
pub fn init(options: &Options) -> Result<Guard, TelemetryError> {
    let filter = options.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = log_filter(filter).map_err(|_| TelemetryError::Filter { filter: filter.to_owned() })?;
    let provider = match &options.otlp_endpoint {
        Some(endpoint) => Some(tracer_provider(options, endpoint)?),
        None => None,
    };
    let traces = provider.as_ref().map(|provider| {
        let tracer = provider.tracer("setkeeper");
        // Where in our source a span was opened helps nobody who looks at a trace, and costs as much as what does.
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_threads(false).with_location(false);
        let layer = layer.with_tracked_inactivity(false);
        layer.with_filter(filter_fn(is_exported).with_max_level_hint(EXPORTED_LEVEL))
    });
    let logs = log_layer(options.log_format).with_filter(filter);
    let file = match &options.log_file {
        Some(path) => {
            let file = LogFile::open(path)
                .map_err(|error| TelemetryError::LogFile { path: path.clone(), why: error.to_string() })?;
            // A full disk is no reason to write about it.
            let layer = tracing_subscriber::fmt::layer().with_ansi(false).log_internal_errors(false);
            let layer = layer.fmt_fields(ReadableFields).with_writer(Mutex::new(file));
            let layer = layer.map_event_format(|inner| WithIds { inner, format: LogFormat::Text });
            Some(layer.with_filter(EnvFilter::new(DEFAULT_FILTER)))
        }
        None => None,
    };
    Registry::default().with(traces).with(logs).with(file).try_init().map_err(|_| TelemetryError::Twice)?;
    log_panics();
    Ok(Guard { provider })
}

fn log_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    if filter.contains(REPEATS_ITSELF) {
        return EnvFilter::try_new(filter);
    }
    Ok(EnvFilter::try_new(filter)?.add_directive(format!("{REPEATS_ITSELF}=off").parse()?))
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    let foreign = NEVER_EXPORTED.iter().any(|name| library.starts_with(name));
    !foreign && *metadata.level() <= EXPORTED_LEVEL
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let layer = layer.with_ansi(colours).fmt_fields(ReadableFields);
            layer.map_event_format(|inner| WithIds { inner, format }).boxed()
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_span_list(false);
            layer.map_event_format(|inner| WithIds { inner, format }).boxed()
        }
    }
}

fn tracer_provider(options: &Options, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = PerService::new(options.process, &options.services, endpoint)?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUED_SPANS_MAX)
        .with_max_export_batch_size(BATCH_SPANS_MAX)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = Shared::install(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build());
    let sampler = ByService::new(&options.services, options.sample_ratio);
    Ok(SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(processor).build())
}

/// A panic is a defect that a person must look at, wherever its task hides it.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, panic = panic_text(info.payload()), "panicked");
    }));
}
