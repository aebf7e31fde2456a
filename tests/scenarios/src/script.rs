//! Scenarios as text.
//!
//! A scenario is a list of lines `events -> actions | status`, one pass each:
//!
//! ```text
//! image=B        -> delete 2@A | 3/3/3/2/0 A>B [A=1 B=2]
//! gone(2)        -> create 2@B | 2/2/2/2/0
//! ready(2) +10s  -> none | (no write)
//! ```
//!
//! Status is replicas/ready/available/current/updated, then current>update revision, then the stored revisions with
//! their numbers, all as stored after the pass; what is left out is not checked. `delete 2@A` means the pod of ordinal 2
//! at revision A.

use std::time::Duration;

use domain::{IntOrPercent, Intent, Ordinal, Phase, PodManagementPolicy, RollingUpdate, Switches, UpdateStrategy};

use crate::world::{Pass, World};

/// Kubernetes 1.37 exactly.
pub const KUBERNETES: &[Switches] = &[Switches::KUBERNETES];
/// With every mend.
pub const SETKEEPER: &[Switches] = &[Switches::SETKEEPER];
/// Where both do the same.
pub const BOTH: &[Switches] = &[Switches::KUBERNETES, Switches::SETKEEPER];

/// Runs a scenario: the events of `given` on a new standard set, then each line of `script`.
///
/// # Panics
/// At the first line that goes otherwise, or breaks an invariant.
pub fn run(profiles: &[Switches], given: &str, script: &str) {
    for switches in profiles {
        let mut world = World::new(*switches);
        play(&mut world, given);
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            step(&mut world, line);
        }
    }
}

/// Lets events happen that are separated by blanks, as on the left of an arrow.
///
/// # Panics
/// Where there is no such event.
pub fn play(world: &mut World, events: &str) {
    events.split_whitespace().for_each(|event| happen(world, event));
}

/// Plays one line.
fn step(world: &mut World, line: &str) {
    let (events, expected) = line.split_once("->").unwrap_or_else(|| panic!("no arrow in `{line}`"));
    let (actions, status) = expected.split_once('|').unwrap_or((expected, ""));
    play(world, events);
    let pass = world.pass();
    let place = || format!("at `{line}` with {:?}\n{:#?}\n{:#?}", world.switches, pass.update, pass.ordinals);
    assert_eq!(pass.actions, actions.trim(), "actions {}", place());
    if let Err(error) = compare(world, &pass, status) {
        panic!("{error} {}", place());
    }
}

/// Compares the parts of the status that are given.
fn compare(world: &World, pass: &Pass, expected: &str) -> Result<(), String> {
    let (expected, no_write) = match expected.split_once("(no write)") {
        Some((before, _)) => (before, true),
        None => (expected, false),
    };
    if no_write && pass.wrote {
        return Err("wrote the status".to_owned());
    }
    let (expected, history) = match expected.split_once('[') {
        Some((before, history)) => (before, history.split(']').next()),
        None => (expected, None),
    };
    let status = &world.status;
    let image = |revision| world.image_of(Some(revision));
    for word in expected.split_whitespace() {
        let actual = if word.contains('>') {
            format!("{}>{}", image(&status.current_revision), image(&status.update_revision))
        } else {
            let counts = [
                status.replicas,
                status.ready_replicas,
                status.available_replicas,
                status.current_replicas,
                status.updated_replicas,
            ];
            counts.map(|count| count.to_string()).join("/")
        };
        if actual != word {
            return Err(format!("status is {actual}, not {word}"));
        }
    }
    match history {
        Some(history) if world.history() != history => Err(format!("revisions are [{}]", world.history())),
        _ => Ok(()),
    }
}

/// Lets one event happen, or changes the set.
fn happen(world: &mut World, event: &str) {
    if let Some(seconds) = event.strip_prefix('+').and_then(|rest| rest.strip_suffix('s')) {
        world.advance(Duration::from_secs(number(seconds).into()));
    } else if let Some((name, argument)) = event.strip_suffix(')').and_then(|event| event.split_once('(')) {
        happen_to(world, name, argument);
    } else if let Some((field, value)) = event.split_once('=') {
        set(world, field, value);
    } else {
        command(world, event);
    }
}

/// Something happens to one pod or revision.
fn happen_to(world: &mut World, event: &str, argument: &str) {
    if event == "forget" {
        let name = world.revisions.iter().find(|revision| world.image_of(Some(&revision.name)) == argument);
        let name = name.expect("a stored revision").name.clone();
        return world.revisions.retain(|revision| revision.name != name);
    }
    let ordinal = Ordinal(number(argument));
    match event {
        "ready" => world.observe(ordinal, Phase::Running, true),
        "broken" => world.observe(ordinal, Phase::Running, false),
        "failed" => world.observe(ordinal, Phase::Failed, false),
        "succeeded" => world.observe(ordinal, Phase::Succeeded, false),
        "unknown" => world.observe(ordinal, Phase::Unknown, false),
        "term" => world.terminate(ordinal),
        "gone" => drop(world.pods.remove(&ordinal)),
        "unlabel" => world.pod_mut(ordinal).revision = None,
        "adopt" => world.adopt(ordinal, "X"),
        _ => panic!("unknown event {event}({argument})"),
    }
}

/// Somebody changes the set.
fn set(world: &mut World, field: &str, value: &str) {
    match field {
        "image" => world.roll(value),
        "replicas" => world.change(|spec| spec.replicas = number(value)),
        "start" => world.change(|spec| spec.start = Ordinal(number(value))),
        "min" => world.change(|spec| spec.min_ready_seconds = number(value)),
        "limit" => world.change(|spec| spec.revision_history_limit = value.parse().expect("a limit")),
        "reserve" => world.change(|spec| spec.reserved = value.split(',').map(|text| Ordinal(number(text))).collect()),
        "deadline" => world.change(|spec| spec.progress_deadline_seconds = number(value)),
        "partition" => world.change_block(|block| block.partition = number(value)),
        "mu" if value == "none" => world.change_block(|block| block.max_unavailable = None),
        "mu" => {
            let percent = value.strip_suffix('%').map(|share| IntOrPercent::Percent(number(share)));
            let budget = percent.unwrap_or_else(|| IntOrPercent::Int(number(value)));
            world.change_block(|block| block.max_unavailable = Some(budget));
        }
        _ => panic!("unknown field {field}"),
    }
}

/// Single words.
fn command(world: &mut World, word: &str) {
    match word {
        "settled" => world.settle(),
        "Parallel" => world.change(|spec| spec.policy = PodManagementPolicy::Parallel),
        "OnDelete" => world.change(|spec| spec.strategy = UpdateStrategy::OnDelete),
        "RollingUpdate" => {
            let block = RollingUpdate { partition: 0, max_unavailable: Some(IntOrPercent::Int(1)) };
            world.change(|spec| spec.strategy = UpdateStrategy::RollingUpdate(Some(block)));
        }
        "paused" => world.change(|spec| spec.paused = true),
        "resumed" => world.change(|spec| spec.paused = false),
        "OrderedReady" => world.change(|spec| spec.policy = PodManagementPolicy::OrderedReady),
        "no-block" => world.change(|spec| spec.strategy = UpdateStrategy::RollingUpdate(None)),
        "drained" => world.intent = Intent::Drain,
        "deleted" => world.intent = Intent::Delete,
        "recreated" => {
            world.status = domain::SetStatus::default();
            world.generation = 1;
        }
        "defaulted" => {
            world.image.push('\'');
            world.equal_after_defaulting = true;
        }
        _ => panic!("unknown word {word}"),
    }
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}
