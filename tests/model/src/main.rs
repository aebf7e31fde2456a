//! The long run: more ordinals, more edits, more faults than the tests have time for.

use std::process::ExitCode;

use clap::Parser;
use domain::RetentionRule;
use model::exhaustive::peers::Peers;
use model::exhaustive::{Config, search::search};

/// Visits every state of a small set with the real planners, checks the safety rules at every commit, and heals the set
/// from every state.
#[derive(Debug, Parser)]
struct Arguments {
    /// Ordinals the set may have.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=4))]
    ordinals: u8,
    /// Edits of template, replicas and strategy.
    #[arg(long, default_value_t = 2)]
    edits: u8,
    /// Faults: pods that break, end or are deleted, plans that are lost, coordinators that lag.
    #[arg(long, default_value_t = 1)]
    faults: u8,
    /// Pods that an update may take down at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    max_unavailable: u8,
    /// Create and delete all at once, instead of in order.
    #[arg(long)]
    parallel: bool,
    /// Update pods only when somebody deletes them, instead of one after another.
    #[arg(long)]
    on_delete: bool,
    /// Give each ordinal a claim that goes after a scale-down; people then only scale, and change what becomes of claims.
    #[arg(long)]
    claims: bool,
    /// Let pods turn up that are not the set's.
    #[arg(long)]
    strangers: bool,
    /// The programs need each other: each is ready only while all run.
    #[arg(long)]
    peers: bool,
    /// Pods must stay ready for a while to be available.
    #[arg(long)]
    soak: bool,
}

fn main() -> ExitCode {
    let Arguments { ordinals, edits, faults, max_unavailable, parallel, on_delete, claims, strangers, peers, soak } =
        Arguments::parse();
    let kind = if parallel { Config::parallel() } else { Config::ordered() };
    let kind = if on_delete { kind.on_delete() } else { kind };
    let kind = if claims { kind.with_claims(RetentionRule::Delete) } else { kind };
    let kind = if peers { kind.with_peers(Peers::Needed) } else { kind };
    let report = search(&Config { ordinals, edits, faults, max_unavailable, strangers, soak, ..kind });
    println!("{report}");
    if report.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
