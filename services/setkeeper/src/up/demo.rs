//! What `setkeeper up --demo` shows.

use std::net::SocketAddr;

use api::manifest::Kind;
use service_kit::clock::{Clock as _, SystemClock};

use super::resolve::resolve;
use crate::client::Client;
use crate::failure::{Explained as _, Outcome};
use crate::launch::Setup;
use crate::print::{self, Table};

/// The example: a headless Service and three replicas, each with a volume.
pub(super) const MANIFEST: &str = include_str!("../../../../deploy/examples/demo.yaml");

/// Name of the example's first pod, below its Service and namespace.
const FIRST_POD: &str = "web-0.web.default.svc";

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
    if let Ok(server) = setup.dns_address.parse::<SocketAddr>() {
        let question = format!("dig +short @{} -p {} {name}", server.ip(), server.port());
        match resolve(server, &name).await {
            Ok(addresses) if !addresses.is_empty() => say!("$ {question}\n{}\n", addresses.join("\n")),
            Ok(_) => say!("{name} has no address yet; try: {question}\n"),
            Err(error) => say!("{name} cannot be resolved: {error}\n"),
        }
    }
    say!("In another terminal, try:");
    let commands = [
        ("port-forward web-0 8080", "and then: curl http://127.0.0.1:8080"),
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
