//! Commands about objects.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::parse_duration;

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Kind and name
    Name,
}

/// Which mode of trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Really do it
    None,
    /// Let the server check and answer, and change nothing
    Server,
}

/// `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// File, directory, or - for standard input; several are one manifest
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Also directories inside directories
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Check and answer, change nothing
    #[arg(long, value_enum, default_value_t = DryRun::None, default_missing_value = "server", num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
    /// How to print what was applied
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

/// `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// KIND, KIND NAME..., KIND/NAME..., or KIND,KIND: sts, pods, svc, pvc, pv, sc, cm, secrets, ns, events, nodes, all
    #[arg(required = true, value_name = "KIND[/NAME]")]
    pub(crate) what: Vec<String>,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only objects with these labels, such as app=web,tier!=db
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Go on and show changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How to print
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    /// No line of headings
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Labels as the last column
    #[arg(long)]
    pub(crate) show_labels: bool,
    /// An object that does not exist is no error
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
}

/// `describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// KIND, KIND NAME... or KIND/NAME...
    #[arg(required = true, value_name = "KIND[/NAME]")]
    pub(crate) what: Vec<String>,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
}

/// What happens to the pods of a deleted set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cascade {
    /// They stop one by one, the highest ordinal first; those of a Parallel set all at once. The set goes after the last
    Ordered,
    /// The set goes at once, its pods stop all at once
    Background,
    /// Its pods stop all at once; the set goes after the last, and after its revisions and its claims that go too
    Foreground,
    /// They stay
    Orphan,
}

impl Cascade {
    /// As the API writes it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Background => "background",
            Self::Foreground => "foreground",
            Self::Orphan => "orphan",
        }
    }
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// KIND NAME... or KIND/NAME...
    #[arg(value_name = "KIND[/NAME]", required_unless_present = "filename", conflicts_with = "filename")]
    pub(crate) what: Vec<String>,
    /// The objects of this file or directory; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Also directories inside directories
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "filename")]
    pub(crate) selector: Option<String>,
    /// Every object of the kind in the namespace
    #[arg(long, conflicts_with_all = ["filename", "selector"])]
    pub(crate) all: bool,
    /// What happens to the pods of a set [default: ordered; background under the profile kubernetes]
    #[arg(long, value_enum)]
    pub(crate) cascade: Option<Cascade>,
    /// Seconds a pod gets to stop [default: what its spec says]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) grace_period: Option<i64>,
    /// Only pods that their set can spare, with no more than its maxUnavailable unavailable; with --wait one after the other
    #[arg(long)]
    pub(crate) within_budget: bool,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub(crate) wait: bool,
    /// Give up waiting after so long [default: wait as long as it takes]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// An object that does not exist is no error
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
}

/// `scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// sts NAME or sts/NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// How many pods to run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) replicas: i32,
    /// Only if the set wants so many now
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) current_replicas: Option<i32>,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Pod, pod/NAME, or sts/NAME for the first pod of a set
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// Which container; needed where the pod has several
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Go on until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The run before the last restart
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Only so many last lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,
}
