//! `apply`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::ApplyResponse;
use serde_json::Value;

use crate::args::{ApplyArgs, DryRun, Global, Output};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::manifests::Manifests;
use crate::print;

/// Applies manifests as one: all of their objects or none.
///
/// # Errors
/// A file cannot be read, or the server refuses.
pub(crate) async fn apply(client: &Client, global: &Global, args: &ApplyArgs, out: &mut impl Write) -> Outcome {
    let manifests = Manifests::read(&args.filename, args.recursive)?;
    manifests.check_namespace(global)?;
    let dry_run = args.dry_run == DryRun::Server;
    let applied = send(client, &manifests, global.namespace(), dry_run).await?;
    for warning in &applied.warnings {
        eprintln!("Warning: {warning}");
    }
    let results: Vec<String> = applied.objects.iter().map(|one| one.result.clone()).collect();
    let objects: Vec<Value> =
        applied.objects.into_iter().filter_map(|one| one.object.map(api::object::from_struct)).collect();
    match args.output {
        Some(Output::Json) => out.write_all(print::as_json(&objects, true).as_bytes())?,
        Some(Output::Yaml) => out.write_all(print::as_yaml(&objects, true).as_bytes())?,
        Some(Output::Name) => {
            for object in &objects {
                writeln!(out, "{}", label(object))?;
            }
        }
        Some(Output::Wide) | None => {
            let suffix = if dry_run { " (server dry run)" } else { "" };
            for (object, result) in objects.iter().zip(results) {
                writeln!(out, "{} {result}{suffix}", label(object))?;
            }
        }
    }
    Ok(())
}

/// `statefulset.apps/web`.
pub(super) fn label(object: &Value) -> String {
    let kind = print::text(object, "/kind");
    match Kind::from_text(kind) {
        Some(kind) => print::qualified_name(kind, print::name_of(object)),
        None => format!("{}/{}", kind.to_lowercase(), print::name_of(object)),
    }
}

/// Sends manifests; what is refused is said with its file and line.
///
/// # Errors
/// The server refuses.
pub(crate) async fn send(
    client: &Client,
    manifests: &Manifests,
    namespace: &str,
    dry_run: bool,
) -> Outcome<ApplyResponse> {
    let applied = client.apply(manifests.text().to_owned(), namespace, dry_run).await;
    applied.map_err(|status| Failure::Said(manifests.locate(&client.explain(&status))))
}
