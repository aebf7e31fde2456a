//! `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

/// Where a backup goes.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// File to write; one that is there is replaced once the new one is whole. It holds secrets
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What to restore.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A backup, as `setkeeper backup` wrote it; - reads it from the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Put it in the place of a state store that is there
    #[arg(long)]
    pub(crate) force: bool,
}
