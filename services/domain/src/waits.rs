//! A bounded list of wait reasons, and how a record has it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Ordinal, Timestamp, Wait, WaitReason};

/// How many waits one plan spells out. Enough for a person to read and for every set of ordinary size; a set of
/// thousands that waits for one pod would otherwise repeat the same reason thousands of times in every decision.
pub const WAITS_MAX: usize = 100;

/// How many a stored run may stand for, whatever is written there: more than one pass tells of.
const RUN_MAX: usize = 100_000;

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

/// Ordinals that follow each other and wait for the same. A set of thousands mostly waits for one pod: a record says so once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitRun {
    /// The first; none where the whole set waits.
    pub ordinal: Option<Ordinal>,
    /// The last, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Ordinal>,
    /// Why.
    pub reason: WaitReason,
}

impl WaitRun {
    /// The fewest runs of a list, in its order.
    #[must_use]
    pub fn of(waits: &[Wait]) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for Wait { ordinal, reason } in waits {
            match runs.last_mut().filter(|run| run.reason == *reason && ordinal.is_some() && run.next() == *ordinal) {
                Some(run) => run.through = *ordinal,
                None => runs.push(Self { ordinal: *ordinal, through: None, reason: reason.clone() }),
            }
        }
        runs
    }

    /// Each by itself, of a run at most 100,000, whatever is stored.
    pub fn waits(&self) -> impl Iterator<Item = Wait> + '_ {
        let one = |ordinal| Wait { ordinal, reason: self.reason.clone() };
        let others = self.ordinal.zip(self.through).map(|(first, last)| (first.0..=last.0).skip(1).take(RUN_MAX));
        std::iter::once(one(self.ordinal)).chain(others.into_iter().flatten().map(move |next| one(Some(Ordinal(next)))))
    }

    fn next(&self) -> Option<Ordinal> {
        let last = self.through.or(self.ordinal)?;
        last.0.checked_add(1).map(Ordinal)
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
    fn a_list_comes_back_from_its_runs() {
        let wait = |ordinal: Option<u32>, reason: WaitReason| Wait { ordinal: ordinal.map(Ordinal), reason };
        let missing = || WaitReason::Missing { ordinal: Ordinal(0) };
        let mut waits: Vec<Wait> = [3, 4, 5, 7, 8, 2].map(|ordinal| wait(Some(ordinal), missing())).into();
        waits.push(wait(Some(3), WaitReason::Paused));
        waits.extend([
            wait(None, WaitReason::Paused),
            wait(None, WaitReason::Paused),
            wait(Some(0), WaitReason::Paused),
        ]);
        let runs = WaitRun::of(&waits);
        assert_eq!(runs.iter().flat_map(WaitRun::waits).collect::<Vec<_>>(), waits);
        let bounds: Vec<_> = runs.iter().map(|run| (run.ordinal.map(|it| it.0), run.through.map(|it| it.0))).collect();
        assert_eq!(
            bounds,
            [
                (Some(3), Some(5)),
                (Some(7), Some(8)),
                (Some(2), None),
                (Some(3), None),
                (None, None),
                (None, None),
                (Some(0), None)
            ]
        );
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
