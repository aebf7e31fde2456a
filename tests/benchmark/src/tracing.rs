//! What it costs to be watched: the life of a set of one hundred with traces and without, by turns, each in a process of
//! its own, since a process is traced or it is not.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use support::Collector;
use tokio::process::Command;

use crate::rollout::{Between, Cost, life};
use crate::samples::Row;

/// What the other process is told to do.
pub(crate) const ONE_LIFE: &str = "--one-life";

/// Prints what the three rollouts of one life cost together, in microseconds: wall, then processor.
pub(crate) async fn one_life(directory: &Path) -> anyhow::Result<()> {
    let (rollouts, _) = life(directory, Between::OneProcess, 1).await?;
    let costs: Vec<Cost> = rollouts.into_iter().flat_map(|rollout| rollout.costs).collect();
    let wall: Duration = costs.iter().map(|cost| cost.wall).sum();
    let processor: Duration = costs.iter().map(|cost| cost.processor).sum();
    println!("{} {}", wall.as_micros(), processor.as_micros());
    Ok(())
}

/// Medians of both, and their ratios.
pub(crate) async fn measure(directory: &Path, runs: usize) -> anyhow::Result<Vec<Row>> {
    let collector = Collector::start();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        without.push(other_process(directory, None).await?);
        with.push(other_process(directory, Some(collector.endpoint())).await?);
    }
    let spans = collector.spans().len() / runs.max(1);
    ensure!(spans > 0, "no span arrived");
    let row = |what: &str, of: fn(&(f64, f64)) -> f64| {
        let (off, on) = (median(&without, of), median(&with, of));
        let value = format!("{off:.3} s, {on:.3} s: {:.2}", on / off);
        Row::value(&format!("{what} without, with: ratio"), value)
    };
    let count = Row::value("spans of 300 steps", spans.to_string());
    Ok(vec![row("wall", |cost| cost.0), row("processor", |cost| cost.1), count])
}

fn median(costs: &[(f64, f64)], of: fn(&(f64, f64)) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of wall and processor of one life in another process.
async fn other_process(directory: &Path, endpoint: Option<&str>) -> anyhow::Result<(f64, f64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ONE_LIFE).arg("--directory").arg(directory).stderr(Stdio::inherit()).kill_on_drop(true);
    command.args(endpoint.into_iter().flat_map(|endpoint| ["--otlp-endpoint", endpoint]));
    let output = command.output().await?;
    ensure!(output.status.success(), "the other process failed: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().last().context("it printed nothing")?;
    let (wall, processor) = line.split_once(' ').with_context(|| format!("it printed {line:?}"))?;
    Ok((wall.parse::<f64>()? / 1e6, processor.parse::<f64>()? / 1e6))
}
