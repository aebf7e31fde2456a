//! `rollout` and its verbs.

mod change;
mod history;
mod status;

use std::io::Write;

use service_kit::status::reason;
use tonic::Status;

use crate::args::{Global, RolloutArgs, RolloutCommand};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::references::{self, ReferenceError};

/// Refusals that are whole sentences of kubectl, which finds them out itself: no server is named.
const OF_KUBECTL: [&str; 4] = ["NO_EARLIER_REVISION", "REVISION_NOT_FOUND", "SET_PAUSED", "RESTARTED_JUST_NOW"];

/// Does what is asked about a rollout.
///
/// # Errors
/// See the verbs.
pub(crate) async fn rollout(client: &Client, global: &Global, args: &RolloutArgs, out: &mut impl Write) -> Outcome {
    match &args.command {
        RolloutCommand::Status(args) => status::status(client, global, args, out).await,
        RolloutCommand::History(args) => history::history(client, global, args, out).await,
        RolloutCommand::Undo(args) => change::undo(client, global, args, out).await,
        RolloutCommand::Pause(args) => change::pause(client, global, args, out).await,
        RolloutCommand::Resume(args) => change::resume(client, global, args, out).await,
        RolloutCommand::Restart(args) => change::restart(client, global, args, out).await,
    }
}

/// The one set that words name.
fn one(words: &[String]) -> Result<String, ReferenceError> {
    match <[String; 1]>::try_from(references::parse_sets(words)?) {
        Ok([name]) => Ok(name),
        Err(_) => Err(ReferenceError::NotOne),
    }
}

/// Why a verb failed, in the words of kubectl where it has some.
fn explain(client: &Client, status: &Status) -> String {
    if OF_KUBECTL.contains(&reason(status).as_str()) {
        return format!("error: {}", status.message());
    }
    client.explain(status)
}

/// Everything that went wrong with several sets.
fn all_of(errors: Vec<String>) -> Outcome {
    if errors.is_empty() { Ok(()) } else { Err(Failure::Said(errors.join("\n"))) }
}
