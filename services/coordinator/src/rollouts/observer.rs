//! Watches what changes, and records the spans of rollouts.

use std::sync::Arc;
use std::time::Duration;

use api::manifest::Kind;
use service_kit::{Context, telemetry};
use tokio::sync::broadcast::error::RecvError;

use super::timeline::Timeline;
use crate::names::Names;
use crate::objects::time;
use crate::world::{Change, Commit, Object, World};

/// Name of the service whose spans these are.
pub(super) const SERVICE: &str = "coordinator";

/// How long nothing may be looked at where nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// Records until shutdown; where nothing is recorded, only waits for that.
pub(crate) async fn run(world: Arc<World>, names: Arc<Names>, context: Context) {
    if !telemetry::is_recording() {
        context.shutdown.cancelled().await;
        return;
    }
    let mut commits = world.subscribe();
    let mut published = names.published();
    let mut timeline = Timeline::default();
    resume(&mut timeline, &world, &context, true);
    loop {
        timeline.take().into_iter().for_each(|span| span.record(SERVICE));
        let now = context.clock.now();
        let sleep = timeline.next().map_or(IDLE, |next| next.since(now));
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            commit = commits.recv() => match commit {
                Ok(commit) => see(&mut timeline, &context, &commit),
                // What was missed is read again, and told with the times that are stored.
                Err(RecvError::Lagged(_)) => {
                    timeline = timeline.anew();
                    resume(&mut timeline, &world, &context, false);
                }
                Err(RecvError::Closed) => break,
            },
            Ok(()) = published.changed() => {
                let revision = *published.borrow_and_update();
                timeline.published(context.clock.now(), revision);
            }
            () = context.clock.sleep(sleep) => timeline.passed(context.clock.now()),
        }
    }
    timeline.take().into_iter().for_each(|span| span.record(SERVICE));
}

fn see(timeline: &mut Timeline, context: &Context, commit: &Commit) {
    let now = context.clock.now();
    // Sets first: a pod that the same commit makes belongs to the rollout that it stores.
    let of = |kind: Kind| commit.changes.iter().filter(move |change| change.key.kind == kind);
    for (change, set) in of(Kind::StatefulSet).filter_map(latest) {
        timeline.set_changed(now, set, change.new.is_some());
    }
    for (change, pod) in of(Kind::Pod).filter_map(latest) {
        timeline.pod_changed(now, pod, change.new.is_some(), commit.revision);
    }
    for (_, record) in of(Kind::Decision).filter(|change| change.new.is_some()).filter_map(latest) {
        if let Some(set) = record.owner_uids().next() {
            timeline.decided(now, set, &record.value);
        }
    }
}

/// What an object is now, or was last.
fn latest(change: &Change) -> Option<(&Change, &Object)> {
    Some((change, change.new.as_deref().or(change.old.as_deref())?))
}

/// Reads what is under way; `started`: after the start of this process.
fn resume(timeline: &mut Timeline, world: &World, context: &Context, started: bool) {
    let now = context.clock.now();
    for set in world.list(Kind::StatefulSet, None) {
        let owned = world.owned_by(&set.uid().0);
        let pods: Vec<&Object> = owned.iter().filter(|one| one.kind() == Kind::Pod).map(|pod| &**pod).collect();
        let decisions = owned.iter().filter(|one| started && one.kind() == Kind::Decision);
        let decided = decisions.filter_map(|record| time(record.text("/metadata/creationTimestamp"))).max();
        timeline.resume(now, &set, &pods, decided);
    }
}
