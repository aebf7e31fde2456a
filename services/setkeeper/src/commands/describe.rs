//! `describe`.

use std::io::Write;

use api::manifest::Kind;
use serde_json::Value;
use service_kit::clock::{Clock as _, SystemClock};

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
    let mut first = true;
    for wanted in references::parse(&args.what)? {
        let objects = match &wanted.name {
            Some(name) => vec![client.get(wanted.kind, namespace, name).await.explained(client)?],
            None => client.list(wanted.kind, namespace, selector).await.explained(client)?.objects,
        };
        for object in objects {
            if !std::mem::take(&mut first) {
                writeln!(out, "\n")?;
            }
            out.write_all(page(client, wanted.kind, &object).await?.as_bytes())?;
        }
    }
    if first { Err(Failure::new("nothing to describe was found")) } else { Ok(()) }
}

async fn page(client: &Client, kind: Kind, object: &Value) -> Outcome<String> {
    let namespace = print::text(object, "/metadata/namespace");
    let uid = print::text(object, "/metadata/uid");
    let (mut pods, mut decisions) = (Vec::new(), Vec::new());
    if kind == Kind::StatefulSet {
        pods = client.list(Kind::Pod, namespace, "").await.explained(client)?.objects;
        pods.retain(|pod| is_owned(pod, uid));
        pods.sort_by_key(|pod| ordinal(print::name_of(pod)));
        let selector = format!("setkeeper.dev/set={}", print::name_of(object));
        decisions = client.list(Kind::Decision, namespace, &selector).await.explained(client)?.objects;
        decisions.retain(|decision| is_owned(decision, uid));
    }
    let mut events = Vec::new();
    if kind != Kind::Event {
        events = client.list(Kind::Event, namespace, "").await.explained(client)?.objects;
        events.retain(|event| print::text(event, "/involvedObject/uid") == uid);
        events.sort_by(|left, right| print::text(left, "/lastTimestamp").cmp(print::text(right, "/lastTimestamp")));
    }
    Ok(print::describe(kind, object, &pods, &decisions, &events, SystemClock.now()))
}

fn is_owned(object: &Value, uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| print::text(owner, "/uid") == uid)
}

fn ordinal(name: &str) -> u64 {
    name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok()).unwrap_or(u64::MAX)
}
