//! `rollout undo`, `pause`, `resume` and `restart`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::{
    PauseStatefulSetRequest, RestartStatefulSetRequest, ResumeStatefulSetRequest, UndoStatefulSetRequest,
};

use tonic::Code;

use super::{all_of, explain, one};
use crate::args::{DryRun, Global, RolloutSetsArgs, RolloutUndoArgs};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::{print, references};

/// Gives a set the template of an earlier revision.
///
/// # Errors
/// There is no such set or revision.
pub(super) async fn undo(client: &Client, global: &Global, args: &RolloutUndoArgs, out: &mut impl Write) -> Outcome {
    let name = one(&args.what)?;
    let dry_run = args.dry_run == DryRun::Server;
    let request = UndoStatefulSetRequest {
        namespace: global.namespace().to_owned(),
        name: name.clone(),
        to_revision: args.to_revision,
        resource_version: String::new(),
        dry_run,
    };
    let undone = client.sets().undo(request).await.map_err(|status| Failure::Said(explain(client, &status)))?;
    let undone = undone.into_inner();
    let what = match undone.result.as_str() {
        "skipped" => format!("skipped rollback (current template already matches revision {})", undone.revision),
        _ => "rolled back".to_owned(),
    };
    let suffix = if dry_run { " (server dry run)" } else { "" };
    writeln!(out, "{} {what}{suffix}", print::qualified_name(Kind::StatefulSet, &name))?;
    Ok(())
}

/// Lets updates of sets stand still.
///
/// # Errors
/// There is no such set, or it is paused already.
pub(super) async fn pause(client: &Client, global: &Global, args: &RolloutSetsArgs, out: &mut impl Write) -> Outcome {
    let mut errors = Vec::new();
    for name in references::parse_sets(&args.what)? {
        let request = PauseStatefulSetRequest {
            namespace: global.namespace().to_owned(),
            name: name.clone(),
            resource_version: String::new(),
        };
        match client.sets().pause(request).await {
            Ok(answer) if answer.get_ref().changed => said(out, &name, "paused")?,
            Ok(_) => errors.push(format!("error: {} is already paused", quoted(&name))),
            Err(status) => errors.push(explain(client, &status)),
        }
    }
    all_of(errors)
}

/// Lets updates of sets go on.
///
/// # Errors
/// There is no such set, or it is not paused.
pub(super) async fn resume(client: &Client, global: &Global, args: &RolloutSetsArgs, out: &mut impl Write) -> Outcome {
    let mut errors = Vec::new();
    for name in references::parse_sets(&args.what)? {
        let request = ResumeStatefulSetRequest {
            namespace: global.namespace().to_owned(),
            name: name.clone(),
            resource_version: String::new(),
        };
        match client.sets().resume(request).await {
            Ok(answer) if answer.get_ref().changed => said(out, &name, "resumed")?,
            Ok(_) => errors.push(format!("error: {} is not paused", quoted(&name))),
            Err(status) => errors.push(explain(client, &status)),
        }
    }
    all_of(errors)
}

/// Replaces the pods of sets.
///
/// # Errors
/// There is no such set, it is paused, or it was restarted just now.
pub(super) async fn restart(client: &Client, global: &Global, args: &RolloutSetsArgs, out: &mut impl Write) -> Outcome {
    let mut errors = Vec::new();
    for name in references::parse_sets(&args.what)? {
        let request = RestartStatefulSetRequest {
            namespace: global.namespace().to_owned(),
            name: name.clone(),
            resource_version: String::new(),
        };
        match client.sets().restart(request).await {
            Ok(_) => said(out, &name, "restarted")?,
            Err(status) => {
                let why = explain(client, &status);
                // Which one, where kubectl's sentence about a set does not say it.
                let about_the_set = status.code() == Code::FailedPrecondition && !why.contains(&name);
                let named = format!("error: {} ", quoted(&name));
                errors.push(if about_the_set { why.replacen("error: ", &named, 1) } else { why });
            }
        }
    }
    all_of(errors)
}

fn said(out: &mut impl Write, name: &str, what: &str) -> Outcome {
    writeln!(out, "{} {what}", print::qualified_name(Kind::StatefulSet, name))?;
    Ok(())
}

/// `statefulsets.apps "web"`.
fn quoted(name: &str) -> String {
    format!("statefulsets.apps {name:?}")
}
