//! Shows pods becoming ready, live.

use std::collections::BTreeMap;

use api::manifest::Kind;
use futures::StreamExt as _;
use serde_json::Value;
use service_kit::clock::{Clock as _, SystemClock};

use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::print::{self, summarize};

/// Follows the pods of the sets among `objects` until each set has as many ready pods as it wants.
pub(super) async fn until_ready(client: &Client, objects: &[Value]) -> Outcome {
    for set in objects.iter().filter(|object| print::text(object, "/kind") == "StatefulSet") {
        follow(client, set).await?;
    }
    Ok(())
}

async fn follow(client: &Client, set: &Value) -> Outcome {
    let wanted = set.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let (namespace, uid) = (print::text(set, "/metadata/namespace"), print::text(set, "/metadata/uid"));
    let begun = SystemClock.monotonic();
    let mut changes = client.watch(Kind::Pod, namespace, "", "", 0).await.explained(client)?;
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut ready: BTreeMap<String, bool> = BTreeMap::new();
    while ready.values().filter(|ready| **ready).count() < usize::try_from(wanted).unwrap_or(usize::MAX) {
        let Some(change) = changes.next().await else { return Err(Failure::new("the server ended the watch")) };
        let change = change.explained(client)?;
        let pod = &change.object;
        if !print::is_owned(pod, uid) {
            continue;
        }
        let name = print::name_of(pod).to_owned();
        let (line, is_ready) = match change.kind.as_str() {
            "DELETED" => ("gone".to_owned(), false),
            _ => state(pod),
        };
        ready.insert(name.clone(), is_ready);
        if said.insert(name.clone(), line.clone()).as_deref() != Some(&line) {
            let seconds = (SystemClock.monotonic() - begun).as_secs_f64();
            say!("  {seconds:>6.2}s  {name:<12} {line}");
        }
    }
    Ok(())
}

/// How a pod is, and whether it counts as ready.
fn state(pod: &Value) -> (String, bool) {
    let summary = summarize(pod);
    let going = !print::text(pod, "/metadata/deletionTimestamp").is_empty();
    let ready = summary.is_ready && !going;
    let line = match (ready, summary.status.as_str()) {
        (true, _) => match print::text(pod, "/status/podIP") {
            "" => "ready".to_owned(),
            address => format!("ready at {address}"),
        },
        (false, "Running") => format!("running, {} ready", summary.ready_column()),
        (false, status) => why(pod).map_or_else(|| status.to_owned(), |why| format!("{status}: {why}")),
    };
    (line, ready)
}

/// What a pod that does not run has to say.
fn why(pod: &Value) -> Option<&str> {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array)?;
    let waiting = statuses.iter().map(|status| print::text(status, "/state/waiting/message"));
    waiting.chain([print::text(pod, "/status/message")]).find(|message| !message.is_empty())
}
