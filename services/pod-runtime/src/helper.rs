//! The programs inside the program: the stages of a sandbox, each started by executing this very binary again.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use crate::sandbox::stages;

/// Runs the stage that the arguments (without the program's name) ask for; none if they ask for none.
///
/// Every binary that hosts the runtime calls this first in `main`, before any thread exists: the stages change
/// namespaces and users, which the kernel allows only to a process with one thread.
#[must_use]
pub fn helper_main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let stage = args.next()?;
    let stage = stage.to_str()?;
    let argument = args.next();
    let outcome = stages::run(stage, argument)?;
    Some(report(stage, outcome))
}

fn report(stage: &str, outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{stage}: {error}");
            ExitCode::FAILURE
        }
    }
}
