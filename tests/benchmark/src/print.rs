//! The tables.

use std::time::Duration;

use crate::rollout::{Cost, Growth, Kubernetes, Rollout};
use crate::samples::Row;

/// Rows of one value and two percentiles.
pub(crate) fn section(title: &str, rows: &[Row]) {
    println!("\n{title:<52} {:>14} {:>11} {:>11}", "", "p50", "p99");
    for row in rows {
        println!("  {:<50} {:>14} {:>11} {:>11}", row.name, row.value, row.p50, row.p99);
    }
}

/// Times, by row and column.
pub(crate) fn table(title: &str, columns: &[&str], rows: &[(String, Vec<Duration>)]) {
    let line = |name: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>18}")).collect();
        println!("{name:<52}{cells}");
    };
    println!();
    line(title, &columns.iter().map(ToString::to_string).collect::<Vec<_>>());
    for (name, times) in rows {
        line(&format!("  {name}"), &times.iter().map(|time| each(*time, 1)).collect::<Vec<_>>());
    }
}

/// Rollouts: medians, beside what a Kubernetes control plane takes.
pub(crate) fn rollouts(runs: usize, rollouts: &[Rollout]) {
    println!(
        "\n{:<48} {:>9} {:>9} {:>9} {:>11} {:>11} {:>8}   {:<30}",
        format!("rollouts, median of {runs}"),
        "wall",
        "best",
        "worst",
        "per ordinal",
        "processor",
        "commits",
        "Kubernetes 1.36: lifted, default; how many times faster"
    );
    for rollout in rollouts {
        let mut walls: Vec<_> = rollout.costs.iter().map(|cost| cost.wall).collect();
        let mut processors: Vec<_> = rollout.costs.iter().map(|cost| cost.processor).collect();
        let mut commits: Vec<_> = rollout.costs.iter().map(|cost| cost.commits).collect();
        commits.sort_unstable();
        walls.sort_unstable();
        processors.sort_unstable();
        let (Some(best), Some(worst)) = (walls.first(), walls.last()) else { continue };
        let median = walls[walls.len() / 2];
        let times = |theirs: f64| theirs / median.as_secs_f64();
        let kubernetes = rollout.kubernetes.map(|Kubernetes { lifted, default }| {
            format!("{lifted:.2} s, {default:.1} s; {:.1}, {:.0}", times(lifted), times(default))
        });
        println!(
            "  {:<46} {:>9} {:>9} {:>9} {:>11} {:>11} {:>8}   {:<30}",
            rollout.name,
            seconds(median),
            seconds(*best),
            seconds(*worst),
            each(median, rollout.ordinals),
            seconds(processors[processors.len() / 2]),
            commits[commits.len() / 2],
            kubernetes.unwrap_or_default()
        );
    }
}

/// How the cost of one ordinal grows with the size of its set.
pub(crate) fn growth(sizes: &[Growth], patience: Duration) {
    println!(
        "\n{:<48} {:>9} {:>11} {:>11} {:>14} {:>8} {:>11}",
        "growth of one set", "wall", "per ordinal", "processor", "per ordinal", "ratio", "memory"
    );
    for size in sizes {
        let name = format!("create 1 set x {} {}", size.replicas, size.shape.name());
        let Some(Cost { wall, processor, .. }) = size.cost else {
            println!("  {name:<46} left out: it would take more than {patience:?} (see --growth-seconds)");
            continue;
        };
        let ratio = size.ratio().unwrap_or_default();
        println!(
            "  {name:<46} {:>9} {:>11} {:>11} {:>14} {ratio:>8.2} {:>11}",
            seconds(wall),
            each(wall, size.replicas),
            seconds(processor),
            each(processor, size.replicas),
            format!("{:.0} MiB", size.resident_kib as f64 / 1024.0)
        );
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

fn each(duration: Duration, ordinals: u32) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0 / f64::from(ordinals.max(1)))
}
