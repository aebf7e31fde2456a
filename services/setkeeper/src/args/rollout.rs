//! `rollout` and its verbs.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::objects::{DryRun, Output};
use super::parse_duration;

/// `rollout`.
#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    /// What about it.
    #[command(subcommand)]
    pub(crate) command: RolloutCommand,
}

/// What about a rollout.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show how far a rolling update is, until it is done
    Status(RolloutStatusArgs),
    /// Show the revisions of a set, or the template of one
    History(RolloutHistoryArgs),
    /// Go back to the template of an earlier revision; nothing else of the set changes
    Undo(RolloutUndoArgs),
    /// Let updates stand still; lost pods still come back
    Pause(RolloutSetsArgs),
    /// Let a paused update go on
    Resume(RolloutSetsArgs),
    /// Replace every pod, one after the other, as an update does
    Restart(RolloutSetsArgs),
}

/// `rollout status`.
#[derive(Debug, Args)]
pub(crate) struct RolloutStatusArgs {
    /// sts NAME or sts/NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// Go on until it is done
    #[arg(short, long, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub(crate) watch: bool,
    /// Fail after so long [default: wait as long as it takes]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
}

/// `rollout history`.
#[derive(Debug, Args)]
pub(crate) struct RolloutHistoryArgs {
    /// sts NAME or sts/NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// Show the template of this revision [default: list all]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) revision: i64,
    /// Print the ControllerRevisions
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

/// `rollout undo`.
#[derive(Debug, Args)]
pub(crate) struct RolloutUndoArgs {
    /// sts NAME or sts/NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// Number of the revision [default: the one before the present]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    pub(crate) to_revision: i64,
    /// Say what would be done, change nothing
    #[arg(long, value_enum, default_value_t = DryRun::None, default_missing_value = "server", num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
}

/// `rollout pause`, `resume` and `restart`.
#[derive(Debug, Args)]
pub(crate) struct RolloutSetsArgs {
    /// sts NAME... or sts/NAME...
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
}
