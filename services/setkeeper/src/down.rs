//! `setkeeper down`: pods stop in order, then Setkeeper.

use std::io::Write;
use std::time::Duration;

use api::proto::coordinator::v1::DrainRequest;
use rustix::process::{Pid, Signal, kill_process};

use crate::args::{DownArgs, Global};
use crate::client::Client;
use crate::data_dir::DataDir;
use crate::failure::{Explained as _, Failure, Outcome};

/// How long pods get with `--now`.
const NOW_WAIT: Duration = Duration::from_secs(10);

/// How long `setkeeper up` may take to end once it is told to.
const END_WAIT: Duration = Duration::from_secs(60);

/// How often to look whether it has ended. A lock cannot be waited for without taking it.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Stops every pod in order, then the process of `setkeeper up`.
///
/// # Errors
/// Nothing runs, pods do not stop in time, or the process does not end.
pub(crate) async fn down(global: &Global, args: &DownArgs, out: &mut impl Write) -> Outcome {
    let client = Client::new(global)?;
    if let Err(error) = client.check().await {
        let hint = if global.server.is_some() { "" } else { ", which finds the pods that go on; then: setkeeper down" };
        return Err(Failure::Said(format!("{error}{hint}")));
    }
    let wait = if args.now { NOW_WAIT } else { args.timeout };
    match tokio::time::timeout(wait, drain(&client, out)).await {
        Ok(drained) if !args.now => drained?,
        Ok(_) => {}
        Err(_) if args.now => writeln!(out, "not every pod has stopped; those that are left go on")?,
        Err(_) => {
            return Err(Failure::new(format_args!(
                "not every pod has stopped after {wait:?}; Setkeeper goes on. `setkeeper get pods` shows which"
            )));
        }
    }
    out.flush()?;
    let data = DataDir::resolve(global.data_dir.as_deref())?;
    let Some(pid) = (if global.server.is_some() { None } else { data.owner() }) else {
        writeln!(out, "every pod has stopped; the services run as processes of their own and go on")?;
        return Ok(());
    };
    // So that what runs there does not say that pods go on.
    let marked = std::fs::write(data.down_mark(), "");
    let ended = end(&data, pid).await;
    if marked.is_ok() {
        let _gone = std::fs::remove_file(data.down_mark());
    }
    ended?;
    writeln!(out, "Setkeeper has stopped. Objects and volumes stay in {}", data.path().display())?;
    Ok(())
}

async fn drain(client: &Client, out: &mut impl Write) -> Outcome {
    let mut drained = client.system().drain(DrainRequest {}).await.explained(client)?.into_inner();
    while let Some(progress) = drained.message().await.explained(client)? {
        if !progress.stopped.is_empty() {
            writeln!(out, "{} stopped, {} left", progress.stopped, progress.remaining)?;
            out.flush()?;
        }
    }
    Ok(())
}

async fn end(data: &DataDir, pid: i32) -> Outcome {
    let process = Pid::from_raw(pid).ok_or_else(|| Failure::new("the lock file names no process"))?;
    match kill_process(process, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(Failure::new(format_args!("process {pid} cannot be ended: {error}"))),
    }
    let ended = async {
        while data.owner() == Some(pid) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let waited = tokio::time::timeout(END_WAIT, ended).await;
    waited.map_err(|_| Failure::new(format_args!("process {pid} has not ended after {END_WAIT:?}")))
}
