//! The program as people start it: from exec to an API that serves, memory at rest, and its size.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use service_kit::{Target, connect};

use crate::samples::{Row, Samples, now};
use crate::usage::resident_kib;

/// Starts on an empty home, and on one that is there.
const STARTS: usize = 10;
/// A program that takes longer does not start.
const START_MAX: Duration = Duration::from_secs(30);
/// A program that takes longer does not stop by itself.
const STOP_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);
/// One question of health, including the connection.
const CALL_MAX: Duration = Duration::from_secs(1);
/// Until start-up's own work has ended.
const SETTLE: Duration = Duration::from_secs(2);

/// What is started, and how to tell that it serves.
pub(crate) struct Subject<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    pub(crate) target: &'a Target,
}

pub(crate) async fn measure(subject: &Subject<'_>, scratch: &Path) -> anyhow::Result<Vec<Row>> {
    let (mut first, mut again) = (Samples::default(), Samples::default());
    let mut resident = Vec::new();
    for round in 0..STARTS {
        let home = scratch.join(format!("home-{round}"));
        std::fs::create_dir(&home)?;
        let (took, program) = start(subject, &home).await?;
        first.0.push(took);
        stop(program).await?;
        let (took, program) = start(subject, &home).await?;
        again.0.push(took);
        if round == 0 {
            tokio::time::sleep(SETTLE).await;
            resident = memory(&program)?;
        }
        stop(program).await?;
    }
    let size = std::fs::metadata(subject.program)?.len() as f64 / 1048576.0;
    let mut rows =
        vec![Row::latency("exec to SERVING, first start", first), Row::latency("exec to SERVING, again", again)];
    rows.append(&mut resident);
    rows.push(Row::value("size of the program", format!("{size:.1} MiB")));
    Ok(rows)
}

async fn start(subject: &Subject<'_>, home: &Path) -> anyhow::Result<(Duration, Program)> {
    anyhow::ensure!(!serves(subject.target).await, "something else already serves at {}", subject.target);
    let mut command = Command::new(subject.program);
    command.args(subject.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Root's data is not below its home: without this, root's own pods and objects would be measured.
    command.env("SETKEEPER_DATA_DIR", home.join("data"));
    command.env("HOME", home).env_remove("XDG_STATE_HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_RUNTIME_DIR");
    let start = now();
    let child = command.spawn().with_context(|| format!("cannot start {}", subject.program.display()))?;
    let mut program = Program(child);
    while !serves(subject.target).await {
        if let Some(status) = program.0.try_wait()? {
            anyhow::bail!("{} ended before it served: {status}", subject.program.display());
        }
        anyhow::ensure!(now() - start < START_MAX, "does not serve at {} after {START_MAX:?}", subject.target);
        tokio::time::sleep(POLL).await;
    }
    Ok((now() - start, program))
}

/// Each question is on a connection of its own, so that no back-off of a failed one is measured.
async fn serves(target: &Target) -> bool {
    let question = service_kit::health(connect(target, None));
    matches!(tokio::time::timeout(CALL_MAX, question).await, Ok(Ok(true)))
}

async fn stop(mut program: Program) -> anyhow::Result<()> {
    kill_process(Pid::from_child(&program.0), Signal::TERM)?;
    let start = now();
    while program.0.try_wait()?.is_none() {
        anyhow::ensure!(now() - start < STOP_MAX, "does not stop within {STOP_MAX:?}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// A started program, which does not outlive its measurement.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a program that has ended, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn memory(program: &Program) -> anyhow::Result<Vec<Row>> {
    let own = resident_kib(program.0.id())?;
    let mut all = 0;
    let mut pending = vec![program.0.id()];
    while let Some(pid) = pending.pop() {
        all += resident_kib(pid).unwrap_or(0); // It may have ended by now.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        pending.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    let row = |name, kib: u64| Row::value(name, format!("{:.1} MiB", kib as f64 / 1024.0));
    Ok(vec![row("resident memory at rest", own), row("the same with its child processes", all)])
}
