//! A bounded list of wait reasons.

use std::ops::Range;

use crate::{Ordinal, Timestamp, Wait, WaitReason};

/// How many waits one plan spells out. Enough for a person to read and for every set of ordinary size; a set of
/// thousands that waits for one pod would otherwise repeat the same reason thousands of times in every decision.
pub const WAITS_MAX: usize = 100;

/// Collects waits, at most [`WAITS_MAX`] of them in full; the others are counted. The bound never hides the next
/// moment at which a pod becomes available by itself, so that whoever waits knows when to look again.
#[derive(Debug, Clone, Default)]
pub struct Waits {
    kept: Vec<Wait>,
    more: u64,
    hidden_next: Option<(Timestamp, Wait)>,
}

impl Waits {
    /// One ordinal waits.
    pub fn push(&mut self, ordinal: Ordinal, reason: WaitReason) {
        let wait = Wait { ordinal: Some(ordinal), reason };
        if self.kept.len() < WAITS_MAX {
            self.kept.push(wait);
            return;
        }
        self.more += 1;
        if let Some(at) = moment(&wait)
            && self.hidden_next.as_ref().is_none_or(|(next, _)| at < *next)
        {
            self.hidden_next = Some((at, wait));
        }
    }

    /// Every ordinal from `first` to `last`, both included, waits for the same reason. Nothing if `last < first`.
    pub fn push_run(&mut self, first: Ordinal, last: Ordinal, reason: &WaitReason) {
        if last < first {
            return;
        }
        let length = last.0 - first.0 + 1;
        let spelled = length.min(self.room());
        for ordinal in first.0..first.0 + spelled {
            self.push(Ordinal(ordinal), reason.clone());
        }
        self.more += u64::from(length - spelled);
    }

    /// The same of the ordinals in a range, from the highest down.
    pub fn push_run_down(&mut self, ordinals: Range<u32>, reason: &WaitReason) {
        let length = u32::try_from(ordinals.len()).unwrap_or(u32::MAX);
        let spelled = length.min(self.room());
        for ordinal in (ordinals.end - spelled..ordinals.end).rev() {
            self.push(Ordinal(ordinal), reason.clone());
        }
        self.more += u64::from(length - spelled);
    }

    fn room(&self) -> u32 {
        u32::try_from(WAITS_MAX.saturating_sub(self.kept.len())).unwrap_or(u32::MAX)
    }

    /// The waits in the order they came; where there were more than the bound, how many, as the last.
    #[must_use]
    pub fn finish(mut self) -> Vec<Wait> {
        let kept_next = self.kept.iter().filter_map(moment).min();
        if let Some((at, wait)) = self.hidden_next
            && kept_next.is_none_or(|kept| at < kept)
        {
            self.kept.push(wait);
            self.more -= 1;
        }
        if self.more > 0 {
            let message = format!("{} more pods wait", self.more);
            self.kept.push(Wait { ordinal: None, reason: WaitReason::Other { message } });
        }
        self.kept
    }
}

fn moment(wait: &Wait) -> Option<Timestamp> {
    match wait.reason {
        WaitReason::NotYetAvailable { at, .. } => at,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_counted_and_keep_the_next_moment() {
        let mut waits = Waits::default();
        waits.push_run(Ordinal(1), Ordinal(250), &WaitReason::Missing { ordinal: Ordinal(0) });
        for (ordinal, at) in [(300, 9000), (301, 5000), (302, 7000)] {
            let reason = WaitReason::NotYetAvailable { ordinal: Ordinal(ordinal), at: Some(Timestamp(at)) };
            waits.push(Ordinal(ordinal), reason);
        }
        let waits = waits.finish();
        assert_eq!(waits.len(), WAITS_MAX + 2);
        assert_eq!(waits[0].ordinal, Some(Ordinal(1)));
        assert_eq!(waits[WAITS_MAX].ordinal, Some(Ordinal(301)));
        assert_eq!(waits[WAITS_MAX + 1].reason.to_string(), "152 more pods wait");
    }

    #[test]
    fn runs_go_down_as_single_ones_do() {
        for bounds in [0..0, 5..5, 0..3, 40..160, 0..250] {
            let (mut run, mut singly) = (Waits::default(), Waits::default());
            for waits in [&mut run, &mut singly] {
                waits.push(Ordinal(300), WaitReason::OnDelete);
            }
            run.push_run_down(bounds.clone(), &WaitReason::Paused);
            bounds.rev().for_each(|ordinal| singly.push(Ordinal(ordinal), WaitReason::Paused));
            assert_eq!(run.finish(), singly.finish());
        }
    }

    #[test]
    fn short_lists_are_whole() {
        let mut waits = Waits::default();
        waits.push_run(Ordinal(3), Ordinal(2), &WaitReason::OnDelete);
        waits.push_run(Ordinal(3), Ordinal(4), &WaitReason::OnDelete);
        assert_eq!(
            waits.finish().iter().map(|wait| wait.ordinal).collect::<Vec<_>>(),
            [Some(Ordinal(3)), Some(Ordinal(4))]
        );
    }
}
