//! Programs that some tests talk to.

use std::env;
use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;

/// Prints a line that is seen in any case: what `print!` says, the test runner shows of failing tests only.
pub(crate) fn say(text: impl Display) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether every one of `programs` is installed. If not, prints why the test is skipped; where `CI=true` it fails
/// instead, because there everything is installed.
///
/// # Panics
/// Where `CI=true` and one is missing.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tests ask for PATH and CI themselves")]
pub fn available(programs: &[&str]) -> bool {
    let path = env::var("PATH").unwrap_or_default();
    let missing: Vec<_> =
        programs.iter().filter(|program| !path.split(':').any(|dir| Path::new(dir).join(program).is_file())).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(env::var("CI").as_deref() != Ok("true"), "not installed: {missing:?}");
    say(format_args!("skipped: not installed: {missing:?}"));
    false
}
