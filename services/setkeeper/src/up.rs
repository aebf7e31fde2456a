//! `setkeeper up`: every service in one process, each on its own listener.

/// Prints a line. Nobody may read it any more; that is no reason to end what runs.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _closed = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod demo;
mod follow;
mod resolve;

use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::json;
use service_kit::access::Audit;
use service_kit::{Context, Error, Running, ServerConfig, Target, Token, signals, status};
use tokio_util::sync::CancellationToken;

use crate::args::{Global, PeerArgs, Service, UpArgs};
use crate::client::Client;
use crate::commands::send;
use crate::data_dir::{DataDir, PRIVATE, write_atomically};
use crate::failure::{Failure, Outcome};
use crate::launch::{self, Setup};
use crate::manifests::Manifests;

/// Above the first port of the services: DNS.
const DNS_PORT_OFFSET: u16 = 53;

/// How long one service may take to end. More than it takes to drain its calls.
const END_WAIT: Duration = Duration::from_secs(15);

/// Services in the order they start. Those that others call come first; they end in the opposite order.
const START_ORDER: [Service; 6] = [
    Service::OrdinalScheduler,
    Service::UpdatePlanner,
    Service::VolumeClaim,
    Service::IdentityDns,
    Service::Coordinator,
    Service::PodRuntime,
];

/// A service that runs in this process, and what ends it.
struct Started {
    running: Running,
    end: CancellationToken,
}

/// Starts everything, and runs until a signal ends it.
///
/// # Errors
/// Something cannot be started, or a service ends by itself.
pub(crate) async fn up(global: &Global, args: &UpArgs) -> Outcome {
    // Read first: a manifest that is not there is no reason to start.
    let manifest = match &args.filename {
        Some(file) => Some(Manifests::read(std::slice::from_ref(file), false)?),
        None => args.demo.then(|| Manifests::from_text("demo.yaml", demo::MANIFEST)),
    };
    let data = DataDir::resolve(global.data_dir.as_deref())?;
    data.create()?;
    let _lock = data.lock()?;
    let _left_by_a_kill = std::fs::remove_file(data.down_mark());
    let token = Token::load_or_create(&data.token_file()).map_err(Error::from).map_err(failed)?;
    // On a terminal people read; elsewhere something collects.
    let log_file = std::io::stderr().is_terminal() && args.telemetry.log.is_none();
    let names = Service::ALL.map(Service::name).to_vec();
    let telemetry =
        launch::telemetry("setkeeper", names, &args.telemetry, log_file.then(|| data.log_file())).map_err(failed)?;
    let shutdown = signals::shutdown_token()?;
    let mut setup = setup(args, data, token);
    let mut started = Vec::new();
    let all = Context::default();
    let metrics = launch::metrics((args.metrics_listen, true), &all).await?;
    setup.metrics_address = metrics.address();
    let outcome = match start_all(args, &all, &mut setup, &mut started).await {
        Ok(()) => run(global, args, &setup, manifest, log_file, &mut started, &shutdown).await,
        Err(error) => Err(explain(args, error)),
    };
    if shutdown.is_cancelled() {
        if setup.data.down_mark().exists() {
            say!("\nStopping, as `setkeeper down` asks.");
        } else {
            say!(
                "\nStopping. Pods go on; `setkeeper up` finds them again. To end pods as well, use `setkeeper down` instead."
            );
        }
    }
    end_all(started).await;
    metrics.end().await;
    let _gone = std::fs::remove_file(setup.data.endpoints_file());
    telemetry.shutdown().await;
    outcome
}

fn setup(args: &UpArgs, data: DataDir, token: Token) -> Setup {
    let port = if args.port_base == 0 { 0 } else { args.port_base.saturating_add(DNS_PORT_OFFSET) };
    let place = |service: Service| Target::from(service.address(args.port_base));
    Setup {
        peers: PeerArgs {
            coordinator: place(Service::Coordinator),
            ordinal_scheduler: place(Service::OrdinalScheduler),
            volume_claim: place(Service::VolumeClaim),
            update_planner: place(Service::UpdatePlanner),
            identity_dns: place(Service::IdentityDns),
            pod_runtime: None,
        },
        token: Some(token),
        cluster_domain: args.cluster_domain.clone(),
        profile: args.profile.into(),
        dns_listen: args.dns_listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        dns_address: String::new(),
        volumes: data.volumes(),
        tier: args.runtime,
        node_name: launch::node_name(),
        advertise: None,
        metrics_address: None,
        data,
    }
}

/// Starts the services one after the other. What each got is told to those that call it.
async fn start_all(args: &UpArgs, all: &Context, setup: &mut Setup, started: &mut Vec<Started>) -> Result<(), Error> {
    for service in START_ORDER {
        let mut server = ServerConfig {
            listen: Some(service.address(args.port_base)),
            token: setup.token.clone(),
            ..ServerConfig::default()
        };
        if service == Service::Coordinator {
            server.unix_socket = Some(setup.data.socket());
            server.access.audit = Audit::to_file(&setup.data.audit_log())?;
        }
        let context =
            Context { metrics: all.metrics.clone(), in_process: all.in_process.clone(), ..Context::default() };
        let end = context.shutdown.clone();
        let running = setup.start(service, server, context).await?;
        let target = running.address.map(Target::from);
        started.push(Started { running, end });
        let Some(target) = target else { continue };
        match service {
            Service::Coordinator => setup.peers.coordinator = target,
            Service::OrdinalScheduler => setup.peers.ordinal_scheduler = target,
            Service::VolumeClaim => setup.peers.volume_claim = target,
            Service::UpdatePlanner => setup.peers.update_planner = target,
            Service::IdentityDns => setup.peers.identity_dns = target,
            Service::PodRuntime => setup.peers.pod_runtime = Some(target),
        }
    }
    Ok(())
}

async fn run(
    global: &Global,
    args: &UpArgs,
    setup: &Setup,
    manifest: Option<Manifests>,
    log_file: bool,
    started: &mut [Started],
    shutdown: &CancellationToken,
) -> Outcome {
    announce(setup, started, log_file)?;
    let client = Client::to(Target::Unix(setup.data.socket()));
    let greeting = async {
        let shown = match manifest {
            Some(manifest) => show_manifest(&client, global, args, setup, manifest).await,
            None => {
                say!("\nReady. In another terminal: {} apply -f FILE   (stop with Ctrl-C)", own_command(global));
                Ok(())
            }
        };
        // A manifest that is refused is no reason to end: everything else runs.
        if let Err(Failure::Said(text)) = shown {
            eprintln!("{text}\nSetkeeper goes on; correct it and use: {} apply -f FILE", own_command(global));
        }
        std::future::pending::<()>().await;
    };
    let mut tasks: FuturesUnordered<_> = started
        .iter_mut()
        .map(|one| {
            let name = one.running.name;
            let task = &mut one.running.task;
            async move { (name, task.await) }
        })
        .collect();
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = greeting => Ok(()),
        Some((name, ended)) = tasks.next() => Err(match ended {
            Ok(Ok(())) => Failure::new(format_args!("{name} ended by itself")),
            Ok(Err(error)) => failed(error),
            Err(error) => Failure::new(format_args!("{name} ended: {error}")),
        }),
    }
}

async fn show_manifest(client: &Client, global: &Global, args: &UpArgs, setup: &Setup, manifest: Manifests) -> Outcome {
    let applied = send(client, &manifest, global.namespace(), false).await?;
    for warning in &applied.warnings {
        eprintln!("Warning: {warning}");
    }
    let objects: Vec<_> =
        applied.objects.into_iter().filter_map(|one| one.object.map(api::object::from_struct)).collect();
    say!("");
    follow::until_ready(client, &objects).await?;
    if args.demo {
        demo::show(client, setup, &own_command(global)).await?;
    }
    Ok(())
}

/// Says where everything listens, to people and, as a file, to programs.
fn announce(setup: &Setup, started: &[Started], log_file: bool) -> Outcome {
    let mut endpoints = serde_json::Map::new();
    say!("Setkeeper {}, data in {}\n", env!("CARGO_PKG_VERSION"), setup.data.path().display());
    for service in Service::ALL {
        let Some(one) = started.iter().find(|one| one.running.name == service.name()) else { continue };
        let address = one.running.address.map(|address| address.to_string()).unwrap_or_default();
        let socket = match service {
            Service::Coordinator => format!("   unix:{}", setup.data.socket().display()),
            _ => String::new(),
        };
        say!("  {:<19}{address}{socket}", service.name());
        endpoints.insert(service.name().to_owned(), json!(address));
    }
    say!("  {:<19}{}   ({})", "dns", setup.dns_address, setup.cluster_domain);
    if let Some(address) = setup.metrics_address {
        say!("  {:<19}http://{address}/metrics", "metrics");
        endpoints.insert("metrics".to_owned(), json!(address.to_string()));
    }
    if log_file {
        say!("  {:<19}{}", "log", setup.data.log_file().display());
    }
    endpoints.insert("dns".to_owned(), json!(setup.dns_address));
    endpoints.insert("clusterDomain".to_owned(), json!(setup.cluster_domain));
    endpoints.insert("socket".to_owned(), json!(setup.data.socket()));
    endpoints.insert("tokenFile".to_owned(), json!(setup.data.token_file()));
    endpoints.insert("pid".to_owned(), json!(std::process::id()));
    let text = serde_json::to_string_pretty(&endpoints).expect("strings and numbers");
    write_atomically(&setup.data.endpoints_file(), text.as_bytes(), PRIVATE).map_err(|error| {
        Failure::new(format_args!("{} cannot be written: {error}", setup.data.endpoints_file().display()))
    })?;
    Ok(())
}

/// The last that started ends first: who calls others ends before them.
async fn end_all(mut started: Vec<Started>) {
    while let Some(Started { running, end }) = started.pop() {
        end.cancel();
        if running.task.is_finished() {
            continue;
        }
        let abort = running.task.abort_handle();
        if tokio::time::timeout(END_WAIT, running.task).await.is_err() {
            tracing::warn!(service = running.name, "did not end in time and is dropped");
            abort.abort();
        }
    }
}

/// How to call this program from another terminal: as it was called here, on the same data.
fn own_command(global: &Global) -> String {
    let typed = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let program = match typed.components().count() {
        0 | 1 => "setkeeper".to_owned(),
        _ => typed.display().to_string(),
    };
    match &global.data_dir {
        Some(directory) => format!("{program} --data-dir {}", directory.display()),
        None => program,
    }
}

fn failed(error: Error) -> Failure {
    Failure::new(status::chain(&error))
}

fn explain(args: &UpArgs, error: Error) -> Failure {
    match &error {
        Error::AddressInUse { .. } => {
            let base = args.port_base;
            Failure::new(format_args!(
                "{}\nChoose other ports with --port-base (now {base}), or --port-base 0 for any that are free.",
                status::chain(&error)
            ))
        }
        _ => failed(error),
    }
}
