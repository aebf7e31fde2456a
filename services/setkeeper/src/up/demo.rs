//! What `setkeeper up --demo` shows.

use std::net::SocketAddr;
use std::time::Duration;

use api::manifest::Kind;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use service_kit::clock::{Clock as _, SystemClock};
use tokio::net::TcpStream;

use super::resolve::resolve;
use crate::client::Client;
use crate::failure::{Explained as _, Outcome};
use crate::launch::Setup;
use crate::print::{self, Table};

/// The example: a headless Service and three replicas, each with a volume.
pub(super) const MANIFEST: &str = include_str!("../../../../deploy/examples/demo.yaml");

/// Name of the example's first pod, below its Service and namespace.
const FIRST_POD: &str = "web-0.web.default.svc";

/// Where the example's program listens.
const PORT: u16 = 8080;

/// How long to try whether a pod can be reached from here.
const REACH_WAIT: Duration = Duration::from_secs(1);

/// Largest answer of the example's program, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// Shows the pods, resolves a name, and says what to try.
pub(super) async fn show(client: &Client, setup: &Setup, program: &str) -> Outcome {
    let pods = client.list(Kind::Pod, "default", "app=web").await.explained(client)?.objects;
    let mut rows = vec![print::headers(Kind::Pod, true)];
    rows.extend(pods.iter().map(|pod| print::row(Kind::Pod, pod, true, SystemClock.now())));
    // Nominated nodes and readiness gates are of no interest here.
    for row in &mut rows {
        row.truncate(7);
    }
    say!("\n$ setkeeper get pods -o wide\n{}", Table::new().render(&rows));
    let name = format!("{FIRST_POD}.{}", setup.cluster_domain);
    let first = pods.iter().find(|pod| print::name_of(pod) == "web-0");
    let address = first.map(|pod| print::text(pod, "/status/podIP")).unwrap_or_default();
    if let Ok(server) = setup.dns_address.parse::<SocketAddr>() {
        let question = format!("dig +short @{} -p {} {name}", server.ip(), server.port());
        match resolve(server, &name).await {
            Ok(addresses) if !addresses.is_empty() => say!("$ {question}\n{}\n", addresses.join("\n")),
            Ok(_) => say!("{name} has no address yet; try: {question}\n"),
            Err(error) => say!("{name} cannot be resolved: {error}\n"),
        }
    }
    let answer = fetch(address).await;
    if let Some(answer) = &answer {
        say!("$ curl http://{address}:{PORT}\n{answer}\n");
    }
    say!("In another terminal, try:");
    let commands = [
        ("get pods -w", "watch what happens"),
        ("delete pod web-1", "it comes back with its name, its volume and its count of starts"),
        ("scale sts web --replicas=5", "two more, in order"),
        ("logs web-0 -f", "what a pod says"),
        ("describe sts web", "everything about the set, and what it waits for"),
        ("down", "stop the pods in order, then Setkeeper"),
    ];
    let width =
        program.chars().count() + commands.iter().map(|(command, _)| command.len()).max().unwrap_or_default() + 3;
    for (command, what) in commands {
        say!("  {:<width$}# {what}", format!("{program} {command}"));
    }
    say!("\nCtrl-C stops Setkeeper and leaves the pods running.");
    Ok(())
}

/// What the pod answers, if it can be reached from this machine at all.
async fn fetch(address: &str) -> Option<String> {
    let place = format!("{address}:{PORT}");
    let asked = async {
        let stream = TcpStream::connect(&place).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = hyper::Request::get("/").header("host", &place).body(Empty::<Bytes>::new()).ok()?;
        let answered = async {
            let response = sender.send_request(request).await.ok()?;
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
            String::from_utf8(body.to_bytes().to_vec()).ok()
        };
        tokio::select! {
            answer = answered => answer,
            _ = connection => None,
        }
    };
    let answer = tokio::time::timeout(REACH_WAIT, asked).await.ok().flatten()?;
    // Something else may answer at an address that only pods can reach.
    let said: serde_json::Value = serde_json::from_str(&answer).ok()?;
    (said["pod"] == "web-0").then(|| answer.trim_end().to_owned())
}
