//! Programs that some tests talk to.

use std::env;
use std::path::Path;

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
    println!("skipped: not installed: {missing:?}");
    false
}
