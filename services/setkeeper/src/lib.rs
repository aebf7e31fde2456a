//! The one binary of Setkeeper: every service, and the command line.
//!
//! - `setkeeper up` starts all services in one process, each on its own listener, so that what a client or a trace sees
//!   is the same as with one process per service.
//! - `setkeeper serve <service>` starts one.
//! - `setkeeper restore` and `setkeeper check` work on the file of a state store that nobody has open.
//! - Everything else is a client. It talks to the coordinator and to nothing else.
//!
//! Printing is pure (`print`): JSON and the time in, text out. Exit codes: 0 done, 1 failed, 2 not understood.

mod args;
mod certs;
mod client;
mod commands;
mod data_dir;
mod down;
mod failure;
mod launch;
mod manifests;
mod print;
mod references;
mod serve;
mod up;
mod workload;

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use mimalloc::MiMalloc;

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// A step of a rollout is mostly small messages that are made, read and dropped: with it, a tenth of their time is saved.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The whole program. Must be the first thing its process does: the stages of a pod's sandbox are this program started
/// anew, and they need to be alone in their process.
#[must_use]
pub fn main() -> ExitCode {
    pod_runtime::helper_main(std::env::args_os().skip(1)).unwrap_or_else(run)
}

/// Does what the command line says.
fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: threads cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(dispatch(cli));
    // Reading standard input cannot be interrupted; nothing waits for it here.
    runtime.shutdown_background();
    match outcome {
        Ok(()) | Err(Failure::ClosedOutput) => ExitCode::SUCCESS,
        Err(Failure::Said(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Outcome {
    let global = &cli.global;
    let mut out = BufWriter::new(io::stdout());
    match &cli.command {
        Command::Up(args) => up::up(global, args).await?,
        Command::Down(args) => down::down(global, args, &mut out).await?,
        Command::Serve(args) => serve::serve(global, args).await?,
        Command::Certs(args) => certs::certs(args, &mut out)?,
        Command::DemoWorkload => workload::run().await?,
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "setkeeper", &mut out);
        }
        Command::Apply(args) => commands::apply(&Client::new(global)?, global, args, &mut out).await?,
        Command::Get(args) => commands::get(&Client::new(global)?, global, args, &mut out).await?,
        Command::Describe(args) => commands::describe(&Client::new(global)?, global, args, &mut out).await?,
        Command::Delete(args) => commands::delete(&Client::new(global)?, global, args, &mut out).await?,
        Command::Scale(args) => commands::scale(&Client::new(global)?, global, args, &mut out).await?,
        Command::Logs(args) => commands::logs(&Client::new(global)?, global, args, &mut out).await?,
        Command::PortForward(args) => {
            commands::port_forward(&Client::new(global)?, global, args, &mut out).await?;
        }
        Command::Rollout(args) => commands::rollout(&Client::new(global)?, global, args, &mut out).await?,
        Command::Fence(args) => commands::fence(&Client::new(global)?, args, &mut out).await?,
        Command::Backup(args) => commands::backup(&Client::new(global)?, args, &mut out).await?,
        Command::Restore(args) => commands::restore(global, args, &mut out)?,
        Command::Check => commands::check(global, &mut out)?,
        Command::Version => commands::version(&Client::new(global)?, &mut out).await?,
    }
    out.flush()?;
    Ok(())
}
