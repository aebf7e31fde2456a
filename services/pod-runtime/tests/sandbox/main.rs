//! The sandbox on the real machine: real namespaces, real processes, both tiers, as the user who runs the tests and,
//! if that is root, also as an ordinary user.
//!
//! `cargo test -p pod-runtime --test sandbox [-- <part of a case's name>]`

mod cases;
mod fixture;
mod isolation;
mod survival;
mod world;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use pod_runtime::sandbox::Tier;

/// Nobody: on every machine, and owner of nothing.
const ORDINARY_USER: u32 = 65534;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if let Some(code) = pod_runtime::helper::helper_main(args.by_ref()) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["agent", state, tier] => survival::agent(Path::new(state), tier_of(tier)),
        ["fixture", rest @ ..] => fixture::main(rest),
        ["bare", rest @ ..] => bare(rest),
        ["suite", tier, base, filter] => suite(tier_of(tier), Path::new(base), filter),
        _ if words.contains(&"--list") => ExitCode::SUCCESS,
        _ => all(words.iter().find(|word| !word.starts_with('-')).unwrap_or(&"")),
    }
}

fn tier_of(name: &str) -> Tier {
    if name == "process" { Tier::Process } else { Tier::Namespaced }
}

/// Runs every suite in a process of its own, so that each has the user it needs.
fn all(filter: &str) -> ExitCode {
    let root = nix::unistd::Uid::effective().is_root();
    let users: &[Option<u32>] = if root { &[None, Some(ORDINARY_USER)] } else { &[None] };
    let mut failed = false;
    for user in users {
        for (tier, bare) in [("namespaced", false), ("process", false), ("process", true)] {
            if bare && root && user.is_none() {
                continue;
            }
            let base = tempfile::tempdir_in(home()).expect("a directory for the tests");
            std::fs::set_permissions(base.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
            let program = base.path().join("program");
            std::fs::copy(std::env::current_exe().expect("own path"), &program).expect("a copy of this program");
            let mut command = Command::new(&program);
            command.args(bare.then_some("bare")).args(["suite", tier]).arg(base.path()).arg(filter).current_dir("/");
            if let Some(user) = user {
                std::os::unix::fs::chown(base.path(), Some(*user), Some(*user)).expect("owner");
                command.uid(*user).gid(*user);
            }
            let who = user.map_or("as we are".to_owned(), |user| format!("as user {user}"));
            println!("{tier} tier, {who}{}:", if bare { ", namespaces refused" } else { "" });
            failed |= !command.status().expect("the suite").success();
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs a suite where the kernel refuses every further namespace, as hardened machines do.
fn bare(rest: &[&str]) -> ExitCode {
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).expect("a user namespace to refuse others in");
    std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1")).expect("uid_map");
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1")).expect("gid_map");
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").expect("max_user_namespaces");
    let error = Command::new("/proc/self/exe").args(rest).exec();
    panic!("{error}");
}

/// A directory that an ordinary user reaches and that containers have none of their own of, so that what is hidden from
/// them is hidden on purpose.
fn home() -> PathBuf {
    let candidates = [env!("CARGO_TARGET_TMPDIR"), "/srv", "/var/lib"].map(PathBuf::from);
    let good = |directory: &PathBuf| {
        let private = ["/tmp", "/var/tmp", "/run"].iter().any(|private| directory.starts_with(private));
        let open = directory
            .ancestors()
            .all(|directory| std::fs::metadata(directory).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0));
        !private && open && tempfile::tempdir_in(directory).is_ok()
    };
    candidates.into_iter().find(good).unwrap_or_else(std::env::temp_dir)
}

fn suite(tier: Tier, base: &Path, filter: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let outcome = runtime.block_on(cases::run(tier, base, filter));
    runtime.shutdown_background();
    outcome
}

/// Arguments as `Vec<OsString>`, for readability of the cases.
fn words(text: &[&str]) -> Vec<OsString> {
    text.iter().map(OsString::from).collect()
}
