//! `describe`.

use std::io::Write;

use api::manifest::Kind;
use serde_json::Value;
use service_kit::clock::{Clock as _, SystemClock};
use tonic::Code;

use crate::args::{DescribeArgs, Global};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::{print, references};

/// Shows everything about objects, with their events.
///
/// # Errors
/// Something does not exist, or the server refuses.
pub(crate) async fn describe(client: &Client, global: &Global, args: &DescribeArgs, out: &mut impl Write) -> Outcome {
    let namespace = if args.all_namespaces { "" } else { global.namespace() };
    let selector = args.selector.as_deref().unwrap_or_default();
    references::check_selector(args.selector.as_deref())?;
    let mut first = true;
    let mut missing = Vec::new();
    for wanted in references::parse(&args.what)? {
        let objects = match &wanted.name {
            Some(name) => match client.get(wanted.kind, namespace, name).await {
                Ok(object) => vec![object],
                Err(status) if status.code() == Code::NotFound => {
                    missing.push(client.explain(&status));
                    continue;
                }
                Err(status) => return Err(status).explained(client),
            },
            None => client.list(wanted.kind, namespace, selector).await.explained(client)?.objects,
        };
        for object in objects {
            if !std::mem::take(&mut first) {
                writeln!(out, "\n")?;
            }
            out.write_all(page(client, wanted.kind, &object).await?.as_bytes())?;
        }
    }
    if !missing.is_empty() {
        return Err(Failure::Said(missing.join("\n")));
    }
    if first { Err(Failure::new("nothing to describe was found")) } else { Ok(()) }
}

async fn page(client: &Client, kind: Kind, object: &Value) -> Outcome<String> {
    let namespace = print::text(object, "/metadata/namespace");
    let uid = print::text(object, "/metadata/uid");
    let (mut pods, mut decisions) = (Vec::new(), Vec::new());
    if kind == Kind::StatefulSet {
        pods = client.list(Kind::Pod, namespace, "").await.explained(client)?.objects;
        pods.retain(|pod| print::is_owned(pod, uid));
        pods.sort_by_key(|pod| print::ordinal(print::name_of(pod)));
        let selector = format!("setkeeper.dev/set={}", print::name_of(object));
        decisions = client.list(Kind::Decision, namespace, &selector).await.explained(client)?.objects;
        decisions.retain(|decision| print::is_owned(decision, uid));
    }
    let mut events = Vec::new();
    if kind != Kind::Event {
        events = client.list(Kind::Event, namespace, "").await.explained(client)?.objects;
        events.retain(|event| print::text(event, "/involvedObject/uid") == uid);
        print::sort_events(&mut events);
    }
    Ok(print::describe(kind, object, &pods, &decisions, &events, SystemClock.now()))
}
