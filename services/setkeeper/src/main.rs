//! The one binary: every service, and the command line.

use std::process::ExitCode;

/// Objects are JSON: many small allocations, made on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    setkeeper::main()
}
