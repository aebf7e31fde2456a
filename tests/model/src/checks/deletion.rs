//! S4, S5, S7, S8, S13: before a pod is deleted.

use super::{PodView, View, Violation, hold};

/// Why a pod is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It has ended, and comes back.
    Ended,
    /// It is out of range, or the set stops.
    ScaleDown,
    /// It is outdated.
    Update,
}

/// S4: in order, a condemned pod goes when every higher one is gone and every pod in range is available; or the lowest that is
/// not makes no headway, and neither does this one. It may be unhealthy itself if it
/// is the lowest that is, or if unhealthy ones hold up nobody.
pub fn s4_scale_down_in_order(view: &View, ordinal: usize) -> Result<(), Violation> {
    hold("S4", view.stopping || !view.in_range[ordinal], || format!("pod {ordinal} is in range"))?;
    if !view.ordered {
        return Ok(());
    }
    let higher = (ordinal + 1..view.pods.len()).find(|higher| view.pods[*higher].is_some());
    let condemned = |other: usize| view.stopping || !view.in_range[other];
    let higher = higher.filter(|higher| condemned(*higher));
    hold("S4", higher.is_none(), || format!("pod {ordinal} is deleted before pod {higher:?} is gone"))?;
    if view.stopping {
        return Ok(());
    }
    let hopeless = |pod: PodView| pod.stalled || (pod.ended && !pod.terminating);
    let given_up = view.is_stalled() && view.pods[ordinal].is_some_and(hopeless) && view.switches.heal_broken_pods;
    let lacking = view.range().find(|member| !view.healthy(*member) && !given_up);
    hold("S4", lacking.is_none(), || format!("pod {ordinal} is deleted while pod {lacking:?} is not available"))?;
    let sick = |other: &usize| condemned(*other) && view.pods[*other].is_some() && !view.healthy(*other);
    let lowest_sick = (0..view.pods.len()).find(sick);
    let its_turn = view.healthy(ordinal) || lowest_sick == Some(ordinal) || view.switches.remove_broken_condemned;
    hold("S4", its_turn, || format!("pod {ordinal} is not available, and neither is pod {lowest_sick:?} below it"))
}

/// S5: an update deletes outdated pods that the partition lets go, an available one only when no higher one would have
/// to go first. One that is not available may go back to the current revision below the partition, if it is healed; in
/// order, that is the lowest that is not available, or one that is at neither revision of the set while that one lives, or
/// any while that one makes no headway, or all of a set that was complete once are down.
pub fn s5_update_in_order(view: &View, ordinal: usize) -> Result<(), Violation> {
    let Some(pod) = view.pods[ordinal] else { return Ok(()) };
    hold("S5", view.in_range[ordinal], || format!("pod {ordinal} is updated out of range"))?;
    hold("S5", pod.revision != view.update, || format!("pod {ordinal} is updated and has the update revision"))?;
    let heals = view.switches.heal_broken_pods && !pod.healthy() && pod.revision != view.current;
    hold("S5", view.updatable(ordinal) || heals, || format!("pod {ordinal} is updated below the partition"))?;
    let first = || view.range().find(|other| !view.healthy(*other));
    if !pod.healthy() {
        let left_behind = pod.revision != view.current || !view.current_recorded;
        let lives = first().and_then(|first| view.pods[first]).is_some_and(|pod| !pod.terminating && !pod.ended);
        let given_up = (left_behind && lives) || (pod.stalled && view.is_stalled()) || s5_starts_as_a_whole(view);
        let waits = view.ordered && !(given_up && view.switches.heal_broken_pods);
        let blocking = first().filter(|first| waits && *first != ordinal);
        return hold("S5", blocking.is_none(), || format!("pod {ordinal} is healed before pod {blocking:?}"));
    }
    let outdated = |other: &usize| view.pods[*other].is_some_and(|pod| pod.revision != view.update && pod.healthy());
    let before = view.range().rev().take_while(|other| *other > ordinal).find(outdated);
    hold("S5", before.is_none(), || format!("pod {ordinal} is updated before pod {before:?}"))?;
    let waiting = (view.max_unavailable == 1).then(first).flatten();
    hold("S5", waiting.is_none(), || format!("pod {ordinal} is updated while pod {waiting:?} is not available"))?;
    let condemned = (0..view.pods.len()).find(|other| !view.in_range[*other] && view.pods[*other].is_some());
    let condemned = condemned.filter(|_| view.ordered);
    hold("S5", condemned.is_none(), || format!("pod {ordinal} is updated before pod {condemned:?} is removed"))
}

/// Whether a set that was complete once has lost all its pods, but for those that the same plan creates.
fn s5_starts_as_a_whole(view: &View) -> bool {
    let down = !(0..view.pods.len()).any(|other| view.healthy(other) && view.company & (1 << other) == 0);
    down && view.switches.break_cold_start && view.formed.is_some_and(|formed| view.index(formed) > 0)
}

/// S7: under OnDelete, and while the set is paused, no pod is deleted for its revision.
pub fn s7_held_updates_touch_nobody(view: &View, ordinal: usize) -> Result<(), Violation> {
    hold("S7", !view.on_delete, || format!("pod {ordinal} is updated under OnDelete"))?;
    hold("S7", !view.paused, || format!("pod {ordinal} is updated while the set is paused"))
}

/// S7, and S4: whatever else deletes a pod in range finds that it has ended; nothing is updated under another name.
pub fn s7_members_stay_until_they_end(view: &View, ordinal: usize) -> Result<(), Violation> {
    let ended = view.pods[ordinal].is_some_and(|pod| pod.ended);
    hold("S7", ended, || format!("pod {ordinal} is deleted in range, is not updated, and has not ended"))
}

/// S8: after an available pod is taken down for an update, no more pods in range are unavailable than may be.
pub fn s8_within_the_budget(view: &View, ordinal: usize) -> Result<(), Violation> {
    let after = view.unavailable() + u32::from(view.healthy(ordinal));
    let free = !view.healthy(ordinal);
    let most = view.max_unavailable;
    hold("S8", free || after <= most, || format!("with pod {ordinal} gone {after} are unavailable, {most} may be"))
}

/// S13: a deletion means the incarnation that its plan has seen.
pub fn s13_only_the_observed_pod(ordinal: usize, replaced: bool) -> Result<(), Violation> {
    hold("S13", !replaced, || format!("another pod {ordinal} is deleted than the one that was seen"))
}
