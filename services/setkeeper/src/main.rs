//! The one binary: every service, and the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    setkeeper::main()
}
