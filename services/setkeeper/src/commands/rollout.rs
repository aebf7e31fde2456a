//! `rollout status`.

use std::io::Write;
use std::time::Duration;

use api::manifest::Kind;
use futures::StreamExt as _;

use crate::args::{Global, RolloutStatusArgs};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::print::{Rollout, rollout};
use crate::references;

/// Shows how far a rolling update is, until it is done.
///
/// # Errors
/// The set does not exist or is deleted meanwhile, its strategy knows no progress, or the time is up.
pub(crate) async fn rollout_status(
    client: &Client,
    global: &Global,
    args: &RolloutStatusArgs,
    out: &mut impl Write,
) -> Outcome {
    let (kind, name) = references::parse_one(&args.what)?;
    if kind != Kind::StatefulSet {
        return Err(Failure::new(format_args!("{} have no rollouts; only sets have", kind.plural())));
    }
    let following = follow(client, global.namespace(), &name, args.watch, out);
    match args.timeout {
        Some(timeout) if timeout > Duration::ZERO => match tokio::time::timeout(timeout, following).await {
            Ok(followed) => followed,
            Err(_) => Err(Failure::new("timed out waiting for the condition")),
        },
        _ => following.await,
    }
}

async fn follow(client: &Client, namespace: &str, name: &str, watch: bool, out: &mut impl Write) -> Outcome {
    // Says that there is no such set, where there is none.
    let set = client.get(Kind::StatefulSet, namespace, name).await.explained(client)?;
    let mut last = String::new();
    if show(&rollout(&set), &mut last, out)? || !watch {
        return Ok(());
    }
    let mut changes = client.watch(Kind::StatefulSet, namespace, name, "", 0).await.explained(client)?;
    while let Some(change) = changes.next().await {
        let change = change.explained(client)?;
        match change.kind.as_str() {
            "DELETED" => return Err(Failure::new("object has been deleted")),
            "BOOKMARK" => {}
            _ if show(&rollout(&change.object), &mut last, out)? => return Ok(()),
            _ => {}
        }
    }
    Err(Failure::new("the server ended the watch before the rollout was done"))
}

/// Prints what is new; returns whether it is done.
fn show(rollout: &Rollout, last: &mut String, out: &mut impl Write) -> Outcome<bool> {
    let (text, done) = match rollout {
        Rollout::Waiting(text) => (text, false),
        Rollout::Done(text) => (text, true),
        Rollout::Unavailable(text) => return Err(Failure::new(text)),
    };
    if text != last {
        writeln!(out, "{text}")?;
        out.flush()?;
        last.clone_from(text);
    }
    Ok(done)
}
