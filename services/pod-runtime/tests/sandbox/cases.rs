//! Life and death of containers, and the list of all cases.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use pod_runtime::backend::{BackendError, ContainerState, ExecOutcome, PodBackend};
use pod_runtime::sandbox::Tier;

use crate::world::{World, processes, sandbox_spec, uid, until};
use crate::{isolation, survival};

type Case = for<'a> fn(&'a World) -> LocalBoxFuture<'a, ()>;

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$((stringify!($name), (|world| $module::$name(world).boxed_local()) as Case)),*]
    };
}

/// Runs the cases whose names contain `filter`, each on a state directory of its own.
pub(crate) async fn run(tier: Tier, base: &Path, filter: &str) -> ExitCode {
    let all = cases![
        life::exit_code_and_output_are_recorded,
        life::a_program_without_a_handler_ends_by_sigterm,
        life::kill_leaves_no_process_behind,
        life::what_the_program_leaves_behind_ends_with_it,
        life::starting_an_instance_twice_runs_it_once,
        life::a_missing_program_is_told_and_leaves_no_trace,
        life::commands_run_inside_and_are_bounded,
        life::a_second_incarnation_waits_for_the_first,
        life::addresses_are_not_reused_at_once,
        life::signals_reach_the_program_only,
        life::many_pods_come_and_go_at_once,
        survival::pods_outlive_the_runtime,
        survival::an_exit_without_a_runtime_is_recorded,
        survival::a_killed_shim_takes_its_pod_along,
        survival::a_second_runtime_is_refused,
        survival::a_new_anchor_joins_the_node_of_living_pods,
        isolation::the_pod_knows_its_name,
        isolation::two_pods_listen_on_one_port,
        isolation::names_are_asked_on_port_53,
        isolation::mounts_appear_where_the_machine_has_no_path,
        isolation::the_machine_cannot_be_written,
        isolation::the_state_directory_is_hidden,
        isolation::programs_run_as_the_user_asked_for,
        isolation::a_pods_root_is_not_the_machines,
    ];
    match World::open(base.join("probe"), tier).await {
        Ok(world) => {
            let capabilities = world.backend.capabilities();
            println!("  {}; {}", capabilities.tier, capabilities.degraded.join("; "));
            world.close().await;
        }
        Err(error) => return skip(&error),
    }
    let mut failed = 0;
    for (name, case) in all.iter().filter(|(name, _)| name.contains(filter)) {
        let world = World::open(base.join(name), tier).await.expect("it opened before");
        let outcome = std::panic::AssertUnwindSafe(async {
            case(&world).await;
            world.close().await;
        });
        match outcome.catch_unwind().await {
            Ok(()) => println!("  {name} ... ok"),
            Err(_) => {
                println!("  {name} ... FAILED");
                failed += 1;
                leave_nothing(base);
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where the tier is refused: says why, and fails where it must not be.
fn skip(error: &BackendError) -> ExitCode {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    println!("  skipped: {text}");
    let must = std::env::vars_os().any(|(name, value)| name == "CI" && value == "true");
    if must { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// After a failure: ends what carries this run's directory in its command line, and nothing else.
fn leave_nothing(base: &Path) {
    let mark = base.to_str().expect("text").to_owned();
    for pid in processes(|line| line.contains(&mark) && !line.contains(" suite ")) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process number"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

mod life {
    use super::*;

    pub(super) async fn exit_code_and_output_are_recorded(world: &World) {
        world.run("web-0", "echo hello; echo bad >&2; printf unfinished; exit 7").await;
        let exit = world.exit("web-0").await;
        assert_eq!((exit.exit_code, exit.signal, exit.reason.as_str()), (7, None, "Error"));
        assert!(exit.finished_at >= exit.started_at);
        for line in [" stdout F hello", " stderr F bad", " stdout F unfinished"] {
            world.logged("web-0", line).await;
        }
    }

    pub(super) async fn a_program_without_a_handler_ends_by_sigterm(world: &World) {
        world.sandbox("web-0").await;
        world.start("web-0", world.container("web-0", &["sleep", "1000"])).await;
        world.backend.signal(&uid("web-0"), "main", 15).await.expect("a signal");
        let exit = world.exit("web-0").await;
        assert_eq!((exit.exit_code, exit.signal), (143, Some(15)));
        let again = world.backend.signal(&uid("web-0"), "main", 15).await;
        assert!(matches!(again, Err(BackendError::NotRunning { .. })), "{again:?}");
    }

    pub(super) async fn kill_leaves_no_process_behind(world: &World) {
        let number = mark(world);
        world
            .run(
                "web-0",
                &format!("trap '' TERM; (setsid sh -c 'sleep {number} & sleep {number}' &); echo up; sleep {number}"),
            )
            .await;
        until("three sleepers", async || (sleepers(&number) >= 3).then_some(())).await;
        world.backend.kill(&uid("web-0"), "main").await.expect("a kill");
        assert_eq!(sleepers(&number), 0);
        let exit = world.exit("web-0").await;
        assert_eq!((exit.exit_code, exit.signal), (137, Some(9)));
        world.backend.kill(&uid("web-0"), "main").await.expect("nothing to kill is no failure");
    }

    pub(super) async fn what_the_program_leaves_behind_ends_with_it(world: &World) {
        let number = mark(world);
        world.run("web-0", &format!("setsid sh -c 'sleep {number} & sleep {number}' & sleep 0.2; exit 3")).await;
        assert_eq!(world.exit("web-0").await.exit_code, 3);
        assert_eq!(sleepers(&number), 0);
    }

    pub(super) async fn starting_an_instance_twice_runs_it_once(world: &World) {
        let first = world.run("web-0", "echo once; sleep 1000").await;
        let spec = world.container("web-0", &["sh", "-c", "echo twice"]);
        let second = world.start("web-0", spec.clone()).await;
        assert_eq!(first, second);
        world.backend.kill(&uid("web-0"), "main").await.expect("a kill");
        let third = world.start("web-0", spec.clone()).await;
        assert!(matches!(third.state, ContainerState::Exited(_)), "{third:?}");
        world.start("web-0", pod_runtime::backend::ContainerSpec { instance: 1, ..spec }).await;
        world.logged("web-0", "stdout F twice").await;
        let log = std::fs::read_to_string(world.log("web-0")).expect("a log");
        assert_eq!(log.matches("once").count(), 1);
    }

    pub(super) async fn a_missing_program_is_told_and_leaves_no_trace(world: &World) {
        world.sandbox("web-0").await;
        let spec = world.container("web-0", &["no-such-program"]);
        let refused = world.backend.start_container(&uid("web-0"), spec).await;
        match refused {
            Err(BackendError::CannotRun { reason: "RunContainerError", message }) => {
                assert!(message.contains("no-such-program") && message.contains("not found"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert!(world.state("web-0").await.containers.is_empty());
        world.run("web-0", "exit 0").await;
        assert_eq!(world.exit("web-0").await.reason, "Completed");
    }

    pub(super) async fn commands_run_inside_and_are_bounded(world: &World) {
        world.run("web-0", "sleep 1000").await;
        assert_eq!(world.exec("web-0", "echo $COLOUR; pwd; exit 4").await, (4, "blue\n/".to_owned()));
        let (_, clean) = world.exec("web-0", "env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/self/fd | wc -l").await;
        let expected = if world.namespaced() { "COLOUR PATH PWD 4" } else { "COLOUR PATH PWD SETKEEPER_SANDBOX 4" };
        assert_eq!(clean, expected, "nothing of the runtime leaks in");
        let (_, signals) = world.exec("web-0", "grep -E 'SigBlk|SigIgn' /proc/self/status | cut -f2 | sort -u").await;
        // The C library ignores the two that it keeps for itself in whatever it spawns.
        const OF_THE_C_LIBRARY: u64 = 0b11 << 31;
        for set in signals.lines() {
            let set = u64::from_str_radix(set, 16).expect("a set of signals");
            assert_eq!(set & !OF_THE_C_LIBRARY, 0, "blocked or ignored: {signals}");
        }
        let (code, output) = world.exec("web-0", "head -c 100000 /dev/zero | tr '\\0' x").await;
        assert_eq!((code, output.len()), (0, 10 * 1024));
        let number = mark(world);
        let slow = vec!["sleep".to_owned(), number.clone()];
        let outcome = world.backend.exec(&uid("web-0"), "main", slow, Duration::from_millis(200)).await;
        assert_eq!(outcome.expect("a command"), ExecOutcome::TimedOut);
        assert_eq!(sleepers(&number), 0);
        let missing = world.backend.exec(&uid("web-0"), "main", vec!["no-such".into()], crate::world::PATIENCE).await;
        assert!(matches!(missing, Err(BackendError::CannotRun { .. })), "{missing:?}");
        let elsewhere = world.backend.exec(&uid("web-0"), "other", vec!["true".into()], crate::world::PATIENCE).await;
        assert!(matches!(elsewhere, Err(BackendError::NotRunning { .. })), "{elsewhere:?}");
        // Whoever no longer waits for a command ends it.
        let (pod, slow) = (uid("web-0"), vec!["sleep".into(), number.clone()]);
        let abandoned = world.backend.exec(&pod, "main", slow, crate::world::PATIENCE);
        tokio::select! {
            outcome = abandoned => panic!("{outcome:?}"),
            () = until("a sleeper", async || (sleepers(&number) == 1).then_some(())) => {}
        }
        until("no sleeper", async || (sleepers(&number) == 0).then_some(())).await;
    }

    pub(super) async fn a_second_incarnation_waits_for_the_first(world: &World) {
        world.run("web-0", "sleep 1000").await;
        let second = || world.backend.ensure_sandbox(sandbox_spec("web-0", "second"));
        match second().await {
            Err(BackendError::PredecessorAlive { name, uid }) => {
                assert_eq!((name.as_str(), uid.0.as_str()), ("web-0", "web-0"));
            }
            other => panic!("{other:?}"),
        }
        world.backend.remove(&uid("web-0")).await.expect("a removal");
        let state = second().await.expect("a sandbox");
        assert!(state.alive && state.containers.is_empty());
        // Of two that come at the same time one is told to wait.
        world.backend.remove(&uid("second")).await.expect("a removal");
        let (third, fourth) = tokio::join!(
            world.backend.ensure_sandbox(sandbox_spec("web-0", "third")),
            world.backend.ensure_sandbox(sandbox_spec("web-0", "fourth")),
        );
        assert!(third.is_ok() != fourth.is_ok(), "{third:?} {fourth:?}");
    }

    pub(super) async fn addresses_are_not_reused_at_once(world: &World) {
        let first = world.sandbox("web-0").await.ip;
        let second = world.sandbox("web-1").await.ip;
        assert_ne!(first, second);
        assert_eq!(world.sandbox("web-0").await.ip, first);
        world.backend.remove(&uid("web-0")).await.expect("a removal");
        let gone = world.backend.state(&uid("web-0")).await;
        assert!(matches!(gone, Err(BackendError::NoSandbox { .. })), "{gone:?}");
        let third = world.sandbox("web-2").await.ip;
        assert!(third != first && third != second);
    }

    pub(super) async fn signals_reach_the_program_only(world: &World) {
        world.run("web-0", "trap 'echo got; exit 5' TERM; (trap 'echo child' TERM; while :; do sleep 0.05; done) & echo up; while :; do sleep 0.05; done").await;
        world.logged("web-0", "stdout F up").await;
        world.backend.signal(&uid("web-0"), "main", 15).await.expect("a signal");
        assert_eq!(world.exit("web-0").await.exit_code, 5);
        let log = std::fs::read_to_string(world.log("web-0")).expect("a log");
        assert!(log.contains("got") && !log.contains("child"), "{log}");
    }

    pub(super) async fn many_pods_come_and_go_at_once(world: &World) {
        const PODS: usize = 30;
        let names: Vec<String> = (0..PODS).map(|number| format!("web-{number}")).collect();
        let before = tokio::time::Instant::now();
        let pods = futures::future::join_all(names.iter().map(async |name| {
            let pod = world.sandbox(name).await;
            world.start(name, world.container(name, &["sleep", "1000"])).await;
            pod.ip
        }))
        .await;
        let up = before.elapsed();
        assert_eq!(pods.iter().collect::<std::collections::BTreeSet<_>>().len(), PODS, "an address each");
        let before = tokio::time::Instant::now();
        let removed = names.iter().map(async |name| world.backend.remove(&uid(name)).await);
        for outcome in futures::future::join_all(removed).await {
            outcome.expect("a removal");
        }
        println!("  {PODS} pods up in {} ms, down in {} ms", up.as_millis(), before.elapsed().as_millis());
        assert!(world.backend.list().await.expect("a list").is_empty());
    }

    /// A duration of sleep that no other process of the machine sleeps.
    fn mark(world: &World) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{}.{next}", 1000 + std::process::id() + u32::from(world.namespaced()))
    }

    fn sleepers(number: &str) -> usize {
        processes(|line| line.trim_end() == format!("sleep {number}")).len()
    }
}
