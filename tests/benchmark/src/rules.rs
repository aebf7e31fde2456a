//! What the rules of the planners cost without anything around them: both as functions, for a set as large as sets get, in
//! every policy, strategy and state that decides how much there is to look at.

use std::time::Duration;

use domain::{
    Ordinal, OrdinalRequest, Phase, Pod, PodManagementPolicy, Revision, RevisionName, RollingUpdate, SetRef, SetSpec,
    Snapshot, Timestamp, Uid, UpdateRequest, UpdateStrategy,
};

use crate::usage;

/// Ordinals of the set.
const ORDINALS: u32 = 5_000;
/// Ordinals that are missing, or left out, in the states that have some.
const SOME: u32 = 100;
/// Calls that are timed together: the kernel counts processor time in steps that are not much shorter than one.
const CALLS: u32 = 100;

/// The revisions from and to which the set is updated.
const REVISIONS: [&str; 2] = ["web-5d8f9b7c6d", "web-7c9d8b6f5e"];
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A state of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    SomeMissing,
    Missing,
    Outdated,
    /// The upper half is updated, one pod of it is not ready; some ordinals are left out.
    HalfUpdated,
}

const STATES: [State; 5] = [State::Present, State::SomeMissing, State::Missing, State::Outdated, State::HalfUpdated];

/// What the columns of [`measure`] are about.
pub(crate) const COLUMNS: [&str; 5] =
    ["all present", "100 missing", "all missing", "all outdated", "half, 100 left out"];

/// Title of the table.
pub(crate) fn title() -> String {
    format!("processor time of one plan for {ORDINALS} ordinals")
}

/// Processor time of one plan, by planner, policy and strategy, in each state.
pub(crate) fn measure() -> anyhow::Result<Vec<(String, Vec<Duration>)>> {
    let rolling = UpdateStrategy::RollingUpdate(Some(RollingUpdate { partition: 0, max_unavailable: None }));
    let mut rows = Vec::new();
    for policy in [PodManagementPolicy::OrderedReady, PodManagementPolicy::Parallel] {
        for (strategy, called) in [(&rolling, "RollingUpdate"), (&UpdateStrategy::OnDelete, "OnDelete")] {
            let (mut update, mut order) = (Vec::new(), Vec::new());
            for state in STATES {
                let request = request(state, policy, strategy);
                update.push(timed(|| update_planner::plan::plan(&request))?);
                let targets = update_planner::plan::plan(&request).targets;
                let request = OrdinalRequest { snapshot: request.snapshot, targets };
                order.push(timed(|| ordinal_scheduler::plan::plan(&request))?);
            }
            rows.push((format!("update-planner, {policy:?}, {called}"), update));
            rows.push((format!("ordinal-scheduler, {policy:?}, {called}"), order));
        }
    }
    Ok(rows)
}

/// Processor time of one call.
fn timed<T>(call: impl Fn() -> T) -> anyhow::Result<Duration> {
    let before = usage::of_thread()?;
    for _ in 0..CALLS {
        std::hint::black_box(call());
    }
    Ok((usage::of_thread()? - before) / CALLS)
}

fn request(state: State, policy: PodManagementPolicy, strategy: &UpdateStrategy) -> UpdateRequest {
    let reserved = if state == State::HalfUpdated { SOME } else { 0 };
    let reserved = (0..reserved).map(|place| Ordinal(place * 7)).collect();
    let spec = SetSpec { replicas: ORDINALS, policy, strategy: strategy.clone(), reserved, ..SetSpec::default() };
    let exists = |ordinal: &Ordinal| match state {
        State::Missing => false,
        State::SomeMissing => !ordinal.0.is_multiple_of(ORDINALS / SOME),
        State::Present | State::Outdated | State::HalfUpdated => true,
    };
    let pods = spec.ordinals().filter(exists).map(|ordinal| pod(ordinal, state)).collect();
    let [old, new] = REVISIONS.map(|name| RevisionName(name.into()));
    let updates = matches!(state, State::Outdated | State::HalfUpdated);
    let update = if updates { &new } else { &old };
    let revision = |name: &RevisionName, number| Revision {
        name: name.clone(),
        number,
        data: format!("template {name}"),
        created_at: NOW,
    };
    let revisions = [(&old, 1), (&new, 2)].into_iter().take(if updates { 2 } else { 1 });
    let mut snapshot = Snapshot {
        set: SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("1".to_owned()) },
        pods,
        spec,
        now: NOW,
        ..Snapshot::default()
    };
    snapshot.status.current_revision = old.clone();
    snapshot.status.update_revision = update.clone();
    UpdateRequest {
        snapshot,
        template: format!("template {update}"),
        revisions: revisions.map(|(name, number)| revision(name, number)).collect(),
        ..UpdateRequest::default()
    }
}

fn pod(ordinal: Ordinal, state: State) -> Pod {
    let updated = state == State::HalfUpdated && ordinal.0 >= ORDINALS / 2;
    Pod {
        ordinal,
        uid: Uid(format!("00000000-0000-4000-8000-{:012}", ordinal.0)),
        version: u64::from(ordinal.0) + 1,
        phase: Phase::Running,
        ready: state != State::HalfUpdated || ordinal.0 != ORDINALS / 2,
        ready_since: Some(NOW),
        revision: Some(RevisionName(REVISIONS[usize::from(updated)].into())),
        created_at: NOW,
        ..Pod::default()
    }
}
