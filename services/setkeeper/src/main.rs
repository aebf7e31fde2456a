//! The one binary: every service, and the command line.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The stages of a sandbox are this same program. They come first: they need a process with one thread.
    if let Some(code) = pod_runtime::helper_main(env::args_os().skip(1)) {
        return code;
    }
    setkeeper::run()
}
