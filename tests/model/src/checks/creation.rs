//! S1, S3, S6: before a pod is created.

use domain::{Ordinal, pod_name};

use super::{ORDINALS_MAX, View, Violation, hold};

/// S1: at most one pod of an ordinal; its successor is created only when it is gone.
pub fn s1_at_most_one(view: &View, ordinal: usize) -> Result<(), Violation> {
    hold("S1", view.pods[ordinal].is_none(), || format!("pod {ordinal} is created and exists"))
}

/// S1: no pod is created while an earlier one of its ordinal runs, stored or not.
pub fn s1_predecessor_has_ended(ordinal: usize, runs: bool) -> Result<(), Violation> {
    hold("S1", !runs, || format!("pod {ordinal} is created, and its predecessor runs on a silent machine"))
}

/// S2: a pod is taken for a member exactly if this incarnation of the set controls it and selects it, as `ours` says, and
/// its name is the one that the set gives to that ordinal. Names are written, not read, to find that out.
pub fn s2_members_are_ours(set: &str, name: &str, ours: bool, taken_for: Option<Ordinal>) -> Result<(), Violation> {
    let own = (0..ORDINALS_MAX as u32).map(Ordinal).find(|ordinal| pod_name(set, *ordinal) == name);
    let member = own.filter(|_| ours);
    hold("S2", taken_for == member, || {
        format!("{name} is taken for the pod of {taken_for:?}, and is that of {member:?}")
    })
}

/// S2: no pod is created under a name that somebody has.
pub fn s2_no_name_twice(ordinal: usize, taken: bool) -> Result<(), Violation> {
    hold("S2", !taken, || format!("pod {ordinal} is created, and another pod has its name"))
}

/// S3: in order, no pod is created before every lower one in range is available; save where a set has lost all its pods, or the
/// lowest that is not healthy makes no headway, or, if it was complete once, no more of those that an update may replace are
/// down than it may take down: those that were healthy together come back together.
pub fn s3_predecessors_are_available(view: &View, ordinal: usize) -> Result<(), Violation> {
    hold("S3", view.in_range[ordinal], || format!("pod {ordinal} is created out of range"))?;
    hold("S3", !view.stopping, || format!("pod {ordinal} is created while the set stops"))?;
    let outage = !view.range().any(|member| view.healthy(member) && view.company & (1 << member) == 0);
    let together = (outage || view.is_stalled())
        && view.switches.break_cold_start
        && view.formed.is_some_and(|formed| ordinal <= formed);
    let missed = view.range().take_while(|lower| *lower < ordinal).find(|lower| !view.healthy(*lower));
    let again = missed.is_some_and(|lowest| view.updatable(lowest) && s3_was_taken_down(view));
    if !view.ordered || together || again {
        return Ok(());
    }
    hold("S3", missed.is_none(), || format!("pod {ordinal} is created before pod {missed:?} is available"))
}

/// Whether an update may have taken down all that a set misses which was complete once. That one is under way is not asked:
/// the very pass that creates may have found that it was taken back.
fn s3_was_taken_down(view: &View) -> bool {
    let rolls = view.switches.recreate_together && !view.on_delete && !view.paused;
    let were_members = view.range().last() <= view.formed;
    rolls && were_members && view.unavailable() <= view.max_unavailable
}

/// S6: on the update side of the partition a pod comes back at the update revision, below it at the current one. Under
/// OnDelete every pod does at the update revision. While the set is paused it is one of the two: a lost pod brings no
/// update that was not there.
pub fn s6_revision_follows_the_partition(view: &View, ordinal: usize, revision: u8) -> Result<(), Violation> {
    if view.paused {
        let known = revision == view.update || revision == view.current || !view.current_recorded;
        return hold("S6", known, || format!("pod {ordinal} is created at a revision that is not in use"));
    }
    let updated = view.on_delete || view.updatable(ordinal);
    let wanted = if updated { view.update } else { view.current };
    let side = if updated { "the update" } else { "the current" };
    let unknown = !updated && !view.current_recorded;
    hold("S6", unknown || revision == wanted, || {
        format!("pod {ordinal} is created at another revision than {side} one")
    })
}
