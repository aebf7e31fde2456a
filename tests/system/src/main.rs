//! The product's binary as these tests start it: the same code as `services/setkeeper`, built beside the tests so that it
//! is never older than they are.

use std::process::ExitCode;

fn main() -> ExitCode {
    setkeeper::main()
}
