//! `delete`.

use std::io::Write;
use std::time::Duration;

use api::manifest::Kind;
use api::proto::coordinator::v1::DeleteRequest;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::args::{DeleteArgs, Global};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::manifests::Manifests;
use crate::print;
use crate::references::{self, Wanted};

/// How often to ask whether a set can spare a pod by now.
const BUDGET_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// An object to delete.
struct Doomed {
    kind: Kind,
    namespace: String,
    name: String,
    uid: String,
}

/// Deletes objects, and waits until they are gone.
///
/// # Errors
/// Something does not exist, or the server refuses, or the wait takes too long.
pub(crate) async fn delete(client: &Client, global: &Global, args: &DeleteArgs, out: &mut impl Write) -> Outcome {
    let wanted = if args.filename.is_empty() {
        chosen(client, global, args).await?
    } else {
        in_files(client, global, args).await?
    };
    let mut errors = Vec::new();
    let mut going = Vec::new();
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    for (kind, namespace, name) in wanted {
        match request_in_turn(client, args, (kind, &namespace, &name), deadline).await {
            Ok(uid) => {
                let place = if kind.namespaced() { format!(" from {namespace} namespace") } else { String::new() };
                writeln!(out, "{} \"{name}\" deleted{place}", print::resource_name(kind))?;
                out.flush()?;
                going.push(Doomed { kind, namespace, name, uid });
            }
            Err(status) if status.code() == Code::NotFound && args.ignore_not_found => {}
            Err(status) => errors.push(client.explain(&status)),
        }
    }
    if args.wait {
        let waiting = wait(client, &going);
        match args.timeout.zip(deadline) {
            Some((timeout, deadline)) => match tokio::time::timeout_at(deadline, waiting).await {
                Ok(waited) => waited?,
                Err(_) => {
                    errors.push(format!("error: not everything was gone after {timeout:?}; the deletion goes on"))
                }
            },
            None => waiting.await?,
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::Said(errors.join("\n"))) }
}

async fn chosen(client: &Client, global: &Global, args: &DeleteArgs) -> Outcome<Vec<(Kind, String, String)>> {
    let mut chosen = Vec::new();
    references::check_selector(args.selector.as_deref())?;
    for Wanted { kind, name } in references::parse(&args.what)? {
        match name {
            Some(name) => chosen.push((kind, global.namespace().to_owned(), name)),
            None if args.all || args.selector.is_some() => {
                let selector = args.selector.as_deref().unwrap_or_default();
                let listed = client.list(kind, global.namespace(), selector).await.explained(client)?;
                chosen.extend(listed.objects.iter().map(|object| {
                    let namespace = print::text(object, "/metadata/namespace").to_owned();
                    (kind, namespace, print::name_of(object).to_owned())
                }));
            }
            None => {
                return Err(Failure::new(format_args!(
                    "which {}? give a name, labels with -l, or --all for every one in the namespace",
                    kind.plural()
                )));
            }
        }
    }
    if chosen.is_empty() {
        eprintln!("No resources found");
    }
    Ok(chosen)
}

/// The server reads the manifest, without changing anything, and says which objects are in it. What holds others goes
/// last: the order of the manifest backwards.
async fn in_files(client: &Client, global: &Global, args: &DeleteArgs) -> Outcome<Vec<(Kind, String, String)>> {
    let manifests = Manifests::read(&args.filename, args.recursive)?;
    manifests.check_namespace(global)?;
    let documents = api::manifest::parse(manifests.text()).map_err(|violations| {
        let lines = violations.iter().map(|violation| format!("\n  * {violation}"));
        Failure::new(manifests.locate(&format!("the manifest cannot be read{}", lines.collect::<String>())))
    })?;
    let objects = documents.iter().map(|document| &document.value);
    let mut named = Vec::new();
    for object in objects {
        let kind = references::kind(print::text(object, "/kind"))?;
        let namespace = match print::text(object, "/metadata/namespace") {
            "" => global.namespace(),
            namespace => namespace,
        };
        named.push((kind, namespace.to_owned(), print::name_of(object).to_owned()));
    }
    named.reverse();
    // Nothing is deleted where nobody answers.
    client.check().await?;
    Ok(named)
}

/// Requests the deletion, once the set can spare the pod if that was asked, and returns the uid of what is going.
async fn request_in_turn(
    client: &Client,
    args: &DeleteArgs,
    (kind, namespace, name): (Kind, &str, &str),
    deadline: Option<Instant>,
) -> Result<String, Status> {
    if !(args.within_budget && args.wait) {
        return request(client, args, kind, namespace, name, String::new()).await;
    }
    // Whoever comes in its place meanwhile is not meant.
    let uid = print::text(&client.get(kind, namespace, name).await?, "/metadata/uid").to_owned();
    let mut told = false;
    loop {
        match request(client, args, kind, namespace, name, uid.clone()).await {
            Err(status) if told && is_another(&status) => return Ok(uid),
            Err(status) if is_budget_spent(&status) && deadline.is_none_or(|end| Instant::now() < end) => {
                if !told {
                    eprintln!("waiting: {}", status.message());
                    told = true;
                }
                tokio::time::sleep(BUDGET_LOOK_INTERVAL).await;
            }
            requested => return requested,
        }
    }
}

fn is_budget_spent(status: &Status) -> bool {
    has_reason(status, "BUDGET_SPENT")
}

/// Whether the incarnation that was meant is gone.
fn is_another(status: &Status) -> bool {
    status.code() == Code::NotFound || has_reason(status, "UID_MISMATCH")
}

fn has_reason(status: &Status, reason: &str) -> bool {
    status.get_error_details().error_info().is_some_and(|info| info.reason == reason)
}

/// Requests the deletion and returns the uid of what is going.
async fn request(
    client: &Client,
    args: &DeleteArgs,
    kind: Kind,
    namespace: &str,
    name: &str,
    uid: String,
) -> Result<String, Status> {
    let request = DeleteRequest {
        kind: kind.name().to_owned(),
        namespace: if kind.namespaced() { namespace.to_owned() } else { String::new() },
        name: name.to_owned(),
        uid,
        resource_version: String::new(),
        grace_period_seconds: args.grace_period.filter(|seconds| *seconds >= 0),
        cascade: args.cascade.filter(|_| kind == Kind::StatefulSet).map_or("", |cascade| cascade.as_str()).to_owned(),
        within_budget: args.within_budget,
    };
    let object = client.objects().delete(request).await?.into_inner().object;
    let object = object.map(api::object::from_struct).unwrap_or(Value::Null);
    Ok(print::text(&object, "/metadata/uid").to_owned())
}

/// Returns when every one of the incarnations is gone.
async fn wait(client: &Client, going: &[Doomed]) -> Outcome {
    for doomed in going {
        let mut changes = client.watch(doomed.kind, &doomed.namespace, &doomed.name, "", 0).await.explained(client)?;
        let mut there = false;
        while let Some(change) = changes.next().await {
            let change = change.explained(client)?;
            let same = print::text(&change.object, "/metadata/uid") == doomed.uid;
            match change.kind.as_str() {
                // What exists has been told.
                "BOOKMARK" if !there => break,
                "DELETED" if same => break,
                "ADDED" | "MODIFIED" if same => there = true,
                // Another incarnation of the name: the one that was deleted is gone.
                "ADDED" if !same => break,
                _ => {}
            }
        }
    }
    Ok(())
}
