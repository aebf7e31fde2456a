//! The product's binary as these tests start it: the same code as `services/setkeeper`, built beside the tests so that it
//! is never older than they are.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let code = setkeeper::main();
    // A process that has ended has no memory to look at any more, so it tells at its end how much it had.
    if let Some(path) = env::var_os("SETKEEPER_TEST_STATUS_FILE").map(PathBuf::from) {
        let _ = fs::copy("/proc/self/status", path);
    }
    code
}
