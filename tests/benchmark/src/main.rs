//! Prints what Setkeeper costs on this machine: start-up, memory, size, durable commits, planner calls.
//!
//! It judges nothing. Figures of the store stand beside those of the disk itself, measured in the same directory.

mod disk;
mod planner;
mod samples;
mod startup;
mod store;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use samples::Row;
use service_kit::Target;

/// What to measure.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program whose start-up, memory and size are measured; without it they are left out. Build it with --release.
    #[arg(long)]
    setkeeper: Option<PathBuf>,
    /// Where the program serves its API.
    #[arg(long, default_value = "127.0.0.1:7700")]
    target: Target,
    /// Directory on the disk to measure.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Arguments of the program. Its home is an empty directory.
    #[arg(last = true, default_values_t = [String::from("up")])]
    arguments: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        println!("note: built without optimisation, so figures are worse than what is shipped");
    }
    let scratch = tempfile::TempDir::new_in(&arguments.directory).context("no scratch directory")?;
    print_section("disk", &disk::measure(scratch.path())?);
    print_section("store (1 KiB values, 10,000 keys)", &store::measure(scratch.path()).await?);
    print_section("planner over loopback", &planner::measure().await?);
    if let Some(program) = &arguments.setkeeper {
        let subject = startup::Subject { program, arguments: &arguments.arguments, target: &arguments.target };
        print_section("program", &startup::measure(&subject, scratch.path()).await?);
    }
    Ok(())
}

fn print_section(title: &str, rows: &[Row]) {
    println!("\n{title:<52} {:>14} {:>11} {:>11}", "", "p50", "p99");
    for row in rows {
        println!("  {:<50} {:>14} {:>11} {:>11}", row.name, row.value, row.p50, row.p99);
    }
}
