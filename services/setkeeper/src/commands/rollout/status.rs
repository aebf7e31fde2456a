//! `rollout status`.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use api::manifest::Kind;
use api::rollout::{Progress, Rollout, progress, rollout, trace_id};
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use serde_json::Value;

use crate::args::{Global, RolloutStatusArgs};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};

/// How often the live line moves: people see that it lives.
const TICK: Duration = Duration::from_millis(120);

/// The live line. What does not fit the terminal is cut.
const LIVE: &str = "{spinner} {elapsed:>4} [{bar:12}] {wide_msg}";

/// Shows how far a rolling update is, until it is done.
///
/// # Errors
/// The set does not exist or is deleted meanwhile, its strategy knows no progress, it exceeds its deadline, or the time
/// is up.
pub(super) async fn status(
    client: &Client,
    global: &Global,
    args: &RolloutStatusArgs,
    out: &mut impl Write,
) -> Outcome {
    let name = super::one(&args.what)?;
    let mut shown = Shown::default();
    let following = follow(client, global.namespace(), &name, args.watch, &mut shown, out);
    match args.timeout {
        Some(timeout) if timeout > Duration::ZERO => match tokio::time::timeout(timeout, following).await {
            Ok(followed) => followed,
            Err(_) if shown.why.is_empty() => Err(Failure::new("timed out waiting for the condition")),
            Err(_) => Err(Failure::new(format_args!("timed out waiting for the condition: {}", shown.why))),
        },
        _ => following.await,
    }
}

async fn follow(
    client: &Client,
    namespace: &str,
    name: &str,
    watch: bool,
    shown: &mut Shown,
    out: &mut impl Write,
) -> Outcome {
    // Says that there is no such set, where there is none.
    let set = client.get(Kind::StatefulSet, namespace, name).await.explained(client)?;
    if show(&set, shown, out)? || !watch {
        return Ok(());
    }
    shown.go_live(&set);
    let mut changes = client.watch(Kind::StatefulSet, namespace, name, "", 0).await.explained(client)?;
    while let Some(change) = changes.next().await {
        let change = change.explained(client)?;
        match change.kind.as_str() {
            "DELETED" => return Err(Failure::new("object has been deleted")),
            "BOOKMARK" => {}
            _ if show(&change.object, shown, out)? => return Ok(()),
            _ => {}
        }
    }
    Err(Failure::new("the server ended the watch before the rollout was done"))
}

/// What whoever looks has seen.
#[derive(Default)]
struct Shown {
    line: String,
    trace: String,
    why: String,
    live: Option<ProgressBar>,
}

impl Shown {
    /// On a terminal a line below the others lives.
    fn go_live(&mut self, set: &Value) {
        if !std::io::stdout().is_terminal() {
            return;
        }
        let style = ProgressStyle::with_template(LIVE).expect("a constant that is right");
        let live = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout())
            .with_style(style.progress_chars("=> "))
            .with_finish(ProgressFinish::AndClear);
        update(&live, &progress(set));
        live.enable_steady_tick(TICK);
        self.live = Some(live);
    }
}

fn update(live: &ProgressBar, progress: &Progress) {
    live.set_length(progress.wanted);
    live.set_position(progress.done);
    live.set_message(progress.text.clone());
}

/// Prints what is new; returns whether it is done.
fn show(set: &Value, shown: &mut Shown, out: &mut impl Write) -> Outcome<bool> {
    let (text, done) = match rollout(set) {
        Rollout::Waiting(text) => (text, false),
        Rollout::Done(text) => (text, true),
        Rollout::Stuck(text) | Rollout::Unavailable(text) => return Err(Failure::new(text)),
    };
    let progress = progress(set);
    if done {
        // The live line goes before the last word.
        shown.live = None;
    }
    if let Some(live) = &shown.live {
        update(live, &progress);
    }
    // Where no line lives, what holds it up has a line of its own.
    let news = match shown.live {
        None if !done && progress.held && !progress.why.is_empty() && progress.why != shown.why => {
            format!("  {}\n", progress.why)
        }
        _ => String::new(),
    };
    shown.why = progress.why;
    let mut line = if text == shown.line { String::new() } else { format!("{text}\n") };
    if let Some(trace) = trace_id(set).filter(|trace| *trace != shown.trace) {
        line.push_str(&format!("  trace {trace}\n"));
        shown.trace = trace.to_owned();
    }
    if !line.is_empty() || !news.is_empty() {
        let mut print = || write!(out, "{line}{news}").and_then(|()| out.flush());
        match &shown.live {
            Some(live) => live.suspend(print),
            None => print(),
        }?;
        shown.line = text;
    }
    Ok(done)
}
