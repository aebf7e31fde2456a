//! `port-forward`.

mod place;
mod relay;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use api::manifest::Kind;
use serde_json::Value;
use service_kit::signals;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::place::Ports;
use self::relay::{Cut, Place};
use crate::args::{Global, LocalPort, PortForwardArgs, PortPair};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::{print, references};

/// Connections carried at the same time, half of what one machine carries for everybody. More wait in the queue of the
/// listener.
const CONNECTIONS_MAX: usize = 128;

/// Connections accepted and not yet begun.
const ACCEPTED_MAX: usize = 16;

/// A port here and where it leads.
struct Forward {
    listener: TcpListener,
    local: SocketAddr,
    place: Place,
}

/// Carries connections to ports here to ports of a pod, until Ctrl-C. Each connection finds the pod anew, so that a pod
/// that comes back under its name is reached again.
///
/// # Errors
/// The pod does not exist or does not run, or a port here cannot be listened on.
pub(crate) async fn port_forward(
    client: &Client,
    global: &Global,
    args: &PortForwardArgs,
    out: &mut impl Write,
) -> Outcome {
    let shutdown = signals::shutdown_token()?;
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = forward(client, global, args, out) => ended,
    }
}

async fn forward(client: &Client, global: &Global, args: &PortForwardArgs, out: &mut impl Write) -> Outcome {
    let forwards = listen(client, global, args).await?;
    for forward in &forwards {
        writeln!(out, "Forwarding from {} -> {}", forward.local, forward.place.port)?;
    }
    out.flush()?;
    let (sender, mut accepted) = mpsc::channel(ACCEPTED_MAX);
    let mut accepting = JoinSet::new();
    for Forward { listener, local, place } in forwards {
        accepting.spawn(accept(listener, local, place, sender.clone()));
    }
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some(broken) = accepting.join_next() => {
                return Err(Failure::new(broken.unwrap_or_else(|panic| panic.to_string())));
            }
            Some((stream, local, place)) = accepted.recv(), if connections.len() < CONNECTIONS_MAX => {
                writeln!(out, "Handling connection for {}", local.port())?;
                out.flush()?;
                // A connection to the coordinator for each: bytes that nobody reads hold up no other.
                let client = Client::new(global)?;
                connections.spawn(carry(client, stream, local, place));
            }
        }
    }
}

/// Says why a connection is cut before it is: whoever sees it break finds the reason.
async fn carry(client: Client, mut stream: TcpStream, local: SocketAddr, place: Place) {
    match relay::carry(&client, &place, &mut stream).await {
        Ok(()) | Err(Cut::LocalLeft) => {}
        Err(Cut::Refused(why)) => eprintln!("error: forwarding {} -> {}: {why}", local.port(), place.port),
    }
    drop(stream);
}

/// Accepts until the listener breaks; says why it did.
async fn accept(
    listener: TcpListener,
    local: SocketAddr,
    place: Place,
    accepted: mpsc::Sender<(TcpStream, SocketAddr, Place)>,
) -> String {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if accepted.send((stream, local, place.clone())).await.is_err() {
                    return "the command ends".to_owned();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return format!("no more connections can be accepted at {local}: {error}"),
        }
    }
}

/// Finds the pod and takes every port here.
async fn listen(client: &Client, global: &Global, args: &PortForwardArgs) -> Outcome<Vec<Forward>> {
    let namespace = global.namespace();
    let (pod, service) = find(client, namespace, &args.target).await?;
    let (name, phase) = (print::name_of(&pod), print::text(&pod, "/status/phase"));
    if phase != "Running" {
        return Err(Failure::new(format_args!(
            "unable to forward port because pod {name:?} is not running. Current status={phase}\n\
             See what it waits for: setkeeper describe pod {name} -n {namespace}"
        )));
    }
    let mut forwards = Vec::new();
    for pair in &args.ports {
        let ports = match &service {
            Some(service) => place::service_port(service, &pod, &pair.remote),
            None => place::pod_port(&pod, &pair.remote),
        };
        let ports = ports.map_err(Failure::new)?;
        for address in &args.address {
            let listener = bind(*address, pair, ports, &args.target).await?;
            let local = listener.local_addr()?;
            let place = Place { namespace: namespace.to_owned(), pod: name.to_owned(), port: ports.pod };
            forwards.push(Forward { listener, local, place });
        }
    }
    Ok(forwards)
}

async fn bind(address: IpAddr, pair: &PortPair, ports: Ports, target: &str) -> Outcome<TcpListener> {
    let port = match pair.local {
        LocalPort::Same => ports.asked,
        LocalPort::Any => 0,
        LocalPort::Number(port) => port,
    };
    let local = SocketAddr::new(address, port);
    TcpListener::bind(local).await.map_err(|error| {
        let remote = &pair.remote;
        Failure::new(format_args!(
            "unable to listen on {local}: {error}\nTake any port that is free: setkeeper port-forward {target} :{remote}"
        ))
    })
}

/// The pod that is meant, and the Service where one was named.
async fn find(client: &Client, namespace: &str, target: &str) -> Outcome<(Value, Option<Value>)> {
    let (kind, name) = match target.split_once('/') {
        Some((kind, name)) => (references::kind(kind)?, name),
        None => (Kind::Pod, target),
    };
    if !matches!(kind, Kind::Pod | Kind::StatefulSet | Kind::Service) {
        let text = format!("{} have no ports to forward to; name a pod, a set or a Service", kind.plural());
        return Err(Failure::new(text));
    }
    let object = match client.get(kind, namespace, name).await {
        Err(status) if status.code() == tonic::Code::NotFound => {
            let (text, plural) = (client.explain(&status), kind.plural());
            return Err(Failure::Said(format!("{text}\nSee what there is: setkeeper get {plural} -n {namespace}")));
        }
        found => found.explained(client)?,
    };
    let selector = match kind {
        Kind::Pod => return Ok((object, None)),
        Kind::Service => place::selector(&object).ok_or_else(|| {
            Failure::new(format_args!(
                "Service {name:?} selects no pods; name a pod: setkeeper get pods -n {namespace}"
            ))
        })?,
        _ => String::new(),
    };
    let mut pods = client.list(Kind::Pod, namespace, &selector).await.explained(client)?.objects;
    if kind == Kind::StatefulSet {
        pods.retain(|pod| place::is_owned(pod, print::text(&object, "/metadata/uid")));
    }
    let pod = place::first_ready(&pods).cloned().ok_or_else(|| {
        Failure::new(format_args!(
            "{kind} {name:?} has no ready pod\nSee what they wait for: setkeeper get pods -n {namespace}"
        ))
    })?;
    Ok((pod, (kind == Kind::Service).then_some(object)))
}
